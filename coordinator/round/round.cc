#include "coordinator/round/round.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "aggregation/weighted_mean.h"
#include "proto/base/check.h"

namespace consilium::coordinator {
namespace {

constexpr bool MayMove(RoundPhase from, RoundPhase to) {
  switch (from) {
    case RoundPhase::kCollecting:
      return to == RoundPhase::kUnmasking || to == RoundPhase::kAggregating ||
             to == RoundPhase::kFailed;
    case RoundPhase::kUnmasking:
      return to == RoundPhase::kAggregating || to == RoundPhase::kFailed ||
             to == RoundPhase::kCollecting;
    case RoundPhase::kAggregating:
      return to == RoundPhase::kCommitted || to == RoundPhase::kFailed ||
             to == RoundPhase::kCollecting;
    case RoundPhase::kCommitted:
    case RoundPhase::kFailed:
      return false;
  }
  return false;
}

}  // namespace

Round::Round(RoundRecord record) : record_(std::move(record)) {
  const auto& all = record_.contributions;
  sorted_ = std::adjacent_find(all.begin(), all.end(),
                               [](const ContributionRecord& a, const ContributionRecord& b) {
                                 return a.site >= b.site;
                               }) == all.end();
}

Round Round::Open(const Options& options, const std::vector<Invitee>& invitees) {
  RoundRecord record;
  record.study = options.study;
  record.number = options.number;
  record.quorum = options.quorum;
  record.base_version = options.base_version;
  record.base_sha256 = options.base_sha256;
  record.started_us = absl::ToUnixMicros(options.now);
  record.deadline_us = absl::ToUnixMicros(options.now + options.deadline);
  record.required = options.required;
  record.buffer = options.buffer;
  record.weight_cap_milli = options.weight_cap_milli;
  record.masking = options.masking;
  for (const Invitee& invitee : invitees) {
    ContributionRecord contribution;
    contribution.site = invitee.site;
    contribution.task_id = invitee.task_id;
    contribution.weight_max_milli = invitee.weight_max_milli;
    contribution.reason = invitee.skip_reason;
    contribution.outcome = invitee.skip_reason.empty() ? Outcome::kAwaited : Outcome::kSkipped;
    record.contributions.push_back(std::move(contribution));
  }
  return Round(std::move(record));
}

void Round::MoveTo(RoundPhase next) {
  CSL_CHECK(MayMove(record_.phase, next));
  record_.phase = next;
}

const ContributionRecord* Round::Find(absl::string_view site) const {
  if (sorted_) {
    const auto it = std::lower_bound(
        record_.contributions.begin(), record_.contributions.end(), site,
        [](const ContributionRecord& c, absl::string_view name) { return c.site < name; });
    return it == record_.contributions.end() || it->site != site ? nullptr : &*it;
  }
  const ContributionRecord* found = nullptr;
  for (const ContributionRecord& contribution : record_.contributions) {
    if (contribution.site != site) continue;
    found = &contribution;
    if (contribution.outcome == Outcome::kAwaited) break;
  }
  return found;
}

const ContributionRecord* Round::FindTask(absl::string_view task_id) const {
  for (const ContributionRecord& contribution : record_.contributions) {
    if (contribution.task_id == task_id) return &contribution;
  }
  return nullptr;
}

ContributionRecord* Round::FindMutable(absl::string_view site) {
  return const_cast<ContributionRecord*>(Find(site));
}

bool Round::Awaits(absl::string_view site) const {
  const ContributionRecord* contribution = Find(site);
  return open() && contribution != nullptr && contribution->outcome == Outcome::kAwaited;
}

int64_t Round::Count(Outcome outcome) const {
  return std::count_if(record_.contributions.begin(), record_.contributions.end(),
                       [&](const ContributionRecord& c) { return c.outcome == outcome; });
}

FoldUpdate Round::Fold(const ContributionRecord& contribution) const {
  // The fold's weights have a bound. A federation beyond it is scaled down as a whole, by what the
  // round could weigh at most, so that the factor does not depend on who answers.
  int64_t total_max = record_.buffer * record_.weight_cap_milli;
  for (const ContributionRecord& c : record_.contributions) {
    if (!is_buffer() && c.outcome != Outcome::kSkipped) total_max += c.weight_max_milli;
  }
  const int64_t divisor = total_max / aggregation::kWeightTotalMaxMilli + 1;
  const int64_t weight = std::max<int64_t>(1, contribution.weight_milli / divisor);
  return {.site = contribution.site,
          .task_id = contribution.task_id,
          .upload_id = contribution.upload_id,
          .weight = weight,
          .idle_weight = std::max<int64_t>(0, contribution.weight_full_milli / divisor - weight),
          .task_round = contribution.task_round};
}

absl::StatusOr<RoundEffects> Round::OnUpdateVerified(absl::string_view site,
                                                     const VerifiedUpdate& update, absl::Time now) {
  ContributionRecord* contribution = FindMutable(site);
  if (contribution == nullptr || contribution->outcome == Outcome::kSkipped) {
    return absl::NotFoundError(absl::StrCat(site, " is not part of round ", record_.number));
  }
  if (contribution->outcome == Outcome::kAccepted || contribution->outcome == Outcome::kFolded) {
    return absl::AlreadyExistsError(
        absl::StrCat("another update of ", site, " was accepted for round ", record_.number));
  }
  if (!open() || now > deadline() || contribution->outcome != Outcome::kAwaited) {
    return absl::FailedPreconditionError(
        absl::StrCat("round ", record_.number, " no longer awaits an update of ", site));
  }
  for (const ContributionRecord& other : record_.contributions) {
    const bool counts = other.outcome == Outcome::kAccepted || other.outcome == Outcome::kFolded;
    if (counts && other.site != site && !update.all_zero && !update.values_sha256.empty() &&
        other.values_sha256 == update.values_sha256) {
      return absl::InvalidArgumentError(
          absl::StrCat("the update is byte by byte that of ", other.site));
    }
  }
  contribution->norm = update.norm;
  contribution->values_sha256 = update.values_sha256;
  contribution->outcome = Outcome::kAccepted;
  contribution->upload_id = update.upload_id;
  contribution->bytes = update.bytes;
  contribution->labelled_cases = update.labelled_cases;
  contribution->unlabelled_cases = update.unlabelled_cases;
  contribution->weight_milli = std::min(update.weight_milli, contribution->weight_max_milli);
  if (is_buffer()) {
    const int64_t full = std::min(contribution->weight_milli, record_.weight_cap_milli);
    contribution->weight_full_milli = full;
    contribution->weight_milli =
        std::max<int64_t>(1, std::llround(static_cast<double>(full) * update.discount));
    contribution->staleness = update.staleness;
  }
  contribution->summary = update.summary;
  RoundEffects effects;
  Settle(now, effects);
  return effects;
}

absl::StatusOr<RoundEffects> Round::EndPart(absl::string_view site, Outcome outcome,
                                            absl::string_view reason, absl::Time now) {
  if (!Awaits(site)) {
    return absl::FailedPreconditionError(
        absl::StrCat("round ", record_.number, " no longer awaits an update of ", site));
  }
  ContributionRecord* contribution = FindMutable(site);
  contribution->outcome = outcome;
  contribution->reason = std::string(reason);
  RoundEffects effects;
  Settle(now, effects);
  return effects;
}

absl::StatusOr<RoundEffects> Round::OnUpdateRefused(absl::string_view site,
                                                    absl::string_view reason, absl::Time now) {
  return EndPart(site, Outcome::kRefused, reason, now);
}

absl::StatusOr<RoundEffects> Round::OnDeclined(absl::string_view site, absl::string_view reason,
                                               absl::Time now) {
  return EndPart(site, Outcome::kDeclined, reason, now);
}

RoundEffects Round::OnSiteGone(absl::string_view site, absl::string_view reason, absl::Time now) {
  return EndPart(site, Outcome::kMissing, reason, now).value_or(RoundEffects());
}

Round::Withdrawal Round::OnRevoked(absl::string_view site, absl::string_view reason,
                                   absl::Time now) {
  Withdrawal withdrawal;
  const bool collecting = phase() == RoundPhase::kCollecting;
  if (!under_way()) return withdrawal;
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.site != site || contribution.outcome != Outcome::kAccepted) continue;
    withdrawal.parts.push_back(contribution);
    contribution.outcome = Outcome::kRefused;
    contribution.reason = std::string(reason);
  }
  if (withdrawal.parts.empty()) return withdrawal;
  if (collecting) {
    Settle(now, withdrawal.effects);
    return withdrawal;
  }
  if (is_masked()) {
    Fail(absl::StrCat(site, " was revoked, and nothing can be taken out of a masked sum"), now,
         withdrawal.effects);
    return withdrawal;
  }
  const int64_t accepted = Count(Outcome::kAccepted);
  if (const std::string lost = LostRequired(); !lost.empty()) {
    Fail(absl::StrCat("the study requires ", lost), now, withdrawal.effects);
  } else if (accepted < record_.quorum) {
    Fail(absl::StrCat(accepted, " updates where the quorum is ", record_.quorum, ", as ", site,
                      " was revoked"),
         now, withdrawal.effects);
  } else {
    withdrawal.effects.push_back(Aggregate{});  // anew, of what is left
  }
  return withdrawal;
}

