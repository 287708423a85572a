// The site's own log as the hospital's audit repository reads it: DICOM audit messages of what happens
// here (privacy/atna). Nothing is reported that is not in the log.
//
// Privacy: what the log holds and no more: counts, pseudonyms, digests. No original UID and no patient: the
// repository has those from the archive's own report of the same access, and a message of ours that
// joined them to a pseudonym would undo the de-identification for whoever reads the repository.
#ifndef CONSILIUM_SITE_AGENT_ROUND_SITE_ATNA_H_
#define CONSILIUM_SITE_AGENT_ROUND_SITE_ATNA_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/atna/atna_feed.h"
#include "proto/base/clock.h"

namespace consilium::agent {

// What an entry of the log is in the repository's terms; empty: of no interest there.
std::vector<privacy::AtnaEvent> AtnaEventsOf(absl::string_view entry_json);

struct SiteAtnaOptions {
  std::string home;
  std::string federation;
  std::string site;
  privacy::AtnaSettings settings;
  absl::Duration every = absl::Seconds(2);  // that the log is looked at
};
// Without a repository: nullptr. The log must be there (SiteLog::Open). Errors of AtnaFeed::Create.
absl::StatusOr<std::unique_ptr<privacy::AtnaFeed>> OpenSiteAtna(const SiteAtnaOptions& options,
                                                                const Clock& clock);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_SITE_ATNA_H_
