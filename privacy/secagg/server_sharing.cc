#include "privacy/secagg/server_sharing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

absl::Status ServerSharing::OnShares(absl::string_view site, const ShareMessage& message) {
  CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(roster_->members, site));
  if (shares_[index] != nullptr) {
    if (*shares_[index] == message) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat(site, " sent other shares before"));
  }
  CSL_RETURN_IF_ERROR(CheckShareMessage(message, index, shares_.size()));
  shares_[index] = std::make_shared<const ShareMessage>(message);
  return absl::OkStatus();
}

absl::StatusOr<ServerDelivering> ServerSharing::Close() const {
  SiteSet sharing(shares_.size());
  for (size_t i = 0; i < shares_.size(); ++i) {
    if (shares_[i] != nullptr) sharing.Add(i);
  }
  const absl::Status enough = CheckSurvivors(roster_->params, sharing, sharing, kSitesMin);
  if (!enough.ok()) return absl::FailedPreconditionError(enough.message());
  return ServerDelivering(roster_, shares_, std::move(sharing));
}

void ServerSharing::Fill(ServerRecord& record) const {
  record.phase = ServerPhase::kSharing;
  FillRoster(*roster_, shares_, record);
}

}  // namespace consilium::secagg