RoundEffects Round::OnSilence(const std::vector<Idle>& idle, absl::Time now) {
  RoundEffects effects;
  if (!open() || now > deadline()) return effects;
  std::vector<Idle> left_out;
  for (const ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome != Outcome::kAwaited) continue;
    const auto it = std::find_if(idle.begin(), idle.end(),
                                 [&](const Idle& one) { return one.site == contribution.site; });
    if (it == idle.end()) return effects;
    left_out.push_back(*it);
  }
  if (Count(Outcome::kAccepted) < record_.quorum || !RequiredDelivered()) return effects;
  if (left_out.empty() && !is_buffer()) return effects;  // Settle has seen to it
  const std::string who = absl::StrJoin(left_out, ", ", [](std::string* out, const Idle& one) {
    absl::StrAppend(out, one.site, " ", one.why);
  });
  record_.reason =
      absl::StrCat("closed early: ", left_out.empty() ? "no site has more to give" : who);
  if (!is_buffer()) {
    for (const Idle& one : left_out) {
      ContributionRecord* contribution = FindMutable(one.site);
      contribution->outcome = Outcome::kMissing;
      contribution->reason = one.why;
    }
  }
  Close(effects);
  return effects;
}

RoundEffects Round::OnTime(absl::Time now) {
  RoundEffects effects;
  if (!open() || now <= deadline()) return effects;
  if (is_buffer()) {
    const int64_t accepted = Count(Outcome::kAccepted);
    if (accepted >= record_.quorum) {
      record_.reason = absl::StrCat("closed at its deadline with ", accepted, " of ",
                                    record_.buffer, " updates");
      Close(effects);
    } else {
      Fail(absl::StrCat(accepted, " updates at the deadline where the quorum is ", record_.quorum),
           now, effects);
    }
    return effects;
  }
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome != Outcome::kAwaited) continue;
    contribution.outcome = Outcome::kMissing;
    contribution.reason = "no update before the deadline";
  }
  Settle(now, effects);
  return effects;
}

