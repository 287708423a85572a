// The key agreement of one masked TRAIN task, on a thread of its own while the site trains.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_KEY_AGREEMENT_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_KEY_AGREEMENT_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/thread_pool.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/masking/masking_terms.h"
#include "site_agent/round/masking/session_store.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::agent {

// Order: Start when the task is there, before the model is; AwaitReady when the update is; Take.
//
// A session that the task began before a restart is taken up again where it was; each step is
// durable before the coordinator hears of it. What the coordinator says is not believed: the terms
// are held against the plan, every peer's certificate must chain to the pinned root, and a roster
// that changes after this site has shared is refused. Whatever ends the agreement gives the task up
// through TaskMonitor::GiveUp, so that training stops too, and is what AwaitReady then returns:
//   FAILED_PRECONDITION: this site refuses, or is not part of the sum; the task is declined with
//   the
//     reason, and the session is gone. Refusals are in the site's own log.
//   ABORTED: the coordinator has moved on.
// A coordinator that is not reached is asked again.
//
// Thread-compatible. `site`, `remote` and `monitor` must outlive it. The destructor waits for a
// call that is under way.
class KeyAgreement {
 public:
  // Of the questions: each without news comes half as much later again as the one before.
  struct Pace {
    absl::Duration first = absl::Milliseconds(500);
    absl::Duration max = absl::Seconds(3);
  };

  // Errors: as above; and FAILED_PRECONDITION where the session has masked a payload that is not
  // there any more: it must not mask another.
  static absl::StatusOr<std::unique_ptr<KeyAgreement>> Start(const MaskingSite& site,
                                                             Federation& remote,
                                                             const SiteTask& task,
                                                             TaskMonitor& monitor, Pace pace);
  ~KeyAgreement();
  KeyAgreement(const KeyAgreement&) = delete;
  KeyAgreement& operator=(const KeyAgreement&) = delete;

  // Returns when the masks are agreed on, or says why the task is given up. Reports phase "agree";
  // every answer of the coordinator meanwhile counts as an advance, as there is nothing else to do.
  absl::Status AwaitReady();
  // The session, ready to mask. REQUIRES: AwaitReady returned OK; once.
  StoredSession Take();

  const CheckedTerms& terms() const { return terms_; }

 private:
  enum class Next { kNow, kLater, kNever };
  KeyAgreement(const MaskingSite& site, Federation& remote, SiteTask task, TaskMonitor& monitor,
               Pace pace, CheckedTerms terms, StoredSession stored);

  // The thread's; it alone has `stored_` until the end.
  void Run();
  absl::StatusOr<Next> Step();
  absl::StatusOr<Next> OnReply(const AgreementReply& reply);
  absl::StatusOr<Next> OnRoster(const AgreementReply& reply);
  absl::StatusOr<Next> OnBoxes(const AgreementReply& reply);
  absl::Status VerifyPeer(const secagg::KeyAnnouncement& peer, const AgreementReply& reply,
                          const std::string& ca_pem) const;
  absl::Status CallFailed(const absl::Status& failed) const;
  absl::Status Refuse(const absl::Status& why);
  bool Rest(absl::Duration pause);  // false: closing
  void End();

  const MaskingSite& site_;
  Federation& remote_;
  const SiteTask task_;
  TaskMonitor& monitor_;
  const Pace pace_;
  const CheckedTerms terms_;
  StoredSession stored_;
  std::optional<SiteShares> shares_;    // once the roster is known
  std::vector<SiteKeys> taken_roster_;  // that the shares are for
  std::atomic<bool> awaited_{false};

  absl::Mutex mutex_;
  absl::CondVar changed_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  ThreadPool thread_{1};  // last: it uses the members above
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_KEY_AGREEMENT_H_
