#include "site_agent/round/site_round.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "proto/base/check.h"

namespace consilium::agent {
namespace {

constexpr absl::string_view kDeclinePayload = "consilium/decline-reason";

}  // namespace

CallFailure ClassifyFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
      return CallFailure::kGone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:
      return CallFailure::kWrong;
    default:
      return CallFailure::kRetry;
  }
}

WorkFailure ClassifyWork(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAborted:
      return WorkFailure::kAbandoned;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return WorkFailure::kHopeless;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return WorkFailure::kElsewhere;
    default:
      return WorkFailure::kTrouble;
  }
}

absl::Status WithDeclineReason(absl::Status status, absl::string_view reason) {
  CSL_CHECK(!status.ok());
  status.SetPayload(kDeclinePayload, absl::Cord(reason.substr(0, kDeclineTextBytesMax)));
  return status;
}

std::string DeclineReason(const absl::Status& status) {
  if (const auto reason = status.GetPayload(kDeclinePayload)) return std::string(*reason);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return "plan, model and data do not fit this site";
    case absl::StatusCode::kFailedPrecondition:
      return "no case of this site fits the study";
    case absl::StatusCode::kUnimplemented:
      return "not supported by this site's build";
    case absl::StatusCode::kResourceExhausted:
      return "no space or memory left at the site";
    case absl::StatusCode::kDataLoss:
      return "stored data are damaged at the site";
    default:
      return absl::StrCat("the work failed at the site: ", absl::StatusCodeToString(status.code()));
  }
}

SiteRound::SiteRound(std::vector<TaskKey> spooled) {
  for (TaskKey& key : spooled) spooled_.push_back({std::move(key)});
}

void SiteRound::MoveTo(Phase from, Phase to) {
  CSL_CHECK(phase_ == from);
  phase_ = to;
}

std::vector<std::string> SiteRound::SpooledTaskIds() const {
  std::vector<std::string> ids;
  for (const Spooled& item : spooled_) ids.push_back(item.key.task_id);
  return ids;
}

bool SiteRound::IsSpooled(const std::string& task_id) const {
  return std::any_of(spooled_.begin(), spooled_.end(),
                     [&](const Spooled& item) { return item.key.task_id == task_id; });
}

void SiteRound::Remove(const std::string& task_id, DiscardReason reason,
                       std::vector<Effect>& effects) {
  std::erase_if(spooled_, [&](const Spooled& item) { return item.key.task_id == task_id; });
  effects.push_back(Discard{task_id, reason});
}

// Those that were delivered go first. A result without an update is small and soon delivered: it
// never costs an update its place.
void SiteRound::DiscardBeyondMax(std::vector<Effect>& effects) {
  for (const bool updates : {true, false}) {
    const auto counts = [&](const Spooled& item) { return HasUpdate(item.key.kind) == updates; };
    while (std::count_if(spooled_.begin(), spooled_.end(), counts) >
           static_cast<int64_t>(kSpooledMax)) {
      auto oldest = std::find_if(spooled_.begin(), spooled_.end(), [&](const Spooled& item) {
        return counts(item) && item.held;
      });
      if (oldest == spooled_.end()) oldest = std::find_if(spooled_.begin(), spooled_.end(), counts);
      Remove(std::string(oldest->key.task_id), DiscardReason::kTooMany, effects);
    }
  }
}

// A task of a later round tells that the coordinator no longer waits for results of those before
// it.
void SiteRound::DiscardSuperseded(const TaskKey& task, std::vector<Effect>& effects) {
  std::vector<std::string> old;
  for (const Spooled& item : spooled_) {
    // An evaluation says nothing of an update: an asynchronous study takes that up again after it.
    const bool earlier = item.key.study == task.study && item.key.round < task.round &&
                         (task.kind != TaskKind::kEvaluate || item.key.kind == task.kind);
    if (earlier && !item.held && item.key.task_id != task.task_id) old.push_back(item.key.task_id);
  }
  for (const std::string& id : old) Remove(id, DiscardReason::kSuperseded, effects);
}

std::vector<Effect> SiteRound::AskAgain() {
  phase_ = Phase::kAsking;
  return {AskForTask{}};
}

std::vector<Effect> SiteRound::WaitAfterFailure(Phase from, int refusals) {
  MoveTo(from, Phase::kWaiting);
  ++failures_;
  return {Wait{failures_, refusals}};
}

std::vector<Effect> SiteRound::Start() {
  MoveTo(Phase::kIdle, Phase::kAsking);
  std::vector<Effect> effects;
  DiscardBeyondMax(effects);
  effects.push_back(AskForTask{});
  return effects;
}