RoundEffects Round::OnFailure(absl::string_view reason, absl::Time now) {
  RoundEffects effects;
  if (under_way()) Fail(reason, now, effects);
  return effects;
}

void Round::OnCommitted(absl::string_view new_version, absl::Time now) {
  MoveTo(RoundPhase::kCommitted);
  record_.new_version = std::string(new_version);
  record_.ended_us = absl::ToUnixMicros(now);
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome == Outcome::kAccepted) contribution.outcome = Outcome::kFolded;
  }
}

void Round::Extend(absl::Duration by) {
  if (open()) record_.deadline_us += absl::ToInt64Microseconds(by);
}

RoundEffects Round::RaiseQuorum(int64_t quorum, absl::Time now) {
  RoundEffects effects;
  if (quorum <= record_.quorum) return effects;
  record_.quorum = quorum;
  if (open()) Settle(now, effects);
  return effects;
}

void Round::LeaveOut(absl::string_view site, absl::string_view reason) {
  ContributionRecord* contribution = FindMutable(site);
  CSL_CHECK(contribution != nullptr && contribution->outcome == Outcome::kAccepted);
  contribution->outcome = Outcome::kMissing;
  contribution->reason = std::string(reason);
}

RoundEffects Round::OnUnmasked() {
  MoveTo(RoundPhase::kAggregating);
  return {Aggregate{}};
}

