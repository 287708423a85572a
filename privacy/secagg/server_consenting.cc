#include "privacy/secagg/server_consenting.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

ServerConsenting::ServerConsenting(std::shared_ptr<const ServerRoster> roster, SharesBySite shares,
                                   SiteSet sharing, SiteSet survivors)
    : roster_(std::move(roster)),
      shares_(std::move(shares)),
      sharing_(std::move(sharing)),
      survivors_(std::move(survivors)),
      consents_(roster_->members.size()) {}

absl::Status ServerConsenting::OnConsent(const Consent& consent) {
  return consents_.Add(*roster_, survivors_, consent);
}

absl::StatusOr<ServerRevealing> ServerConsenting::Close() const {
  if (!HasConsents()) {
    return absl::FailedPreconditionError(absl::StrCat(consents_.Count(), " consents, and ",
                                                      roster_->params.threshold, " are needed"));
  }
  return ServerRevealing(roster_, shares_, sharing_, survivors_, consents_);
}

void ServerConsenting::Fill(ServerRecord& record) const {
  record.phase = ServerPhase::kConsenting;
  FillRoster(*roster_, shares_, record);
  record.sharing = sharing_.bytes();
  record.survivors = survivors_.bytes();
  for (size_t i = 0; i < record.members.size(); ++i) {
    record.members[i].consent = consents_.by_site[i];
  }
}

}  // namespace consilium::secagg
