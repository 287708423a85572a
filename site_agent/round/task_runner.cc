#include "site_agent/round/task_runner.h"

#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/policy/admission.h"
#include "site_agent/round/masking/unmask_task.h"
#include "site_agent/round/case_set.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

// A round's model is of no use once the next one is asked for.
void RemoveOtherModels(const std::string& folder, const std::string& keep_sha256) {
  std::error_code error;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(keep_sha256, 0) != 0) old.push_back(entry.path());
  }
  for (const fs::path& path : old) fs::remove(path, error);
}

absl::StatusOr<std::string> FetchInto(const std::string& folder, const TaskSite& site,
                                      const ModelRef& model, TaskMonitor& monitor) {
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  RemoveOtherModels(folder, model.sha256);
  const std::string path = JoinPath(folder, absl::StrCat(model.sha256, ".safetensors"));
  if (PathExists(path)) {
    const auto digest = privacy::Sha256HexOfFile(path);
    if (digest.ok() && *digest == model.sha256) return path;
    std::error_code ignored;
    fs::remove(path, ignored);
  }
  CSL_RETURN_IF_ERROR(site.remote.DownloadModel(model, path, [&](uint64_t done, uint64_t total) {
    monitor.Report(TaskPhase::kDownload, static_cast<int64_t>(done), static_cast<int64_t>(total));
  }));
  return path;
}

}  // namespace

absl::StatusOr<std::string> FetchModel(const TaskSite& site, const ModelRef& model,
                                       TaskMonitor& monitor) {
  return FetchInto(JoinPath(site.home, "models"), site, model, monitor);
}

absl::StatusOr<std::string> FetchControl(const TaskSite& site, const ModelRef& control,
                                         TaskMonitor& monitor) {
  return FetchInto(JoinPath(site.home, "controls"), site, control, monitor);
}

wire::Plan SelectionPlan(const TaskSite& site, const SiteTask& task) {
  return site.policy == nullptr ? task.plan : ApplyToPlan(*site.policy, task.plan);
}

absl::StatusOr<FinishedTask> RunPrepare(const TaskSite& site, const SiteTask& task,
                                        TaskMonitor& monitor) {
  monitor.Report(TaskPhase::kPrepare, 0, 1);
  CSL_ASSIGN_OR_RETURN(const Cohort cohort, SiteCohort(site.home, SelectionPlan(site, task)));
  CSL_RETURN_IF_ERROR(monitor.Check());
  return FinishedTask{KeyOf(task), SummaryOf(cohort, task.role)};
}

absl::StatusOr<FinishedTask> RunTask(const TaskSite& site, const SiteTask& task,
                                     TaskMonitor& monitor) {
  if (HasUpdate(task.kind) && task.role == SiteRole::kEvaluator) {
    return absl::InvalidArgumentError("this site only evaluates in this study");
  }
  const bool masks = task.masking.has_value() || task.unmasking.has_value();
  if (masks && site.masking == nullptr) {
    return absl::UnimplementedError("this agent takes no part in secure aggregation");
  }
  switch (task.kind) {
    case TaskKind::kPrepare:
      return RunPrepare(site, task, monitor);
    case TaskKind::kInitialise:
      return RunInitialise(site, task, monitor);
    case TaskKind::kTrain:
      return RunTrain(site, task, monitor);
    case TaskKind::kEvaluate:
      return RunEvaluate(site, task, monitor);
    case TaskKind::kConsent:
      return RunConsent(*site.masking, task);
    case TaskKind::kReveal:
      return RunReveal(*site.masking, task);
  }
  CSL_CHECK(false);
}

}  // namespace consilium::agent
