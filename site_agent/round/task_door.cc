#include "site_agent/round/task_door.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "privacy/dp/budget.h"
#include "privacy/log/log.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/wire/retry.h"
#include "site_agent/policy/admission.h"
#include "site_agent/policy/approvals.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/spent_epsilon.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {
namespace {

using Key = privacy::LogField::Key;

constexpr absl::string_view kApprovalClause = "approval";

}  // namespace

TaskTerms TermsOf(const SiteTask& task, absl::Time now, absl::TimeZone zone) {
  TaskTerms terms = PlanTerms(task.plan);
  terms.task_id = task.task_id;
  terms.study = task.study;
  terms.trains = task.kind == TaskKind::kTrain;
  terms.sends_update = task.role == SiteRole::kTrainer && task.kind != TaskKind::kEvaluate;
  terms.now = now;
  terms.zone = zone;
  return terms;
}

absl::StatusOr<TaskTerms> CompleteTerms(const SiteTask& task, const BudgetPart& round,
                                        absl::Time now, absl::TimeZone zone) {
  TaskTerms terms = TermsOf(task, now, zone);
  terms.complete = true;
  if (task.masking) terms.roster.emplace();  // AcceptPeer looks at each
  if (round.mechanism == Mechanism::kNone) return terms;
  terms.privacy.noise_multiplier = round.noise_multiplier;
  CSL_ASSIGN_OR_RETURN(
      terms.privacy.epsilon_per_round,
      dp::SpentEpsilon({{round.sampling_rate, round.noise_multiplier, round.steps}},
                       task.plan.privacy.delta));
  return terms;
}

absl::Status AcceptPeer(const SitePolicy& policy, const secagg::KeyAnnouncement& peer) {
  const std::string key = absl::StrCat("sha256:", HexEncode(peer.certificate_fingerprint));
  const auto& deny = policy.peers_deny;
  if (!MatchesAny(deny, peer.site) && std::find(deny.begin(), deny.end(), key) == deny.end()) {
    return absl::OkStatus();
  }
  return ToStatus(RefusalFrom({.clause = "peers.deny",
                               .verdict = Verdict::kRefused,
                               .wanted = "a round without it",
                               .got = std::string(peer.site),
                               .retry_at = std::nullopt}));
}

TaskDoor::TaskDoor(std::string home, EventRecorder record, absl::TimeZone zone, const Clock& clock)
    : home_(std::move(home)), record_(std::move(record)), zone_(zone), clock_(clock) {}

void TaskDoor::Note(const SiteEvent& event) const {
  const absl::Status recorded = record_ ? record_(event) : absl::OkStatus();
  if (recorded.ok()) return;
  privacy::Log(privacy::LogLevel::kError, "the site's own log could not be written",
               {{Key::kReason, recorded.message()}});
}

absl::Status TaskDoor::Refuse(const SiteTask& task, const absl::Status& why) {
  const std::optional<Refusal> refusal = RefusalIn(why);
  const std::string text = refusal ? refusal->text : std::string(why.message());
  const bool waits = refusal && refusal->retry_at;
  if (refusal && refusal->clause == kApprovalClause) {
    const absl::Status kept = KeepWaitingPlan(home_, task.plan_json);
    if (!kept.ok()) {
      privacy::Log(privacy::LogLevel::kWarning, "the plan that waits for an approval is not kept",
                   {{Key::kReason, kept.message()}});
    }
  }
  const std::string waiting = waits ? absl::StrCat(task.task_id, "\n", refusal->clause) : "";
  if (!waits || waiting != last_waiting_) {
    const std::string detail = refusal ? refusal->detail : "";
    Note({.action = "task.refuse",
          .outcome = "refused",
          .reason = detail.empty() ? text : absl::StrCat(text, " (", detail, ")"),
          .study = task.study,
          .round = task.round,
          .plan = privacy::Sha256Hex(task.plan_json),
          .request = task.task_id});
  }
  last_waiting_ = waiting;
  if (waits) return wire::WithRetryAfter(why, *refusal->retry_at - clock_.Now());
  return WithDeclineReason(why, text);
}

absl::StatusOr<SitePolicy> TaskDoor::Admit(const SiteTask& task) {
  absl::StatusOr<LoadedPolicy> policy = AdmitTask(home_, TermsOf(task, clock_.Now(), zone_));
  if (!policy.ok()) return Refuse(task, policy.status());
  return std::move(policy->policy);
}

absl::Status TaskDoor::AdmitTraining(const SiteTask& task, const BudgetPart& round) {
  const absl::Time now = clock_.Now();
  const absl::StatusOr<TaskTerms> terms = CompleteTerms(task, round, now, zone_);
  CSL_RETURN_IF_ERROR(terms.status());
  const absl::StatusOr<LoadedPolicy> policy = AdmitTask(home_, *terms);
  if (!policy.ok()) return Refuse(task, policy.status());
  return NoteTraining(home_, task.task_id, now, ZoneOf(policy->policy, zone_));
}

absl::StatusOr<BudgetLedger*> TaskDoor::Ledger() {
  if (ledger_ == nullptr) {
    CSL_ASSIGN_OR_RETURN(ledger_, BudgetLedger::Open(home_, SpentEpsilonOf, clock_));
  }
  return ledger_.get();
}

}  // namespace consilium::agent
