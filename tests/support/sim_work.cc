#include "tests/support/sim_work.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/plan.h"
#include "proto/wire/safetensors.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/round/masking/unmask_task.h"
#include "site_agent/round/update_seal.h"
#include "tests/support/random.h"

namespace consilium::simulated {
namespace {

constexpr int64_t kTensorElementsMax = 1'000'000;
constexpr absl::Duration kStep = absl::Seconds(1);  // between two reports of progress

uint64_t SeedFor(const WorkSite& site, const agent::SiteTask& task) {
  return phantom::Random(site.options.seed, absl::StrCat(site.site, "/", task.task_id)).Next();
}

absl::StatusOr<agent::FinishedTask> SealMap(const WorkSite& site, const agent::SiteTask& task,
                                            wire::TensorMap map, agent::UpdateOffer about) {
  CSL_RETURN_IF_ERROR(site.spool.BeginWork(task.task_id).status());
  CSL_ASSIGN_OR_RETURN(
      const agent::UpdateOffer sealed,
      agent::SealUpdate(std::move(map), {{wire::kPlanMetadataKey, task.plan_json}},
                        {.sealed_path = site.spool.UpdatePath(task.task_id),
                         .recipient_public_key = task.sealing_public_key,
                         .context = {site.federation, task.study, task.round, site.site,
                                     task.task_id}}));
  about.bytes = sealed.bytes;
  about.sha256 = sealed.sha256;
  about.layout_sha256 = sealed.layout_sha256;
  return agent::FinishedTask{KeyOf(task), std::move(about)};
}

agent::CohortSummary Cohort(const WorkOptions& options) {
  agent::CohortSummary cohort;
  cohort.cases = options.cases;
  cohort.labelled_cases = options.labelled_cases;
  cohort.held_out_cases = options.held_out_cases;
  cohort.median_spacing_xyz_mm = {1, 1, 1.2};
  cohort.median_size_xyz = {36, 50, 30};
  return cohort;
}

absl::Status PassTime(const WorkSite& site, agent::TaskMonitor& monitor) {
  const auto total = static_cast<int64_t>(absl::Ceil(site.options.seconds, kStep) / kStep);
  absl::Duration left = site.options.seconds;
  for (int64_t done = 0; left > absl::ZeroDuration(); ++done, left -= kStep) {
    monitor.Report(agent::TaskPhase::kTrain, done, total, 1.0 / static_cast<double>(done + 1));
    CSL_RETURN_IF_ERROR(monitor.Check());
    if (!site.sleep(std::min(left, kStep))) return absl::CancelledError("the site is stopping");
  }
  return monitor.Check();
}

absl::StatusOr<std::string> Fetch(const WorkSite& site, const agent::ModelRef& model,
                                  agent::TaskMonitor& monitor) {
  const std::string folder = JoinPath(site.home, "models");
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  const std::string path = JoinPath(folder, absl::StrCat(model.sha256, ".safetensors"));
  CSL_RETURN_IF_ERROR(
      site.remote.DownloadModel(model, path, [&](uint64_t done, uint64_t total) {
        monitor.Report(agent::TaskPhase::kDownload, static_cast<int64_t>(done),
                       static_cast<int64_t>(total));
      }));
  return path;
}

absl::StatusOr<agent::FinishedTask> Initialise(const WorkSite& site, const agent::SiteTask& task) {
  absl::StatusOr<agent::FinishedTask> finished = absl::UnknownError("not run");
  CSL_RETURN_IF_ERROR(site.heavy([&] {
    finished = SealMap(site, task,
                       RandomMap(LayoutFor(site.options.parameters), SeedFor(site, task), 0.1f),
                       agent::UpdateOffer());
    return finished.status();
  }));
  return finished;
}

agent::UpdateFacts FactsOf(const WorkOptions& options) {
  agent::UpdateFacts facts;
  facts.labelled_cases = options.labelled_cases - options.held_out_cases;
  facts.unlabelled_cases = options.cases - options.labelled_cases;
  facts.reported_cases = facts.labelled_cases + facts.unlabelled_cases;
  facts.summary = {.steps = 10,
                   .seconds = absl::ToDoubleSeconds(options.seconds),
                   .mean_loss = 0.5,
                   .mean_supervised_loss = 0.5};
  return facts;
}

// `agreement` is null where the update is only sealed.
absl::StatusOr<agent::FinishedTask> MakeUpdate(const WorkSite& site, const agent::SiteTask& task,
                                               const std::string& model,
                                               agent::KeyAgreement* agreement,
                                               agent::TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsHeader header, wire::ReadSafetensorsHeader(model));
  wire::TensorMap change = RandomMap(std::move(header.layout), SeedFor(site, task), 1e-3f);
  const agent::UpdateFacts facts = FactsOf(site.options);
  if (agreement != nullptr) {
    return agent::FinishMasked(site.masking, task, *agreement, site.spool, std::move(change), facts,
                               monitor);
  }
  agent::UpdateOffer about;
  about.base_model_sha256 = task.model.sha256;
  about.labelled_cases = facts.labelled_cases;
  about.unlabelled_cases = facts.unlabelled_cases;
  about.summary = facts.summary;
  return SealMap(site, task, std::move(change), std::move(about));
}

absl::StatusOr<agent::FinishedTask> Train(const WorkSite& site, const agent::SiteTask& task,
                                          agent::TaskMonitor& monitor) {
  std::unique_ptr<agent::KeyAgreement> agreement;
  if (task.masking) {
    CSL_ASSIGN_OR_RETURN(agreement,
                         agent::KeyAgreement::Start(site.masking, site.remote, task, monitor,
                                                    agent::KeyAgreement::Pace()));
  }
  CSL_ASSIGN_OR_RETURN(const std::string model, Fetch(site, task.model, monitor));
  CSL_RETURN_IF_ERROR(PassTime(site, monitor));
  // Not while others wait for their turn.
  if (agreement != nullptr) CSL_RETURN_IF_ERROR(agreement->AwaitReady());
  absl::StatusOr<agent::FinishedTask> finished = absl::UnknownError("not run");
  CSL_RETURN_IF_ERROR(site.heavy([&] {
    finished = MakeUpdate(site, task, model, agreement.get(), monitor);
    return finished.status();
  }));
  std::remove(model.c_str());  // a thousand sites' copies would fill a disk
  return finished;
}

agent::FinishedTask Evaluate(const WorkSite& site, const agent::SiteTask& task) {
  phantom::Random random(SeedFor(site, task));
  agent::EvaluationResult result;
  for (int64_t i = 0; i < site.options.held_out_cases; ++i) {
    agent::CaseResult& item = result.cases.emplace_back();
    item.case_pseudonym = absl::StrCat("sim-", site.site, "-", i);
    for (size_t label = 0; label < task.plan.labels.size(); ++label) {
      item.dice.push_back(random.Uniform(0.5, 1));
    }
  }
  return {KeyOf(task), std::move(result)};
}

}  // namespace

