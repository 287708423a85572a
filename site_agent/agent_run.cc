#include "site_agent/agent_run.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "privacy/transparency/witness.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"
#include "site_agent/agent_options.h"
#include "site_agent/home_lock.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/inventory.h"
#include "site_agent/round/round_driver.h"
#include "site_agent/round/site_atna.h"
#include "site_agent/round/site_log.h"
#include "site_agent/round/study_state.h"
#include "site_agent/round/task_door.h"
#include "site_agent/round/task_runner.h"
#include "site_agent/uplink/backoff.h"
#include "site_agent/uplink/enrol.h"
#include "site_agent/uplink/federation_client.h"
#include "site_agent/uplink/masking_home.h"
#include "site_agent/uplink/renewal.h"
#include "site_agent/uplink/witness_client.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;

double Uniform() {
  const uint64_t bits = LoadLe64(privacy::RandomBytes(8).data()) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

wire::TlsFiles TlsOf(const SiteIdentity& identity) {
  return {identity.ca_pem, identity.certificate_pem, std::string(identity.key_pem.view())};
}

int ThreadsOf(const ComputeOptions& compute) {
  if (compute.threads > 0) return compute.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The keys of a masked update go with it; not where it went only for want of room, as its sum may still
// be opened.
void ForgetSession(const MaskingSite& masking, const Discard& discard) {
  if (discard.reason != DiscardReason::kTooMany) masking.sessions.RemoveOfTask(discard.task_id);
}

// What goes with an update of SCAFFOLD counts from now on. An error only costs what it would save.
void NoteAccepted(const std::string& home, const TaskKey& task) {
  const absl::Status noted = StudyState::NoteAccepted(home, task);
  if (noted.ok()) return;
  Log(LogLevel::kWarning, "it could not be noted that an update was taken",
      {LogField(LogField::Key::kTask, task.task_id),
       LogField(LogField::Key::kReason, noted.message())});
}

// What a task did, in the site's own log: before it begins, and when it ended.
absl::StatusOr<FinishedTask> RunRecorded(const TaskSite& site, const SiteTask& task,
                                         TaskMonitor& monitor, SiteLog& log) {
  const SiteEvent about{.action = absl::StrCat("task.take.", TaskKindName(task.kind)),
                        .study = task.study,
                        .round = task.round,
                        .plan = privacy::Sha256Hex(task.plan_json),
                        .model = task.model.sha256,
                        .request = task.task_id};
  CSL_RETURN_IF_ERROR(log.Record(about));
  absl::StatusOr<FinishedTask> finished = RunTask(site, task, monitor);
  SiteEvent ended = about;
  ended.action = absl::StrCat("task.finish.", TaskKindName(task.kind));
  if (finished.ok()) {
    if (const auto* offer = std::get_if<UpdateOffer>(&finished->result)) {
      ended.digest = offer->sha256;
      ended.count = offer->labelled_cases + offer->unlabelled_cases + finished->cases;
    }
    CSL_RETURN_IF_ERROR(log.Record(ended));
    return finished;
  }
  ended.outcome = "failed";
  ended.reason = std::string(finished.status().message());
  log.RecordOrWarn(ended);
  return finished;
}

FederationClient::Options ClientOptions(const AgentOptions& options, const SiteIdentity& identity,
                                        absl::string_view software_version) {
  FederationClient::Options client;
  client.address = options.federation_address;
  client.tls = TlsOf(identity);
  client.federation = options.federation;
  client.site = options.site;
  client.software_version = std::string(software_version);
  return client;
}

}  // namespace

absl::Status RunAgent(const std::string& home, absl::string_view software_version,
                      StopSignal& stop) {
  CSL_ASSIGN_OR_RETURN(const AgentOptions options, ReadAgentOptions(home));
  CSL_ASSIGN_OR_RETURN(const SiteIdentity identity, ReadIdentity(home));
  CSL_ASSIGN_OR_RETURN(const HomeLock lock, HomeLock::Take(home));
  const Clock& clock = Clock::System();
  CSL_ASSIGN_OR_RETURN(Spool spool, Spool::Open(home));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<SiteLog> log,
                       SiteLog::Open({.home = home,
                                      .federation = options.federation,
                                      .site = options.site,
                                      .software_version = std::string(software_version)},
                                     clock));
  const EventRecorder record = [&log](const SiteEvent& event) { return log->Record(event); };
  CSL_ASSIGN_OR_RETURN(
      privacy::Witness witness,
      privacy::Witness::Open(JoinPath(home, "witness"),
                             absl::StrCat(options.federation, "/", options.site, "/witness")));
  WitnessClient witness_client(std::move(witness), clock, record);
  FederationClient::Options client_options = ClientOptions(options, identity, software_version);
  client_options.witness = &witness_client;
  client_options.record = record;
  FederationClient client(std::move(client_options));
  stop.OnStop([&client] { client.Cancel(); });

  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<MaskingHome> masking_home,
                       MaskingHome::Open(home, options.federation, options.site, clock));
  MaskingSite masking = masking_home->Site();
  masking.record = record;
  masking.threads = ThreadsOf(options.compute);
  TaskDoor door(home, record, absl::LocalTimeZone(), clock);
  const auto work = [&](const SiteTask& task) -> absl::StatusOr<FinishedTask> {
    TaskMonitor monitor(task, client, stop.requested(), clock);
    TaskSite site{home, options, client, spool, clock, &masking, &door};
    if (task.unmasking) return RunRecorded(site, task, monitor, *log);  // its update was let out
    CSL_ASSIGN_OR_RETURN(const SitePolicy policy, door.Admit(task));
    site.policy = &policy;
    return RunRecorded(site, task, monitor, *log);
  };
  const Backoff backoff(BackoffOptions(), Uniform);
  DriverOptions driver_options;
  driver_options.delay = [&](int failures) { return backoff.Delay(failures); };
  driver_options.sleep = [&](absl::Duration duration) { return stop.Sleep(duration); };
  driver_options.uniform = Uniform;
  driver_options.accepted = [&](const TaskKey& task) { NoteAccepted(home, task); };
  driver_options.discarded = [&](const Discard& discard) { ForgetSession(masking, discard); };
  RoundDriver driver(client, spool, work, clock, stop.requested(), driver_options);
  // Before the first entry of this run, so that the start is reported too.
  CSL_ASSIGN_OR_RETURN(
      const std::unique_ptr<privacy::AtnaFeed> atna,
      OpenSiteAtna({.home = home,
                    .federation = options.federation,
                    .site = options.site,
                    .settings = {options.atna_repository, options.atna_ca,
                                 options.atna_certificate, options.atna_key}},
                   clock));
  CSL_RETURN_IF_ERROR(log->Record({.action = "agent.start"}));
  if (atna != nullptr) atna->Start();
  Log(LogLevel::kInfo, "agent started", {LogField(LogField::Key::kSite, options.site)});
  Renewal renewal(home, identity,
                  {.ask = [&](const std::string& csr) { return client.RenewCertificate(csr); },
                   .use = [&](const SiteIdentity& next) { client.UseIdentity(TlsOf(next)); },
                   .record = record,
                   .uniform = Uniform},
                  clock);
  absl::Notification over;
  ThreadPool beside(1);
  beside.Schedule([&] {
    renewal.Run([&](absl::Duration time) { return !over.WaitForNotificationWithTimeout(time); });
  });
  const absl::Status ended = driver.Run();
  client.Cancel();  // a renewal under way; its key is kept for the next start
  over.Notify();
  beside.Wait();
  stop.OnStop({});
  log->RecordOrWarn({.action = "agent.stop"});
  if (atna != nullptr) atna->Finish();
  Log(LogLevel::kInfo, "agent stopped");
  return ended;
}

