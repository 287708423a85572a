// TRAIN and INITIALISE: model in, sealed update out; masked first where the study wants it.
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/case_set.h"
#include "site_agent/round/task_runner.h"
#include "site_agent/round/update_builder.h"
#include "site_agent/round/update_seal.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

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

struct Trained {
  std::vector<training::NamedArray> weights;
  training::RunResult result;
};

// The session lives here only: when the weights are out, network, teacher and moments are gone.
absl::StatusOr<Trained> TrainFrom(const TaskSite& site, const SiteTask& task,
                                  const std::string& model_path, const CaseSet& cases,
                                  TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(const auto session,
                       MakeSession(SessionOptionsFor(task.plan, site.options.compute)));
  {
    CSL_ASSIGN_OR_RETURN(wire::SafetensorsFile base, wire::ReadSafetensors(model_path));
    CSL_RETURN_IF_ERROR(ImportWeights(*session, ArraysFromTensorMap(std::move(base.map))));
  }
  const auto observe = [&](const training::StepReport& report) {
    monitor.Report(TaskPhase::kTrain, report.step, report.steps, report.loss);
  };
  Trained trained;
  CSL_ASSIGN_OR_RETURN(
      trained.result,
      RunSteps(*session, cases, RoundOptionsFor(task.plan, task.round, site.options.site), observe,
               monitor.halt()));
  CSL_RETURN_IF_ERROR(monitor.Check());
  monitor.Advance();
  CSL_ASSIGN_OR_RETURN(trained.weights, ExportWeights(*session));
  return trained;
}

TrainingSummary SummaryOf(const training::RunResult& result, absl::Duration took) {
  TrainingSummary summary;
  summary.steps = result.steps_done;
  summary.seconds = absl::ToDoubleSeconds(took);
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

absl::StatusOr<FinishedTask> RunTrain(const TaskSite& site, const SiteTask& task,
                                      TaskMonitor& monitor) {
  std::unique_ptr<KeyAgreement> agreement;  // beside everything that follows
  if (task.masking) {
    CSL_ASSIGN_OR_RETURN(agreement, KeyAgreement::Start(*site.masking, site.remote, task, monitor,
                                                        KeyAgreement::Pace()));
  }
  CSL_ASSIGN_OR_RETURN(const Cohort all, SiteCohort(site.home, task.plan));
  const Cohort wanted = TrainingPart(all);
  CSL_ASSIGN_OR_RETURN(const std::string model_path, FetchModel(site, task.model, monitor));
  CSL_ASSIGN_OR_RETURN(SampleCache cache, SampleCache::Open({site.home, task.plan,
                                                             site.options.cache_bytes_max}));
  CSL_ASSIGN_OR_RETURN(const Cohort cohort,
                       PrepareCases(cache, wanted, [&](int64_t done, int64_t total) {
                         monitor.Report(TaskPhase::kPrepare, done, total);
                         return monitor.Check();
                       }));
  if (cohort.cases.empty()) {
    return absl::FailedPreconditionError("no case of this site fits the study");
  }

  const absl::Duration started = site.clock.Monotonic();
  CSL_ASSIGN_OR_RETURN(Trained trained, TrainFrom(site, task, model_path,
                                                  CasesFor(cache, cohort), monitor));
  UpdateOffer about;
  about.base_model_sha256 = task.model.sha256;
  about.labelled_cases = cohort.labelled();
  about.unlabelled_cases = static_cast<int64_t>(cohort.cases.size()) - about.labelled_cases;
  about.summary = SummaryOf(trained.result, site.clock.Monotonic() - started);

  monitor.Advance();
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsFile base, wire::ReadSafetensors(model_path));
  CSL_ASSIGN_OR_RETURN(wire::TensorMap delta,
                       UpdateDelta(std::move(trained.weights), std::move(base.map)));
  monitor.Advance();
  if (agreement != nullptr) {
    const UpdateFacts facts = {.labelled_cases = about.labelled_cases,
                               .unlabelled_cases = about.unlabelled_cases,
                               .reported_cases = static_cast<int64_t>(wanted.cases.size()),
                               .summary = about.summary};
    return FinishMasked(*site.masking, task, *agreement, site.spool, std::move(delta), facts,
                        monitor);
  }
  return Seal(site, task, std::move(delta), std::move(about));
}

}  // namespace consilium::agent