wire::TensorLayout LayoutFor(int64_t parameters) {
  wire::TensorLayout layout;
  for (int64_t left = parameters; left > 0; left -= kTensorElementsMax) {
    layout.tensors.push_back({.name = absl::StrCat("layer.", layout.tensors.size(), ".weight"),
                              .shape = {std::min(left, kTensorElementsMax)}});
  }
  return layout;
}

wire::TensorMap RandomMap(wire::TensorLayout layout, uint64_t seed, float scale) {
  wire::TensorMap map;
  map.layout = std::move(layout);
  map.values.resize(static_cast<size_t>(map.layout.parameters()));
  phantom::Random random(seed);
  for (float& value : map.values) {
    value = scale * (static_cast<float>(random.Next() >> 40) * 0x1p-23f - 1);
  }
  return map;
}

absl::StatusOr<agent::FinishedTask> RunSimulatedTask(const WorkSite& site,
                                                     const agent::SiteTask& task,
                                                     agent::TaskMonitor& monitor) {
  switch (task.kind) {
    case agent::TaskKind::kPrepare:
      return agent::FinishedTask{KeyOf(task), Cohort(site.options)};
    case agent::TaskKind::kInitialise:
      return Initialise(site, task);
    case agent::TaskKind::kTrain:
      return Train(site, task, monitor);
    case agent::TaskKind::kEvaluate:
      return Evaluate(site, task);
    case agent::TaskKind::kConsent:
      return agent::RunConsent(site.masking, task);
    case agent::TaskKind::kReveal:
      return agent::RunReveal(site.masking, task);
  }
  CSL_CHECK(false);
}

}  // namespace consilium::simulated
