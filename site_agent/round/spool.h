// Results that are finished and that the coordinator may still need, on disk: until it has them,
// and an update until its round has ended.
//
// HOME/spool/<16 hex digits of the task id's SHA-256>/result.json   FinishedTask; written last
//                                                    /update.sealed  kInitialise, kTrain
// A folder without a whole result.json is work that was cut; Open removes it. One that the disk
// does not give out at the moment stays, for a later start.
#ifndef CONSILIUM_SITE_AGENT_ROUND_SPOOL_H_
#define CONSILIUM_SITE_AGENT_ROUND_SPOOL_H_

#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

using TaskResult =
    std::variant<CohortSummary, UpdateOffer, EvaluationResult, ConsentResult, RevealResult>;

struct FinishedTask {
  TaskKey key;
  TaskResult result;
  int64_t cases = 0;  // of a masked update, for the site's own log; neither spooled nor sent
};

std::string FinishedTaskToJson(const FinishedTask& task);
// INVALID_ARGUMENT: not what FinishedTaskToJson writes.
absl::StatusOr<FinishedTask> FinishedTaskFromJson(absl::string_view text);

// Thread-compatible. One agent a home.
class Spool {
 public:
  // Makes the folder and removes what was cut or does not have its digest.
  static absl::StatusOr<Spool> Open(const std::string& home);

  // What is spooled and can be read, oldest first.
  absl::StatusOr<std::vector<FinishedTask>> List() const { return ListIn(folder_); }
  // The same for a home whose agent may be running; none where there is no spool.
  static absl::StatusOr<std::vector<FinishedTask>> ListOf(const std::string& home);

  // An empty folder for the task's files.
  absl::StatusOr<std::string> BeginWork(const std::string& task_id);
  // After it returns the result survives the end of the process, and after Sync a power cut; a
  // result without an update at once. update.sealed must already be in place.
  absl::Status Keep(const FinishedTask& task);
  // Waits until the disk has all that was kept. Not before an update was offered for the first
  // time: if it is taken and its round ends soon, it never has to go to the disk. Nothing to do:
  // nothing done.
  absl::Status Sync();
  // NOT_FOUND: no such result.
  absl::StatusOr<FinishedTask> Load(const std::string& task_id) const;
  void Remove(const std::string& task_id);

  std::string UpdatePath(const std::string& task_id) const;

 private:
  explicit Spool(std::string folder) : folder_(std::move(folder)) {}
  static absl::StatusOr<std::vector<FinishedTask>> ListIn(const std::string& folder);
  std::string TaskFolder(const std::string& task_id) const;

  std::string folder_;
  std::set<std::string> unsynced_;  // task ids
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_SPOOL_H_