std::vector<Effect> SiteRound::OnTask(const TaskKey& task) {
  CSL_CHECK(phase_ == Phase::kAsking);
  std::vector<Effect> effects;
  DiscardSuperseded(task, effects);
  if (current_.task_id != task.task_id) work_failures_ = 0;
  current_ = task;
  if (IsSpooled(task.task_id)) {
    phase_ = Phase::kDelivering;
    effects.push_back(Deliver{task.task_id});
  } else {
    phase_ = Phase::kWorking;
    effects.push_back(Work{});
  }
  return effects;
}

std::vector<Effect> SiteRound::OnNoTask() {
  MoveTo(Phase::kAsking, Phase::kAsking);
  failures_ = 0;
  refusals_ = 0;
  return {AskForTask{}};
}

std::vector<Effect> SiteRound::OnAskFailed() { return WaitAfterFailure(Phase::kAsking); }

std::vector<Effect> SiteRound::OnWorkDone() {
  MoveTo(Phase::kWorking, Phase::kDelivering);
  std::vector<Effect> effects;
  spooled_.push_back({current_});
  DiscardBeyondMax(effects);
  effects.push_back(Deliver{current_.task_id});
  return effects;
}

std::vector<Effect> SiteRound::OnWorkFailed(WorkFailure failure) {
  CSL_CHECK(phase_ == Phase::kWorking);
  if (failure == WorkFailure::kAbandoned) {
    phase_ = Phase::kWaiting;
    return {Wait{1, 0}};  // not this site's failure: the next question comes soon
  }
  const bool enough = failure == WorkFailure::kTrouble && ++work_failures_ >= kWorkTriesMax;
  if (!enough && failure != WorkFailure::kHopeless) return WaitAfterFailure(Phase::kWorking);
  phase_ = Phase::kDeclining;
  return {Decline{current_.task_id}};
}

std::vector<Effect> SiteRound::OnDeclined() {
  CSL_CHECK(phase_ == Phase::kDeclining);
  failures_ = 0;
  work_failures_ = 0;
  return AskAgain();
}

std::vector<Effect> SiteRound::OnDeclineFailed(CallFailure failure) {
  CSL_CHECK(phase_ == Phase::kDeclining);
  if (failure == CallFailure::kGone) return OnDeclined();
  if (failure == CallFailure::kWrong) ++refusals_;
  return WaitAfterFailure(Phase::kDeclining, failure == CallFailure::kWrong ? refusals_ : 0);
}

std::vector<Effect> SiteRound::OnEnded(const std::vector<std::string>& task_ids) {
  CSL_CHECK(phase_ == Phase::kAsking);
  std::vector<Effect> effects;
  for (const std::string& task_id : task_ids) {
    if (IsSpooled(task_id)) Remove(task_id, DiscardReason::kEnded, effects);
  }
  return effects;
}

std::vector<Effect> SiteRound::OnDelivered(Delivery delivery) {
  MoveTo(Phase::kDelivering, Phase::kIdle);
  failures_ = 0;
  refusals_ = 0;
  std::vector<Effect> effects;
  if (delivery == Delivery::kHeld) {
    for (Spooled& item : spooled_) item.held |= item.key.task_id == current_.task_id;
  } else {
    Remove(current_.task_id, DiscardReason::kDelivered, effects);
  }
  for (Effect& effect : AskAgain()) effects.push_back(std::move(effect));
  return effects;
}

std::vector<Effect> SiteRound::OnDeliveryFailed(CallFailure failure) {
  if (failure == CallFailure::kWrong) ++refusals_;
  std::vector<Effect> effects =
      WaitAfterFailure(Phase::kDelivering, failure == CallFailure::kWrong ? refusals_ : 0);
  if (failure == CallFailure::kRetry) return effects;
  const auto item = std::find_if(spooled_.begin(), spooled_.end(), [&](const Spooled& s) {
    return s.key.task_id == current_.task_id;
  });
  CSL_CHECK(item != spooled_.end());
  // A study that is paused or a coordinator that is starting may say "gone" of a result that it
  // takes later: the training behind it is worth a few more questions.
  if (failure == CallFailure::kWrong || ++item->gone >= kGoneMax) {
    std::vector<Effect> first;
    Remove(current_.task_id, DiscardReason::kRefused, first);
    effects.insert(effects.begin(), first.begin(), first.end());
  }
  return effects;
}

std::vector<Effect> SiteRound::OnWaited() {
  CSL_CHECK(phase_ == Phase::kWaiting);
  return AskAgain();
}

}  // namespace consilium::agent