absl::StatusOr<AgentStatus> ReadStatus(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(const AgentOptions options, ReadAgentOptions(home));
  CSL_ASSIGN_OR_RETURN(const SiteIdentity identity, ReadIdentity(home));
  CSL_ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(home));
  CSL_ASSIGN_OR_RETURN(const absl::Time not_after,
                       privacy::CertificateNotAfter(identity.certificate_pem));
  AgentStatus status;
  status.federation = options.federation;
  status.site = options.site;
  status.federation_address = options.federation_address;
  status.certificate_not_after = absl::FormatTime(absl::RFC3339_sec, not_after,
                                                  absl::UTCTimeZone());
  status.cases = static_cast<int64_t>(catalog.cases.size());
  for (const CaseRecord& record : catalog.cases) status.labelled_cases += record.labelled() ? 1 : 0;
  status.damaged_cases = static_cast<int64_t>(catalog.damaged.size());
  CSL_ASSIGN_OR_RETURN(Inventory inventory, TakeInventory(home, catalog));
  status.patient_policy = std::move(inventory.policy);
  status.patient_marks = std::move(inventory.marks);
  status.not_used = std::move(inventory.by_reason);
  CSL_ASSIGN_OR_RETURN(const std::vector<FinishedTask> spooled, Spool::ListOf(home));
  for (const FinishedTask& task : spooled) status.spooled.push_back(task.key.task_id);
  status.running = HomeLock::IsHeld(home);
  CSL_ASSIGN_OR_RETURN(const privacy::AtnaBacklog backlog, privacy::ReadAtnaBacklog(home));
  status.audit_waiting = backlog.waiting;
  status.audit_dropped = backlog.dropped;
  return status;
}

std::string StatusToJson(const AgentStatus& status) {
  nlohmann::ordered_json json;
  json["federation"] = status.federation;
  json["site"] = status.site;
  json["federation_address"] = status.federation_address;
  json["certificate_not_after"] = status.certificate_not_after;
  json["running"] = status.running;
  json["cases"] = status.cases;
  json["labelled_cases"] = status.labelled_cases;
  json["damaged_cases"] = status.damaged_cases;
  json["patient_policy"] = status.patient_policy;
  json["patient_marks"] = status.patient_marks;
  json["series_not_used"] = status.not_used;
  json["spooled_tasks"] = status.spooled;
  json["audit_messages_waiting"] = status.audit_waiting;
  json["audit_messages_dropped"] = status.audit_dropped;
  return json.dump(2) + "\n";
}

std::vector<std::vector<std::string>> StatusTable(const AgentStatus& status) {
  std::vector<std::vector<std::string>> rows = {
      {"WHAT", "VALUE"},
      {"federation", status.federation},
      {"site", status.site},
      {"coordinator", status.federation_address},
      {"certificate until", status.certificate_not_after},
      {"agent", status.running ? "running" : "not running"},
      {"cases", absl::StrCat(status.cases)},
      {"labelled cases", absl::StrCat(status.labelled_cases)},
      {"damaged cases", absl::StrCat(status.damaged_cases)},
      {"results kept", absl::StrCat(status.spooled.size())},
      {"audit messages waiting", absl::StrCat(status.audit_waiting)},
      {"audit messages dropped", absl::StrCat(status.audit_dropped)},
      {"patients used", status.patient_policy}};
  for (const auto& [mark, patients] : status.patient_marks) {
    rows.push_back({absl::StrCat("patients ", mark), absl::StrCat(patients)});
  }
  for (const auto& [reason, series] : status.not_used) {
    rows.push_back({absl::StrCat("series not used: ", reason), absl::StrCat(series)});
  }
  return rows;
}

}  // namespace consilium::agent
