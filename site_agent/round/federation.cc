#include "site_agent/round/federation.h"

#include "proto/base/check.h"

namespace consilium::agent {

const char* TaskKindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kPrepare:
      return "prepare";
    case TaskKind::kInitialise:
      return "initialise";
    case TaskKind::kTrain:
      return "train";
    case TaskKind::kEvaluate:
      return "evaluate";
    case TaskKind::kConsent:
      return "consent";
    case TaskKind::kReveal:
      return "reveal";
  }
  CSL_CHECK(false);
}

bool HasUpdate(TaskKind kind) { return kind == TaskKind::kTrain || kind == TaskKind::kInitialise; }

const char* TaskPhaseName(TaskPhase phase) {
  switch (phase) {
    case TaskPhase::kPrepare:
      return "prepare";
    case TaskPhase::kDownload:
      return "download";
    case TaskPhase::kTrain:
      return "train";
    case TaskPhase::kAgree:
      return "agree";
    case TaskPhase::kEvaluate:
      return "evaluate";
    case TaskPhase::kUpload:
      return "upload";
  }
  CSL_CHECK(false);
}

TaskKey KeyOf(const SiteTask& task) { return {task.task_id, task.kind, task.study, task.round}; }

}  // namespace consilium::agent
