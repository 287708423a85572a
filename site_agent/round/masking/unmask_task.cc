#include "site_agent/round/masking/unmask_task.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using Phase = secagg::SiteSession::Phase;

// The session of the update that the task is about.
absl::StatusOr<StoredSession> SessionOf(const MaskingSite& site, const SiteTask& task) {
  CSL_CHECK(task.unmasking.has_value());
  absl::StatusOr<StoredSession> stored = site.sessions.Load(task.study, task.round);
  if (absl::IsNotFound(stored.status()) || absl::IsDataLoss(stored.status())) {
    return RefuseMasking(site, task, absl::NotFoundError("this site has no keys of that round"));
  }
  CSL_RETURN_IF_ERROR(stored.status());
  if (stored->train_task_id != task.unmasking->train_task_id || !stored->masked) {
    return RefuseMasking(site, task, absl::NotFoundError("no such update of this site was masked"));
  }
  if (!stored->survivors.empty() && stored->survivors != task.unmasking->survivors) {
    return RefuseMasking(
        site, task,
        absl::FailedPreconditionError("this site has agreed to other survivors of this round"));
  }
  return stored;
}

// Signs, after it is in the ledger; saved before anything may leave.
absl::StatusOr<secagg::Consent> Agree(const MaskingSite& site, const SiteTask& task,
                                      StoredSession& stored) {
  const std::string& survivors = task.unmasking->survivors;
  absl::StatusOr<secagg::Consent> consent =
      stored.session.OnSurvivors(survivors, site.key, site.consents);
  if (absl::IsInvalidArgument(consent.status()) || absl::IsFailedPrecondition(consent.status()) ||
      absl::IsPermissionDenied(consent.status())) {
    return RefuseMasking(site, task, consent.status());
  }
  CSL_RETURN_IF_ERROR(consent.status());
  stored.survivors = survivors;
  CSL_RETURN_IF_ERROR(site.sessions.Save(stored));
  return consent;
}

RevealResult ResultOf(const secagg::RevealMessage& message, const StoredSession& stored,
                      const secagg::SiteSet& survivors) {
  RevealResult result;
  for (size_t i = 0; i < message.shares.size(); ++i) {
    if (message.shares[i].empty()) continue;  // did not share
    result.shares.push_back(
        {stored.roster[i],
         survivors.Has(i) ? RevealedShare::Secret::kSelfSeed : RevealedShare::Secret::kMaskKey,
         message.shares[i]});
  }
  return result;
}

}  // namespace

absl::StatusOr<FinishedTask> RunConsent(const MaskingSite& site, const SiteTask& task) {
  CSL_ASSIGN_OR_RETURN(StoredSession stored, SessionOf(site, task));
  CSL_ASSIGN_OR_RETURN(secagg::Consent consent, Agree(site, task, stored));
  return FinishedTask{KeyOf(task), ConsentResult{std::move(consent)}};
}

absl::StatusOr<FinishedTask> RunReveal(const MaskingSite& site, const SiteTask& task) {
  CSL_ASSIGN_OR_RETURN(StoredSession stored, SessionOf(site, task));
  if (stored.session.phase() == Phase::kMasking) {
    CSL_RETURN_IF_ERROR(Agree(site, task, stored).status());
  }
  absl::StatusOr<secagg::RevealMessage> message =
      stored.session.OnConsents(task.unmasking->consents);
  if (!message.ok()) return RefuseMasking(site, task, message.status());
  CSL_RETURN_IF_ERROR(site.sessions.Save(stored));
  auto survivors = secagg::SiteSet::FromBytes(stored.survivors, stored.roster.size());
  if (!survivors.ok() || message->shares.size() != stored.roster.size()) {
    return absl::InternalError("a session's roster is not the one of its shares");
  }
  return FinishedTask{KeyOf(task), ResultOf(*message, stored, *survivors)};
}

}  // namespace consilium::agent
