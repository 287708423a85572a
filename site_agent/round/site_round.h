// A site's part in a federation as a pure state machine: events in, effects out. No clock, no I/O.
//
//   kIdle -> AskForTask -> kAsking -> Work ----> kWorking -> Deliver -> kDelivering -> kIdle
//                             |  \--> Deliver (result is spooled)          |
//                             \--> Wait (nothing reached, work failed) <---/
//
// Work that will not get better by trying again is declined (kDeclining), so that the round need
// not wait for this site.
//
// The one promise: a result that was reported by OnWorkDone is delivered or refused, never made
// again while it is spooled. The caller has the result on disk before it calls OnWorkDone and
// removes it only on Discard, so after a crash at any point Restore + Start offer it again.
//
// An update that was taken stays spooled until the coordinator says that its task has ended,
// because it may lose its copy; asked for the task again, the site delivers it again.
#ifndef CONSILIUM_SITE_AGENT_ROUND_SITE_ROUND_H_
#define CONSILIUM_SITE_AGENT_ROUND_SITE_ROUND_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

struct AskForTask {};
// Do the task that was just handed out.
struct Work {};
// Send the spooled result of this task.
struct Deliver {
  std::string task_id;
};
// Tell the coordinator that this site cannot do the task.
struct Decline {
  std::string task_id;
};
enum class DiscardReason { kDelivered, kEnded, kRefused, kSuperseded, kTooMany };
struct Discard {
  std::string task_id;
  DiscardReason reason = DiscardReason::kDelivered;
};
// Wait before the next question; longer the more attempts failed in a row. `refusals`: of these,
// results in a row that the coordinator will never take; each costs a task's work to make again.
struct Wait {
  int failures = 0;
  int refusals = 0;
};
using Effect = std::variant<AskForTask, Work, Deliver, Decline, Discard, Wait>;

// What to do about a failed call.
enum class CallFailure {
  kRetry,  // the same again later
  kGone,   // the coordinator no longer wants it
  kWrong,  // it will never be taken
};
CallFailure ClassifyFailure(const absl::Status& status);

// What to do about work that failed.
enum class WorkFailure {
  kElsewhere,  // the network, the coordinator, the deadline: nothing to do with this site
  kTrouble,    // something here that may pass: declined after kWorkTriesMax in a row
  kHopeless,   // it will not get better: no case, not supported
  kAbandoned,  // the coordinator no longer wants the result
};
WorkFailure ClassifyWork(const absl::Status& status);
// In words of our own, so that nothing of a message travels: those of WithDeclineReason, or what the
// code stands for.
std::string DeclineReason(const absl::Status& status);
// `status` with what the coordinator may be told of it: names of sites and studies and numbers only,
// nothing of a patient; cut to kDeclineTextBytesMax bytes. REQUIRES: not OK.
inline constexpr size_t kDeclineTextBytesMax = 200;
absl::Status WithDeclineReason(absl::Status status, absl::string_view reason);

// Thread-compatible. An event that does not fit the phase ends the process (our bug).
class SiteRound {
 public:
  enum class Phase { kIdle, kAsking, kWorking, kDelivering, kDeclining, kWaiting };
  // Of updates, and of results without one, each: the oldest goes first.
  static constexpr size_t kSpooledMax = 4;
  static constexpr int kWorkTriesMax = 3;   // of one task that fails here, before it is declined
  static constexpr int kGoneMax = 3;        // times that a result is found gone before it goes

  // `spooled`: results on disk from before, oldest first.
  explicit SiteRound(std::vector<TaskKey> spooled);

  std::vector<Effect> Start();
  std::vector<Effect> OnTask(const TaskKey& task);
  std::vector<Effect> OnNoTask();
  // Comes with the answer to a question, before OnTask or OnNoTask.
  std::vector<Effect> OnEnded(const std::vector<std::string>& task_ids);
  std::vector<Effect> OnAskFailed();
  std::vector<Effect> OnWorkDone();  // the result is spooled
  std::vector<Effect> OnWorkFailed(WorkFailure failure = WorkFailure::kElsewhere);
  std::vector<Effect> OnDeclined();
  std::vector<Effect> OnDeclineFailed(CallFailure failure);
  // Taken, and needed no more or not until the round has ended; or refused for good.
  enum class Delivery { kDone, kHeld };
  std::vector<Effect> OnDelivered(Delivery delivery);
  std::vector<Effect> OnDeliveryFailed(CallFailure failure);
  std::vector<Effect> OnWaited();

  Phase phase() const { return phase_; }
  // What to name in the next question.
  std::vector<std::string> SpooledTaskIds() const;

 private:
  struct Spooled {
    TaskKey key;
    int gone = 0;
    bool held = false;  // delivered, and kept in case it is asked for again
  };
  void MoveTo(Phase from, Phase to);
  bool IsSpooled(const std::string& task_id) const;
  void Remove(const std::string& task_id, DiscardReason reason, std::vector<Effect>& effects);
  void DiscardBeyondMax(std::vector<Effect>& effects);
  void DiscardSuperseded(const TaskKey& task, std::vector<Effect>& effects);
  std::vector<Effect> AskAgain();
  std::vector<Effect> WaitAfterFailure(Phase from, int refusals = 0);

  Phase phase_ = Phase::kIdle;
  std::vector<Spooled> spooled_;  // oldest first
  TaskKey current_;               // in kWorking and kDelivering
  int failures_ = 0;              // in a row
  int work_failures_ = 0;         // of current_, in a row
  int refusals_ = 0;  // in a row, 0 again when a result is delivered or none is asked for
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_SITE_ROUND_H_
