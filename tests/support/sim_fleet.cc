#include "tests/support/sim_fleet.h"

#include <utility>

#include "privacy/crypto/random.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/agent_options.h"
#include "site_agent/round/round_driver.h"
#include "site_agent/uplink/backoff.h"
#include "site_agent/uplink/enrol.h"
#include "site_agent/uplink/federation_client.h"
#include "site_agent/uplink/masking_home.h"

namespace consilium::simulated {
namespace {

// For benchmarks that read the log.
void Timed(privacy::LogMessage what, uint64_t bytes, absl::Duration took) {
  privacy::Log(privacy::LogLevel::kInfo, what,
               {{privacy::LogField::Key::kBytes, bytes},
                {privacy::LogField::Key::kSeconds, absl::ToDoubleSeconds(took)}});
}

double Uniform() {
  return static_cast<double>(LoadLe64(privacy::RandomBytes(8).data()) >> 11) * 0x1p-53;
}

}  // namespace

// Tells when the coordinator has taken an update.
class Fleet::Client final : public agent::FederationClient {
 public:
  Client(Options options, std::function<void(const agent::TaskKey&)> taken)
      : FederationClient(std::move(options)), taken_(std::move(taken)) {}
  absl::StatusOr<agent::UploadOutcome> Upload(const agent::TaskKey& task,
                                              const agent::UpdateOffer& offer,
                                              const std::string& path,
                                              const agent::ByteProgress& progress) override {
    const absl::Duration started = Clock::System().Monotonic();
    absl::Duration sent = started;
    auto outcome = FederationClient::Upload(
        task, offer, path, [&](uint64_t done, uint64_t total) {
          if (done == total) sent = Clock::System().Monotonic();
          progress(done, total);
        });
    if (!outcome.ok() || !outcome->accepted) return outcome;
    Timed("sent", offer.bytes, sent - started);
    Timed("sent and accepted", offer.bytes, Clock::System().Monotonic() - started);
    taken_(task);
    return outcome;
  }
  absl::Status DownloadModel(const agent::ModelRef& model, const std::string& path,
                             const agent::ByteProgress& progress) override {
    const absl::Duration started = Clock::System().Monotonic();
    const absl::Status status = FederationClient::DownloadModel(model, path, progress);
    if (status.ok()) Timed("downloaded", model.bytes, Clock::System().Monotonic() - started);
    return status;
  }

