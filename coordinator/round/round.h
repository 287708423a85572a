// One round as a value: event and time in, effects out. No lock, clock, I/O or thread.
//
//   kCollecting <-> (kUnmasking ->) kAggregating -> kCommitted
//        |                |              |
//        +----------------+--------------+---------> kFailed
//
// kUnmasking is passed by masked rounds alone: the survivors are fixed, and the sites give what opens
// their sum (masked_round.h). From then on nothing can be taken out of the sum, so a round whose
// survivor is revoked fails, and a lost update has to come back before it goes on.
//
// The driver persists record() before it acts on an effect or answers a caller. A restart builds
// the same round from the record; where it is aggregating, that is begun again.
//
// An accepted update may turn out to be lost (a power cut took its bytes, a disk spoilt them). The
// round then collects again: the update is awaited as before, and its site still has it.
//
// Straggler policy: at the deadline the round goes on with what it has if that is the quorum, and
// fails if not. It also fails as soon as the quorum can no longer be reached, or a required site
// can no longer deliver. Sites of which nothing was heard for their lease, or whose work does not
// advance, are idle, not out: only when the quorum and every required site have delivered and all that
// is still awaited is idle does the round close without them. A site that declines counts as missing.
// An update accepted before its site was suspended stays in; one of a site that is revoked before the
// round is committed does not, and the quorum is reckoned again.
//
// A buffer (asynchronous studies, study_buffer.cc) is a round that closes with its `buffer`-th
// update. A site may have several contributions in it, one a task and at most one of them awaited;
// what is still awaited when it ends belongs to the next one. It waits for the deadline even when
// the quorum is out of reach, because a site may give more than once.
//
// Order: Open or FromRecord, then events as they happen; OnTime before any other event of that
// moment. Thread-compatible. An event that returns an error has changed nothing.
// Errors: FAILED_PRECONDITION: the round has moved on. ALREADY_EXISTS: another update of the site
// was accepted. NOT_FOUND: the site is not part of the round.
#ifndef CONSILIUM_COORDINATOR_ROUND_ROUND_H_
#define CONSILIUM_COORDINATOR_ROUND_ROUND_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"

namespace consilium::coordinator {

// An accepted update as it counts in the mean; `weight` is already within the aggregation's range.
struct FoldUpdate {
  std::string site;
  std::string task_id;
  std::string upload_id;
  int64_t weight = 0;
  // Buffers only.
  int64_t idle_weight = 0;  // what staleness took from the weight; it counts in the divisor
  int64_t task_round = 0;   // the round the task was made in; 0: this one
};
struct Aggregate {};  // nothing more is awaited: make the new version of Accepted()
struct Unmask {};     // nothing more is awaited: fix the survivors as Accepted(), have them unmasked
struct RoundFailed {
  std::string reason;
};
using RoundEffect = std::variant<Aggregate, Unmask, RoundFailed>;
using RoundEffects = std::vector<RoundEffect>;

// What the driver found out about an update before it offers it.
struct VerifiedUpdate {
  std::string upload_id;
  int64_t bytes = 0;
  int64_t labelled_cases = 0;
  int64_t unlabelled_cases = 0;
  int64_t weight_milli = 0;
  SummaryRecord summary;
  int64_t staleness = 0;
  double discount = 1;  // of the weight, for staleness; 0..1
  // Of its values, where the coordinator sees them (aggregation/update_check.h).
  double norm = 0;
  bool all_zero = false;
  std::string values_sha256 = {};
};

class Round {
 public:
  struct Invitee {
    std::string site;
    std::string task_id;
    int64_t weight_max_milli = 0;
    std::string skip_reason;  // not empty: recorded as skipped, not awaited
  };
  struct Options {
    std::string study;
    int64_t number = 0;
    int64_t quorum = 1;
    std::string base_version;
    std::string base_sha256;
    absl::Time now;
    absl::Duration deadline;
    std::vector<std::string> required = {};
    int64_t buffer = 0;            // > 0: a buffer
    int64_t weight_cap_milli = 0;  // of a buffer
    MaskingRecord masking = {};    // rosters: a masked round
  };
  static Round Open(const Options& options, const std::vector<Invitee>& invitees);
  explicit Round(RoundRecord record);

