#include "privacy/secagg/server_collecting.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

// Whether two sites' keys may stand in one roster.
absl::Status CheckApart(const KeyAnnouncement& a, const KeyAnnouncement& b) {
  if (a.mask_key == b.mask_key || a.mask_key == b.box_key || a.box_key == b.mask_key ||
      a.box_key == b.box_key || a.identity_key == b.identity_key ||
      a.certificate_fingerprint == b.certificate_fingerprint) {
    return absl::InvalidArgumentError(
        absl::StrCat(a.site, " announced a key or certificate of ", b.site));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerCollecting> ServerCollecting::Create(Job job,
                                                          std::vector<std::string> invited) {
  CSL_RETURN_IF_ERROR(CheckJob(job));
  const size_t least = std::max<size_t>(kSitesMin, job.min_cohort);
  if (invited.size() < least || invited.size() > kSitesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(invited.size(), " sites are invited, not ", least, " to ", kSitesMax));
  }
  std::sort(invited.begin(), invited.end());
  if (std::adjacent_find(invited.begin(), invited.end()) != invited.end()) {
    return absl::InvalidArgumentError("a site is invited twice");
  }
  for (const std::string& site : invited) CSL_RETURN_IF_ERROR(CheckSiteName(site));
  return ServerCollecting(std::move(job), std::move(invited));
}

absl::Status ServerCollecting::OnKeys(const KeyAnnouncement& announcement, PeerVerifier verify) {
  if (!std::binary_search(invited_.begin(), invited_.end(), announcement.site)) {
    return absl::NotFoundError("keys of a site that was not invited");
  }
  if (const auto before = announced_.find(announcement.site); before != announced_.end()) {
    if (*before->second == announcement) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat(announcement.site, " announced other keys before"));
  }
  CSL_RETURN_IF_ERROR(CheckAnnouncement(job_, announcement));
  for (const auto& [site, other] : announced_) {
    CSL_RETURN_IF_ERROR(CheckApart(announcement, *other));
  }
  CSL_RETURN_IF_ERROR(
      Annotate(verify(announcement), absl::StrCat("certificate of ", announcement.site)));
  announced_.emplace(announcement.site, std::make_shared<const KeyAnnouncement>(announcement));
  return absl::OkStatus();
}

absl::StatusOr<ServerSharing> ServerCollecting::Close() const {
  const size_t least = std::max<size_t>(kSitesMin, job_.min_cohort);
  if (announced_.size() < least) {
    return absl::FailedPreconditionError(
        absl::StrCat(announced_.size(), " sites announced keys, and ", least, " are needed"));
  }
  auto roster = std::make_shared<ServerRoster>();
  roster->params = {.job = job_, .threshold = Threshold(announced_.size())};
  roster->invited = invited_;
  for (const auto& [site, announcement] : announced_) {
    roster->announcements.push_back(announcement);
    roster->members.push_back(MemberOf(*announcement));
  }
  CSL_RETURN_IF_ERROR(CheckParams(roster->params, roster->members));
  roster->session_id = SessionId(roster->params, roster->members);
  return ServerSharing(std::move(roster));
}

void ServerCollecting::Fill(ServerRecord& record) const {
  record.phase = ServerPhase::kCollecting;
  record.job = job_;
  record.invited = invited_;
  for (const auto& [site, announcement] : announced_) {
    record.members.push_back({.keys = announcement, .shares = {}, .consent = {}, .reveal = {}});
  }
}

}  // namespace consilium::secagg
