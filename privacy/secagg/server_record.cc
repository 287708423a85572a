#include "privacy/secagg/server_record.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

absl::Status ConsentBook::Add(const ServerRoster& roster, const SiteSet& survivors,
                              const Consent& consent) {
  CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(roster.members, consent.site));
  if (by_site[index] != nullptr) {
    if (*by_site[index] == consent) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat(consent.site, " consented otherwise before"));
  }
  CSL_RETURN_IF_ERROR(CheckConsent(roster.session_id, roster.members, survivors, consent));
  by_site[index] = std::make_shared<const Consent>(consent);
  return absl::OkStatus();
}

size_t ConsentBook::Count() const {
  return by_site.size() - std::count(by_site.begin(), by_site.end(), nullptr);
}

std::vector<Consent> ConsentBook::All() const {
  std::vector<Consent> consents;
  for (const auto& consent : by_site) {
    if (consent != nullptr) consents.push_back(*consent);
  }
  return consents;
}

void FillRoster(const ServerRoster& roster, const SharesBySite& shares, ServerRecord& record) {
  record.job = roster.params.job;
  record.invited = roster.invited;
  record.threshold = roster.params.threshold;
  for (size_t i = 0; i < roster.members.size(); ++i) {
    record.members.push_back(
        {.keys = roster.announcements[i], .shares = shares[i], .consent = {}, .reveal = {}});
  }
}

}  // namespace consilium::secagg
