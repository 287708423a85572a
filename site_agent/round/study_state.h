// What a site keeps of a study from round to round, and never sends as it is.
//
// HOME/studies/STUDY/local.safetensors     the layers that stay at the site (FedBN)
//                   /personal.safetensors  the site's own model (Ditto)
//                   /control.safetensors   its control variate c_i (SCAFFOLD)
//                   /next/                 the same, as the newest training made them
//                   /next/training.json    which training that was; written last
//
// A training that is done twice, or whose result is lost, changes nothing: it starts from what is
// kept, and what it made counts only when a training of a later round begins. The control variate
// counts only if the update it went with was taken, and its round made a new model, as the server's own
// moves by what it got.
//
// Each file names the plan it belongs to; one of another plan, or of a study that began again under
// the same name, is not used. What cannot be read is logged and left out: the site then starts from
// the global model, or from zeros.
//
// Privacy: holds what was learned from the site's patients without noise. Thread-compatible.
#ifndef CONSILIUM_SITE_AGENT_ROUND_STUDY_STATE_H_
#define CONSILIUM_SITE_AGENT_ROUND_STUDY_STATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "site_agent/round/federation.h"
#include "training/session.h"

namespace consilium::agent {

// In the form of training::Session; empty where there is none.
struct StudyArrays {
  std::vector<training::NamedArray> local;
  std::vector<training::NamedArray> personal;
  std::vector<training::NamedArray> control;
};

class StudyState {
 public:
  // Of the task's study and plan. Nothing is read or made yet.
  StudyState(const std::string& home, const SiteTask& task);

  // For a TRAIN task, before it trains: makes what the round before left count, drops what a
  // training of this round or a later one left, and reads what counts. A first round starts anew.
  // Errors of the disk.
  absl::StatusOr<StudyArrays> Begin() const;
  // What the task's training made, durable when it returns; before its result is spooled. Empty
  // lists are not written.
  absl::Status Stage(const StudyArrays& made) const;
  // For an evaluation: what the site's newest training made, up to the task's round.
  absl::StatusOr<StudyArrays> Newest() const;

  // The coordinator has taken the update of this task. Nothing happens where nothing was staged.
  static absl::Status NoteAccepted(const std::string& home, const TaskKey& task);

 private:
  std::string folder_;
  std::string plan_sha256_, model_sha256_;
  TaskKey task_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_STUDY_STATE_H_
