#include "privacy/secagg/server_delivering.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

absl::Status ServerDelivering::CheckDelivery(absl::string_view site) const {
  CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(roster_->members, site));
  if (!sharing_.Has(index)) return absl::NotFoundError(absl::StrCat(site, " did not share"));
  return absl::OkStatus();
}

absl::StatusOr<ServerConsenting> ServerDelivering::FixSurvivors(
    absl::Span<const std::string> delivered) const {
  SiteSet survivors(roster_->members.size());
  for (const std::string& site : delivered) {
    CSL_RETURN_IF_ERROR(CheckDelivery(site));
    CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(roster_->members, site));
    survivors.Add(index);
  }
  const absl::Status enough = CheckSurvivors(roster_->params, sharing_, survivors, kSitesMin);
  if (!enough.ok()) return absl::FailedPreconditionError(enough.message());
  return ServerConsenting(roster_, shares_, sharing_, std::move(survivors));
}

void ServerDelivering::Fill(ServerRecord& record) const {
  record.phase = ServerPhase::kDelivering;
  FillRoster(*roster_, shares_, record);
  record.sharing = sharing_.bytes();
}

}  // namespace consilium::secagg
