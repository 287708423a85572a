// TRAIN and INITIALISE: model in, sealed update out; masked first where the study wants it.
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/case_set.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/round/privacy_spending.h"
#include "site_agent/round/private_run.h"
#include "site_agent/round/study_state.h"
#include "site_agent/round/task_runner.h"
#include "site_agent/round/train_methods.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

using Key = privacy::LogField::Key;

absl::StatusOr<FinishedTask> Seal(const TaskSite& site, const SiteTask& task,
                                  wire::TensorMap update, UpdateOffer about) {
  CSL_RETURN_IF_ERROR(site.spool.BeginWork(task.task_id).status());
  SealOptions options;
  options.sealed_path = site.spool.UpdatePath(task.task_id);
  options.recipient_public_key = task.sealing_public_key;
  options.context = {site.options.federation, task.study, task.round, site.options.site,
                     task.task_id};
  const wire::Metadata metadata = {{wire::kPlanMetadataKey, task.plan_json}};
  CSL_ASSIGN_OR_RETURN(const UpdateOffer sealed, SealUpdate(std::move(update), metadata, options));
  about.bytes = sealed.bytes;
  about.sha256 = sealed.sha256;
  about.layout_sha256 = sealed.layout_sha256;
  return FinishedTask{KeyOf(task), std::move(about)};
}

// Pseudonyms by case.
std::vector<std::string> PatientsOf(const Cohort& cohort) {
  std::vector<std::string> patients;
  for (const CohortCase& item : cohort.cases) patients.push_back(item.record.patient);
  return patients;
}

Cohort CasesOf(const Cohort& cohort, const std::vector<std::string>& patients) {
  const std::set<std::string> kept(patients.begin(), patients.end());
  Cohort part;
  for (const CohortCase& item : cohort.cases) {
    if (kept.contains(item.record.patient)) part.cases.push_back(item);
  }
  return part;
}

// What a training costs the patients, from the reservation to the account of it.
struct Account {
  std::optional<PrivacySpending> spending;  // none: no policy is at work
  std::unique_ptr<PrivateRun> run;          // level sample
};

// Takes the patients out who cannot afford the round, asks the policy about all that is known now, and
// reserves. Every refusal is recorded.
absl::StatusOr<Account> OpenAccount(const TaskSite& site, const SiteTask& task, Cohort& cohort,
                                    int64_t parameters) {
  Account account;
  const bool by_sample = task.plan.privacy.level == "sample";
  if (site.door == nullptr) {
    if (!by_sample) return account;
    return absl::UnimplementedError("patient-level privacy needs the site's budget ledger");
  }
  const auto refuse = [&](const absl::Status& why) { return site.door->Refuse(task, why); };
  const absl::StatusOr<BudgetLedger*> ledger = site.door->Ledger();
  if (!ledger.ok()) {
    return refuse(Annotate(ledger.status(), "the site's budget ledger cannot be used"));
  }
  const PatientBudget limit = site.policy == nullptr ? PatientBudget() : site.policy->budget;
  CSL_ASSIGN_OR_RETURN(
      const std::vector<std::string> patients,
      PatientsWithinBudget(**ledger, task.plan, PatientsOf(cohort), limit));
  cohort = CasesOf(cohort, patients);
  CSL_ASSIGN_OR_RETURN(const BudgetPart round,
                       RoundPart(task.plan, static_cast<int64_t>(patients.size())));
  CSL_RETURN_IF_ERROR(site.door->AdmitTraining(task, round));
  absl::StatusOr<PrivacySpending> spending =
      PrivacySpending::Begin(**ledger, task, patients, limit);
  if (absl::IsResourceExhausted(spending.status())) {  // for good: not to be tried again
    return refuse(absl::FailedPreconditionError(spending.status().message()));
  }
  if (!spending.ok()) return refuse(spending.status());
  account.spending = *std::move(spending);
  if (by_sample) {
    CSL_ASSIGN_OR_RETURN(account.run,
                         PrivateRun::Create(task.plan, account.spending->part(), parameters,
                                            PatientsOf(cohort), cohort.labelled() > 0));
  }
  return account;
}