  const RoundRecord& record() const { return record_; }
  RoundPhase phase() const { return record_.phase; }
  bool open() const { return phase() == RoundPhase::kCollecting; }
  bool under_way() const {
    return open() || phase() == RoundPhase::kUnmasking || phase() == RoundPhase::kAggregating;
  }
  absl::Time deadline() const { return absl::FromUnixMicros(record_.deadline_us); }
  bool is_buffer() const { return record_.buffer > 0; }
  bool is_masked() const { return !record_.masking.rosters.empty(); }
  // The site's awaited contribution, or else its last. nullptr: not part of the round.
  const ContributionRecord* Find(absl::string_view site) const;
  const ContributionRecord* FindTask(absl::string_view task_id) const;
  // The round that the contribution's task was made in.
  int64_t TaskRound(const ContributionRecord& contribution) const {
    return contribution.task_round == 0 ? record_.number : contribution.task_round;
  }
  bool Awaits(absl::string_view site) const;

  // INVALID_ARGUMENT: byte by byte another site's update; one of the two was copied.
  absl::StatusOr<RoundEffects> OnUpdateVerified(absl::string_view site,
                                                const VerifiedUpdate& update, absl::Time now);
  // The site's update can never be taken: it is out of this round.
  absl::StatusOr<RoundEffects> OnUpdateRefused(absl::string_view site, absl::string_view reason,
                                               absl::Time now);
  // The site says that it cannot. As above.
  absl::StatusOr<RoundEffects> OnDeclined(absl::string_view site, absl::string_view reason,
                                          absl::Time now);
  // An awaited site from which nothing is to be expected now.
  struct Idle {
    std::string site;
    std::string why;  // "silent for 1m"
  };
  // Closes the round if there is nobody but these to wait for and it has what it needs.
  RoundEffects OnSilence(const std::vector<Idle>& idle, absl::Time now);
  // Suspended, revoked. Nothing happens if nothing is awaited from it.
  RoundEffects OnSiteGone(absl::string_view site, absl::string_view reason, absl::Time now);
  // Revoked, for good: what it gave is refused, and what else was accepted goes on if that is enough.
  // `parts` empty: it had given nothing, and nothing happened.
  struct Withdrawal {
    std::vector<ContributionRecord> parts;  // as they were
    RoundEffects effects;
  };
  Withdrawal OnRevoked(absl::string_view site, absl::string_view reason, absl::Time now);
  RoundEffects OnTime(absl::Time now);
  // While it is under way: awaits the updates of these tasks again.
  void OnUpdatesLost(const std::vector<std::string>& task_ids);
  // Masked rounds: what MaskedRound says of itself, to be persisted with the rest.
  void SetMasking(MaskingRecord masking) { record_.masking = std::move(masking); }
  // From now on at least so many updates are needed: the threshold of the shares.
  RoundEffects RaiseQuorum(int64_t quorum, absl::Time now);
  // kUnmasking: this accepted update is not part of the sum.
  void LeaveOut(absl::string_view site, absl::string_view reason);
  // The masks can be taken off: kUnmasking -> kAggregating.
  RoundEffects OnUnmasked();
  // Ends the round from outside: the study was stopped, or the model could not be made.
  RoundEffects OnFailure(absl::string_view reason, absl::Time now);
  void OnCommitted(absl::string_view new_version, absl::Time now);
  // Moves an open deadline by the time a study was paused.
  void Extend(absl::Duration by);

  // Buffers: one more awaited (or refused) contribution; replaces that the site was skipped.
  void Add(ContributionRecord contribution);
  // Buffers: ends what is awaited, as missing for this reason, and returns it as it was.
  std::vector<ContributionRecord> TakeAwaited(absl::string_view reason);

  // What the new version is to be made of.
  std::vector<FoldUpdate> Accepted() const;

 private:
  void MoveTo(RoundPhase next);
  ContributionRecord* FindMutable(absl::string_view site);
  int64_t Count(Outcome outcome) const;
  absl::StatusOr<RoundEffects> EndPart(absl::string_view site, Outcome outcome,
                                       absl::string_view reason, absl::Time now);
  // The required sites that will not deliver any more, with the reasons; empty: none.
  std::string LostRequired() const;
  bool RequiredDelivered() const;
  void Close(RoundEffects& effects);
  FoldUpdate Fold(const ContributionRecord& contribution) const;
  // Goes on if nothing is awaited, fails if the quorum is out of reach.
  void Settle(absl::Time now, RoundEffects& effects);
  void Fail(absl::string_view reason, absl::Time now, RoundEffects& effects);

  RoundRecord record_;
  bool sorted_ = false;  // contributions by site, one each: the rule, except in buffers
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_ROUND_H_