void Round::OnUpdatesLost(const std::vector<std::string>& task_ids) {
  if (!open()) MoveTo(RoundPhase::kCollecting);
  record_.reason.clear();  // of closing early
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome != Outcome::kAccepted) continue;
    if (std::find(task_ids.begin(), task_ids.end(), contribution.task_id) == task_ids.end())
      continue;
    contribution.outcome = Outcome::kAwaited;
    contribution.upload_id.clear();
    contribution.bytes = 0;
    contribution.weight_milli = 0;
    contribution.weight_full_milli = 0;
    contribution.summary = {};
    contribution.norm = 0;
    contribution.values_sha256.clear();
  }
}

std::vector<FoldUpdate> Round::Accepted() const {
  std::vector<FoldUpdate> accepted;
  for (const ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome == Outcome::kAccepted) accepted.push_back(Fold(contribution));
  }
  return accepted;
}

void Round::Add(ContributionRecord contribution) {
  std::erase_if(record_.contributions, [&](const ContributionRecord& c) {
    return c.site == contribution.site && c.outcome == Outcome::kSkipped;
  });
  record_.contributions.push_back(std::move(contribution));
  sorted_ = false;
}

std::vector<ContributionRecord> Round::TakeAwaited(absl::string_view reason) {
  std::vector<ContributionRecord> taken;
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome != Outcome::kAwaited) continue;
    taken.push_back(contribution);
    contribution.outcome = Outcome::kMissing;
    contribution.reason = std::string(reason);
  }
  return taken;
}

std::string Round::LostRequired() const {
  std::vector<std::string> lost;
  for (const std::string& site : record_.required) {
    const ContributionRecord* c = Find(site);
    if (c != nullptr && (c->outcome == Outcome::kAwaited || c->outcome == Outcome::kAccepted)) {
      continue;
    }
    lost.push_back(
        absl::StrCat(site, " (", c == nullptr ? "not part of the round" : c->reason, ")"));
  }
  return absl::StrJoin(lost, ", ");
}

bool Round::RequiredDelivered() const {
  return std::all_of(record_.required.begin(), record_.required.end(), [&](const std::string& s) {
    const ContributionRecord* c = Find(s);
    return c != nullptr && c->outcome == Outcome::kAccepted;
  });
}

void Round::Close(RoundEffects& effects) {
  if (is_masked()) {
    MoveTo(RoundPhase::kUnmasking);
    effects.push_back(Unmask{});
    return;
  }
  MoveTo(RoundPhase::kAggregating);
  effects.push_back(Aggregate{});
}

void Round::Settle(absl::Time now, RoundEffects& effects) {
  const int64_t accepted = Count(Outcome::kAccepted), awaited = Count(Outcome::kAwaited);
  if (is_buffer()) {
    if (accepted >= record_.buffer) Close(effects);
    return;
  }
  if (const std::string lost = LostRequired(); !lost.empty()) {
    Fail(absl::StrCat("the study requires ", lost), now, effects);
  } else if (accepted + awaited < record_.quorum) {
    Fail(absl::StrCat(accepted, " updates where the quorum is ", record_.quorum,
                      ", and too few sites are left"),
         now, effects);
  } else if (awaited == 0) {
    Close(effects);
  }
}

void Round::Fail(absl::string_view reason, absl::Time now, RoundEffects& effects) {
  MoveTo(RoundPhase::kFailed);
  record_.reason = std::string(reason);
  record_.ended_us = absl::ToUnixMicros(now);
  for (ContributionRecord& contribution : record_.contributions) {
    if (contribution.outcome == Outcome::kAccepted) {
      contribution.reason = "dropped with the failed round";
    } else if (contribution.outcome == Outcome::kAwaited && !is_buffer()) {
      contribution.outcome = Outcome::kMissing;
      contribution.reason = "the round ended before";
    }
  }
  effects.push_back(RoundFailed{record_.reason});
}

}  // namespace consilium::coordinator