// The account of what was done, whether or not it ended well.
absl::Status CloseAccount(const TaskSite& site, const SiteTask& task, Account& account) {
  if (!account.spending) return absl::OkStatus();
  CSL_RETURN_IF_ERROR(
      account.spending->Finish(account.run == nullptr ? 0 : account.run->steps_begun()));
  const std::string text = account.spending->Text();
  privacy::Log(privacy::LogLevel::kInfo, "privacy of the site's patients in this study",
               {{Key::kStudy, task.study}, {Key::kRound, task.round},
                {Key::kReason, absl::StrCat("privacy: ", text)}});
  site.door->Note({.action = "privacy.spend",
                   .reason = text,
                   .study = task.study,
                   .round = task.round,
                   .request = task.task_id,
                   .count = account.spending->part().steps});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<training::NamedArray>> ReadArrays(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsFile file, wire::ReadSafetensors(path));
  CSL_RETURN_IF_ERROR(wire::CheckFinite(file.map));
  return ArraysFromTensorMap(std::move(file.map));
}

// The server's variate of SCAFFOLD, in the model's names; none yet: empty.
absl::StatusOr<std::vector<training::NamedArray>> ServerControl(const TaskSite& site,
                                                                const SiteTask& task,
                                                                TaskMonitor& monitor) {
  if (task.plan.algorithm.kind != "scaffold" || !task.control) {
    return std::vector<training::NamedArray>();
  }
  CSL_ASSIGN_OR_RETURN(const std::string path, FetchControl(site, *task.control, monitor));
  return ReadArrays(path);
}

// Steps of both the personal and the shared model count. Of a private run only that it goes on is
// told, as how long a step takes says how many patients it drew.
std::function<void(const training::StepReport&)> Observer(const SiteTask& task,
                                                          TaskMonitor& monitor) {
  const bool by_sample = task.plan.privacy.level == "sample";
  const bool personal = task.plan.algorithm.personal_lambda > 0;
  return [&monitor, by_sample, personal, seen = int64_t{0}](
             const training::StepReport& report) mutable {
    ++seen;
    if (by_sample) return monitor.Advance();
    monitor.Report(TaskPhase::kTrain, seen, report.steps * (personal ? 2 : 1), report.loss);
  };
}

// The session lives here only: when the weights are out, network, teacher and moments are gone.
absl::StatusOr<RoundEnd> TrainFrom(const TaskSite& site, const SiteTask& task, RoundStart start,
                                   const CaseSet& cases, PrivateRun* run, TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(const auto session,
                       MakeSession(SessionOptionsFor(task.plan, site.options.compute)));
  training::RunOptions options = RoundOptionsFor(task.plan, task.round, site.options.site);
  if (run != nullptr) options.private_training = run->Rules();
  if (run != nullptr) monitor.Report(TaskPhase::kTrain, 0, options.steps);
  absl::StatusOr<RoundEnd> end = TrainByPlan(*session, task.plan, std::move(start), cases, options,
                                             Observer(task, monitor), monitor.halt());
  if (run != nullptr) CSL_RETURN_IF_ERROR(run->status());
  CSL_RETURN_IF_ERROR(end.status());
  CSL_RETURN_IF_ERROR(monitor.Check());
  monitor.Advance();
  return end;
}

TrainingSummary SummaryOf(const training::RunResult& result, absl::Duration took) {
  TrainingSummary summary;
  summary.steps = result.steps_done;
  // How long a private run took tells how many patients its steps drew.
  if (!result.losses_withheld) summary.seconds = absl::ToDoubleSeconds(took);
  summary.mean_loss = result.mean_loss;
  summary.mean_supervised_loss = result.mean_supervised_loss;
  summary.mean_consistency_loss = result.mean_consistency_loss;
  summary.teacher_certainty = result.teacher_certainty;
  summary.pseudo_foreground_fraction = result.pseudo_foreground_fraction;
  return summary;
}

}  // namespace

absl::StatusOr<FinishedTask> RunInitialise(const TaskSite& site, const SiteTask& task,
                                           TaskMonitor& monitor) {
  monitor.Report(TaskPhase::kTrain, 0, 1);
  wire::TensorMap weights;
  {
    CSL_ASSIGN_OR_RETURN(const auto session,
                         MakeSession(SessionOptionsFor(task.plan, site.options.compute)));
    CSL_ASSIGN_OR_RETURN(auto arrays, ExportWeights(*session));
    CSL_ASSIGN_OR_RETURN(weights, TensorMapFromArrays(std::move(arrays)));
  }
  CSL_RETURN_IF_ERROR(monitor.Check());
  return Seal(site, task, std::move(weights), UpdateOffer());
}

