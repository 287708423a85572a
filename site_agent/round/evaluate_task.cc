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
  EvaluationResult result;
  if (wanted.cases.empty()) return FinishedTask{KeyOf(task), std::move(result)};

  CSL_ASSIGN_OR_RETURN(const std::string model_path, FetchModel(site, task.model, monitor));
  CSL_ASSIGN_OR_RETURN(Segmenter model, Segmenter::LoadWithPlan(model_path, task.plan,
                                                                site.options.compute));
  CSL_ASSIGN_OR_RETURN(SampleCache cache, SampleCache::Open({site.home, task.plan,
                                                             site.options.cache_bytes_max}));
  CSL_ASSIGN_OR_RETURN(const Cohort cohort,
                       PrepareCases(cache, wanted, [&](int64_t done, int64_t total) {
                         monitor.Report(TaskPhase::kPrepare, done, total);
                         return monitor.Check();
                       }));
  const auto total = static_cast<int64_t>(cohort.cases.size());
  for (int64_t i = 0; i < total; ++i) {
    monitor.Report(TaskPhase::kEvaluate, i, total);
    CSL_RETURN_IF_ERROR(monitor.Check());
    const CohortCase& item = cohort.cases[static_cast<size_t>(i)];
    CSL_ASSIGN_OR_RETURN(PreparedCase prepared, cache.Load(item));
    CSL_ASSIGN_OR_RETURN(CaseResult measured, EvaluateCase(model, std::move(prepared)));
    result.cases.push_back(std::move(measured));
  }
  monitor.Report(TaskPhase::kEvaluate, total, total);
  privacy::Log(privacy::LogLevel::kInfo, "evaluated",
               {LogField(Key::kStudy, task.study), LogField(Key::kRound, task.round),
                LogField(Key::kCount, total)});
  return FinishedTask{KeyOf(task), std::move(result)};
}

}  // namespace consilium::agent
