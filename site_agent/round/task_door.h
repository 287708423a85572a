// The site's policy at work on the tasks that come in (site_agent/policy): what is let in, what is
// refused and with what words, and the ledger that a training is written to.
//
// A refusal is recorded in the site's own log as "task.refuse" with its text, and comes back as a
// status that declines the task with the same text: "site policy (CLAUSE): wants ...; got ...". One
// that holds for now only (hours, rounds of a day) is UNAVAILABLE with the time after which to ask
// again; the driver then asks again and declines nothing.
#ifndef CONSILIUM_SITE_AGENT_ROUND_TASK_DOOR_H_
#define CONSILIUM_SITE_AGENT_ROUND_TASK_DOOR_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/clock.h"
#include "site_agent/policy/budget_ledger.h"
#include "site_agent/policy/ledger_book.h"
#include "site_agent/policy/site_policy.h"
#include "site_agent/policy/task_terms.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {

// What is known of a task when it comes: of the plan, and that a TRAIN task trains. Nothing is sent
// of an evaluation, nor by a site that only evaluates. A CONSENT or REVEAL goes with the update
// that was let out before; it is never asked about.
TaskTerms TermsOf(const SiteTask& task, absl::Time now, absl::TimeZone zone);

// The same once the site knows what a round costs its patients, and nothing more will be known
// before the update is made. Of a masked task, those who take part are looked at when the roster
// comes.
absl::StatusOr<TaskTerms> CompleteTerms(const SiteTask& task, const BudgetPart& round,
                                        absl::Time now, absl::TimeZone zone);

// Whether the policy accepts this site's company in a masked sum: for MaskingSite::accept_peer.
absl::Status AcceptPeer(const SitePolicy& policy, const secagg::KeyAnnouncement& peer);

// Thread-compatible. One for each home. `clock` must outlive it.
class TaskDoor {
 public:
  // `record` may be empty. `zone`: the machine's.
  TaskDoor(std::string home, EventRecorder record, absl::TimeZone zone, const Clock& clock);

  // The policy under which the task may be worked on. Errors: a refusal, as above.
  absl::StatusOr<SitePolicy> Admit(const SiteTask& task);
  // A TRAIN task is about to begin: judges all of it and counts it towards the rounds of the day.
  // `round`: RoundPart (privacy_spending.h).
  absl::Status AdmitTraining(const SiteTask& task, const BudgetPart& round);
  // Where the training's spending is written. DATA_LOSS, to be declined: it cannot be used.
  absl::StatusOr<BudgetLedger*> Ledger();

  // Records `why` in the site's log and gives it the words for the coordinator: of a Refusal its
  // text, of anything else its message, which must be of our own making.
  absl::Status Refuse(const SiteTask& task, const absl::Status& why);
  // Into the site's own log; an error goes to the program's.
  void Note(const SiteEvent& event) const;

 private:
  const std::string home_;
  const EventRecorder record_;
  const absl::TimeZone zone_;
  const Clock& clock_;
  std::unique_ptr<BudgetLedger> ledger_;
  std::string last_waiting_;  // the refusal for now that was recorded last
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TASK_DOOR_H_