namespace {

// What masking has to know of the site's policy: it holds for this task, as it is now.
MaskingSite MaskingUnder(const MaskingSite& masking, const SitePolicy* policy) {
  MaskingSite under = masking;
  if (policy == nullptr) return under;
  under.cohort_floor =
      std::max(under.cohort_floor, static_cast<uint32_t>(std::max<int64_t>(0, policy->min_cohort)));
  under.accept_peer = [policy](const secagg::KeyAnnouncement& peer) {
    return AcceptPeer(*policy, peer);
  };
  return under;
}

// Trains and accounts for it; stages what the site keeps. Fills `about`.
absl::StatusOr<wire::TensorMap> MakeUpdate(const TaskSite& site, const SiteTask& task,
                                           const std::string& model_path, SampleCache& cache,
                                           Cohort cohort, UpdateOffer& about,
                                           TaskMonitor& monitor) {
  RoundStart start;
  CSL_ASSIGN_OR_RETURN(start.server_control, ServerControl(site, task, monitor));
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsFile base, wire::ReadSafetensors(model_path));
  const auto parameters = static_cast<int64_t>(base.map.values.size());
  start.global = ArraysFromTensorMap(std::move(base.map));
  const StudyState state(site.home, task);
  CSL_ASSIGN_OR_RETURN(start.own, state.Begin());

  CSL_ASSIGN_OR_RETURN(Account account, OpenAccount(site, task, cohort, parameters));
  const absl::Duration started = site.clock.Monotonic();
  absl::StatusOr<RoundEnd> end = TrainFrom(site, task, std::move(start), CasesFor(cache, cohort),
                                           account.run.get(), monitor);
  CSL_RETURN_IF_ERROR(CloseAccount(site, task, account));
  CSL_RETURN_IF_ERROR(end.status());
  about.base_model_sha256 = task.model.sha256;
  about.labelled_cases = cohort.labelled();
  about.unlabelled_cases = static_cast<int64_t>(cohort.cases.size()) - about.labelled_cases;
  about.summary = SummaryOf(end->result, site.clock.Monotonic() - started);

  monitor.Advance();
  CSL_ASSIGN_OR_RETURN(base, wire::ReadSafetensors(model_path));
  CSL_ASSIGN_OR_RETURN(wire::TensorMap update, UpdateOf(task.plan, *end, std::move(base.map)));
  CSL_RETURN_IF_ERROR(state.Stage(end->made));
  monitor.Advance();
  return update;
}

}  // namespace

absl::StatusOr<FinishedTask> RunTrain(const TaskSite& site, const SiteTask& task,
                                      TaskMonitor& monitor) {
  CSL_RETURN_IF_ERROR(CheckMethods(task.plan));
  std::optional<MaskingSite> masking;
  std::unique_ptr<KeyAgreement> agreement;  // beside everything that follows
  if (task.masking) {
    masking.emplace(MaskingUnder(*site.masking, site.policy));
    CSL_ASSIGN_OR_RETURN(agreement, KeyAgreement::Start(*masking, site.remote, task, monitor,
                                                        KeyAgreement::Pace()));
  } else if (task.plan.protection.kind != "sealed") {
    return absl::InvalidArgumentError("the plan wants masked updates, and the task does not");
  }
  CSL_ASSIGN_OR_RETURN(const Cohort all, SiteCohort(site.home, SelectionPlan(site, task)));
  const Cohort wanted = TrainingPart(all);
  CSL_ASSIGN_OR_RETURN(const std::string model_path, FetchModel(site, task.model, monitor));
  CSL_ASSIGN_OR_RETURN(SampleCache cache,
                       SampleCache::Open({site.home, task.plan, site.options.cache_bytes_max,
                                          site.options.cache_encrypted}));
  CSL_ASSIGN_OR_RETURN(Cohort cohort,
                       PrepareCases(cache, wanted, site.options.compute.threads, [&](int64_t done, int64_t total) {
                         monitor.Report(TaskPhase::kPrepare, done, total);
                         return monitor.Check();
                       }));
  if (cohort.cases.empty()) {
    return absl::FailedPreconditionError("no case of this site fits the study");
  }
  UpdateOffer about;
  CSL_ASSIGN_OR_RETURN(
      wire::TensorMap update,
      MakeUpdate(site, task, model_path, cache, std::move(cohort), about, monitor));
  if (agreement != nullptr) {
    const UpdateFacts facts = {.labelled_cases = about.labelled_cases,
                               .unlabelled_cases = about.unlabelled_cases,
                               .reported_cases = static_cast<int64_t>(wanted.cases.size()),
                               .summary = about.summary};
    return FinishMasked(*masking, task, *agreement, site.spool, std::move(update), facts,
                        monitor);
  }
  return Seal(site, task, std::move(update), std::move(about));
}

}  // namespace consilium::agent