 private:
  const std::function<void(const agent::TaskKey&)> taken_;
};

struct Fleet::Site {
  std::string home;
  agent::AgentOptions options;
  agent::Spool spool;
  std::unique_ptr<agent::MaskingHome> masking_home;
  std::unique_ptr<Client> client;
  std::atomic<bool> stop{false};
};

Fleet::Fleet(FleetOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

Fleet::~Fleet() {
  Stop();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

absl::StatusOr<std::unique_ptr<Fleet>> Fleet::Start(FleetOptions options, const Clock& clock) {
  auto fleet = std::unique_ptr<Fleet>(new Fleet(std::move(options), clock));
  for (const std::string& home : fleet->options_.homes) {
    CSL_RETURN_IF_ERROR(Annotate(fleet->AddSite(home), BaseName(home)));
  }
  for (const std::unique_ptr<Site>& site : fleet->sites_) {
    fleet->threads_.emplace_back([raw = fleet.get(), s = site.get()] {
      const absl::Status ended = raw->RunSite(*s);
      absl::MutexLock lock(&raw->mutex_);
      raw->failed_.Update(ended);
    });
  }
  return fleet;
}

absl::Status Fleet::AddSite(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(agent::AgentOptions options, agent::ReadAgentOptions(home));
  CSL_ASSIGN_OR_RETURN(const agent::SiteIdentity identity, agent::ReadIdentity(home));
  CSL_ASSIGN_OR_RETURN(agent::Spool spool, agent::Spool::Open(home));
  agent::FederationClient::Options client;
  client.address = options.federation_address;
  client.tls = {identity.ca_pem, identity.certificate_pem, std::string(identity.key_pem.view())};
  client.federation = options.federation;
  client.site = options.site;
  client.software_version = "simulated";
  CSL_ASSIGN_OR_RETURN(
      std::unique_ptr<agent::MaskingHome> masking_home,
      agent::MaskingHome::Open(home, options.federation, options.site, clock_));
  sites_.push_back(std::unique_ptr<Site>(new Site{home, std::move(options), std::move(spool),
                                                  std::move(masking_home), nullptr, {}}));
  Site& site = *sites_.back();
  site.client = std::make_unique<Client>(
      std::move(client), [this, &site](const agent::TaskKey& task) { OnTaken(site, task); });
  return absl::OkStatus();
}

absl::Status Fleet::RunSite(Site& site) {
  const agent::MaskingSite masking = site.masking_home->Site();
  const WorkSite work_site = {
      .home = site.home,
      .federation = site.options.federation,
      .site = site.options.site,
      .options = options_.work,
      .remote = *site.client,
      .spool = site.spool,
      .masking = masking,
      .sleep = [&](absl::Duration duration) { return Sleep(site, duration); },
      .heavy = [&](const std::function<absl::Status()>& work) { return RunHeavy(work); }};
  const auto work = [&](const agent::SiteTask& task) {
    agent::TaskMonitor monitor(task, *site.client, site.stop, clock_);
    return RunSimulatedTask(work_site, task, monitor);
  };
  const agent::Backoff backoff({.max = options_.retry_max}, Uniform);
  agent::DriverOptions driver;
  driver.ask_wait = options_.ask_wait;
  driver.delay = [&](int failures) { return backoff.Delay(failures); };
  driver.sleep = [&](absl::Duration duration) { return Sleep(site, duration); };
  driver.discarded = [&](const agent::Discard& discard) { OnDiscarded(site, discard); };
  return agent::RoundDriver(*site.client, site.spool, work, clock_, site.stop, driver).Run();
}

void Fleet::OnTaken(Site& site, const agent::TaskKey& task) {
  if (task.kind != agent::TaskKind::kTrain) return;
  ++delivered_;
  if (options_.until != FleetOptions::Until::kOneUpdate) return;
  // A masked update is of no use before the site has helped to open the sum.
  if (site.masking_home->sessions().Load(task.study, task.round).ok()) return;
  site.spool.Remove(task.task_id);  // the driver ends before it comes to that
  site.stop = true;
}

void Fleet::OnDiscarded(Site& site, const agent::Discard& discard) {
  if (discard.reason == agent::DiscardReason::kTooMany) return;
  const bool was_masked = site.masking_home->sessions().RemoveOfTask(discard.task_id);
  const bool ended = discard.reason == agent::DiscardReason::kEnded;
  if (was_masked && ended && options_.until == FleetOptions::Until::kOneUpdate) site.stop = true;
}

bool Fleet::Sleep(const Site& site, absl::Duration duration) {
  const absl::Duration end = clock_.Monotonic() + duration;
  absl::MutexLock lock(&mutex_);
  while (!site.stop) {
    const absl::Duration left = end - clock_.Monotonic();
    if (left <= absl::ZeroDuration()) return true;
    changed_.WaitWithTimeout(&mutex_, left);
  }
  return false;
}

absl::Status Fleet::RunHeavy(const std::function<absl::Status()>& work) {
  {
    absl::MutexLock lock(&mutex_);
    while (heavy_ >= options_.heavy_at_once) changed_.Wait(&mutex_);
    ++heavy_;
  }
  const absl::Status done = work();
  absl::MutexLock lock(&mutex_);
  --heavy_;
  changed_.SignalAll();
  return done;
}

void Fleet::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    for (const std::unique_ptr<Site>& site : sites_) site->stop = true;
    changed_.SignalAll();
  }
  for (const std::unique_ptr<Site>& site : sites_) site->client->Cancel();
}

absl::Status Fleet::Wait() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  absl::MutexLock lock(&mutex_);
  return failed_;
}

}  // namespace consilium::simulated
