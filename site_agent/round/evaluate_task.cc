// EVALUATE: model in, Dice of each held-out case out.
#include <cmath>
#include <utility>
#include <vector>

#include "privacy/log/log.h"
#include "proto/base/status.h"
#include "site_agent/round/case_set.h"
#include "site_agent/round/study_state.h"
#include "site_agent/round/task_runner.h"

namespace consilium::agent {

using privacy::LogField;
using Key = privacy::LogField::Key;

namespace {

double MeanDice(const EvaluationResult& result) {
  double sum = 0;
  int64_t count = 0;
  for (const CaseResult& item : result.cases) {
    for (const double dice : item.dice) {
      if (std::isnan(dice)) continue;
      sum += dice;
      ++count;
    }
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

// For the site's own people: nobody else hears how its personal model does.
absl::Status EvaluatePersonal(const TaskSite& site, const SiteTask& task,
                              std::vector<training::NamedArray> personal, SampleCache& cache,
                              const Cohort& cohort, TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(
      Segmenter model,
      Segmenter::FromWeights(std::move(personal), task.plan, site.options.compute));
  model.OnWindow([&monitor] { monitor.Advance(); });
  CSL_ASSIGN_OR_RETURN(const EvaluationResult result,
                       EvaluateCases(model, cache, cohort, [&](int64_t, int64_t) {
                         monitor.Advance();
                         return monitor.Check();
                       }));
  privacy::Log(privacy::LogLevel::kInfo, "personal model evaluated",
               {LogField(Key::kStudy, task.study), LogField(Key::kRound, task.round),
                LogField(Key::kCount, static_cast<int64_t>(result.cases.size())),
                LogField(Key::kDice, MeanDice(result))});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FinishedTask> RunEvaluate(const TaskSite& site, const SiteTask& task,
                                         TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(const Cohort all, SiteCohort(site.home, SelectionPlan(site, task)));
  const Cohort wanted = HeldOutPart(all, task.role);
  if (wanted.cases.empty()) return FinishedTask{KeyOf(task), EvaluationResult()};

  CSL_ASSIGN_OR_RETURN(const std::string model_path, FetchModel(site, task.model, monitor));
  CSL_ASSIGN_OR_RETURN(StudyArrays own, StudyState(site.home, task).Newest());
  CSL_ASSIGN_OR_RETURN(Segmenter model,
                       Segmenter::LoadWithPlan(model_path, task.plan, site.options.compute,
                                               own.local));
  model.OnWindow([&monitor] { monitor.Advance(); });  // one large case may take long
  CSL_ASSIGN_OR_RETURN(SampleCache cache,
                       SampleCache::Open({site.home, task.plan, site.options.cache_bytes_max,
                                          site.options.cache_encrypted}));
  CSL_ASSIGN_OR_RETURN(EvaluationResult result,
                       EvaluateCases(model, cache, wanted, [&](int64_t done, int64_t total) {
                         monitor.Report(TaskPhase::kEvaluate, done, total);
                         return monitor.Check();
                       }));
  privacy::Log(privacy::LogLevel::kInfo, "evaluated",
               {LogField(Key::kStudy, task.study), LogField(Key::kRound, task.round),
                LogField(Key::kCount, static_cast<int64_t>(result.cases.size()))});
  if (task.plan.algorithm.personal_lambda > 0 && !own.personal.empty()) {
    CSL_RETURN_IF_ERROR(
        EvaluatePersonal(site, task, std::move(own.personal), cache, wanted, monitor));
  }
  return FinishedTask{KeyOf(task), std::move(result)};
}

}  // namespace consilium::agent
