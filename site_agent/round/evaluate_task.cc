// EVALUATE: model in, Dice of each held-out case out.
#include <utility>

#include "privacy/log/log.h"
#include "proto/base/status.h"
#include "site_agent/round/case_set.h"
#include "site_agent/round/task_runner.h"

namespace consilium::agent {

using privacy::LogField;
using Key = privacy::LogField::Key;

absl::StatusOr<FinishedTask> RunEvaluate(const TaskSite& site, const SiteTask& task,
                                         TaskMonitor& monitor) {
  CSL_ASSIGN_OR_RETURN(const Cohort all, SiteCohort(site.home, task.plan));
  const Cohort wanted = HeldOutPart(all, task.role);
  if (wanted.cases.empty()) return FinishedTask{KeyOf(task), EvaluationResult()};

  CSL_ASSIGN_OR_RETURN(const std::string model_path, FetchModel(site, task.model, monitor));
  CSL_ASSIGN_OR_RETURN(Segmenter model, Segmenter::LoadWithPlan(model_path, task.plan,
                                                                site.options.compute));
  model.OnWindow([&monitor] { monitor.Advance(); });  // one large case may take long
  CSL_ASSIGN_OR_RETURN(SampleCache cache, SampleCache::Open({site.home, task.plan,
                                                             site.options.cache_bytes_max}));
  CSL_ASSIGN_OR_RETURN(EvaluationResult result,
                       EvaluateCases(model, cache, wanted, [&](int64_t done, int64_t total) {
                         monitor.Report(TaskPhase::kEvaluate, done, total);
                         return monitor.Check();
                       }));
  privacy::Log(privacy::LogLevel::kInfo, "evaluated",
               {LogField(Key::kStudy, task.study), LogField(Key::kRound, task.round),
                LogField(Key::kCount, static_cast<int64_t>(result.cases.size()))});
  return FinishedTask{KeyOf(task), std::move(result)};
}

}  // namespace consilium::agent
