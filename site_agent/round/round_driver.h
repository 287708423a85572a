// Runs a site's part in its federation: asks for tasks, does them, delivers what they gave, for as
// long as the agent lives. The decisions are SiteRound's; this executes its effects.
#ifndef CONSILIUM_SITE_AGENT_ROUND_ROUND_DRIVER_H_
#define CONSILIUM_SITE_AGENT_ROUND_ROUND_DRIVER_H_

#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/clock.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/site_round.h"
#include "site_agent/round/spool.h"

namespace consilium::agent {

struct DriverOptions {
  // How long to wait after this many failures in a row.
  std::function<absl::Duration(int failures)> delay;
  // Waits; false: the agent is stopping.
  std::function<bool(absl::Duration)> sleep;
  absl::Duration ask_wait = absl::Seconds(30);         // that the coordinator may hold a question
  absl::Duration ask_interval_min = absl::Seconds(1);  // between questions without an answer
  // At least this long after a result that will never be taken; doubles with each in a row.
  absl::Duration refused_wait = absl::Minutes(1);
  absl::Duration refused_wait_max = absl::Minutes(10);
  // Draws from [0, 1): a coordinator that tells many sites to come back in 10 s must not see them all
  // at once. Empty: they come exactly then.
  std::function<double()> uniform;
  // Hears of each update that the coordinator took; may be empty.
  std::function<void(const TaskKey& task)> accepted;
  // Hears of each result that leaves the spool; may be empty.
  std::function<void(const Discard& discard)> discarded;
};

using TaskWork = std::function<absl::StatusOr<FinishedTask>(const SiteTask& task)>;

// Not thread-safe; everything given must outlive it. It never gives up: whatever fails is logged
// and tried again with growing pauses.
class RoundDriver {
 public:
  RoundDriver(Federation& remote, Spool& spool, TaskWork work, const Clock& clock,
              const std::atomic<bool>& stop, DriverOptions options);

  // Returns OK when `stop` became true. Errors: the spool's folder cannot be read at the start.
  absl::Status Run();

 private:
  std::vector<Effect> Execute(SiteRound& round, const Effect& effect);
  std::vector<Effect> Ask(SiteRound& round);
  std::vector<Effect> TakeAnswer(SiteRound& round, NextAnswer answer, absl::Duration took);
  std::vector<Effect> DoWork(SiteRound& round);
  void SyncSpool();
  // Tries for a while to get it on disk. CANCELLED: the agent is stopping.
  absl::Status KeepResult(const FinishedTask& finished);
  std::vector<Effect> GiveUp(SiteRound& round, const absl::Status& why);
  std::vector<Effect> DeclineTask(SiteRound& round, const std::string& task_id);
  std::vector<Effect> DeliverResult(SiteRound& round, const std::string& task_id);
  absl::Status Report(const FinishedTask& finished);  // a result without an update
  absl::StatusOr<UploadOutcome> Send(const std::string& task_id);
  // At least what the coordinator asked for (bounded by wire::kRetryAfterMax), and up to half of that
  // more.
  absl::Duration DelayFor(const Wait& wait);
  void NoteFailure(const absl::Status& failed);
  void DiscardResult(const Discard& discard);

  Federation& remote_;
  Spool& spool_;
  TaskWork work_;
  const Clock& clock_;
  const std::atomic<bool>& stop_;
  DriverOptions options_;
  std::optional<SiteTask> task_;  // the last one handed out
  std::string decline_reason_;    // of the work that failed last
  bool greeted_ = false;          // Hello went through on this connection
  bool asked_since_kept_ = true;  // a question was put after the last result was kept
  absl::Duration come_back_after_;  // as the coordinator said with its last refusal; zero: it did not
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_ROUND_DRIVER_H_
