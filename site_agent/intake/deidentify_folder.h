// `consilium-agent deidentify IN OUT`: de-identification alone, without a home or a federation.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_
#define CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/study_index.h"

namespace consilium::agent {

struct DeidentifyReport {
  int64_t files_seen = 0;
  int64_t files_skipped = 0;
  int64_t files_written = 0;
  bool truncated = false;
  std::map<RejectReason, int64_t> held_back;  // files that were not written, by reason
  privacy::DeidReport deid;
};
std::vector<std::vector<std::string>> DeidentifyTable(const DeidentifyReport& report);
std::string DeidentifyToJson(const DeidentifyReport& report);

// Writes every file of `in` that can be de-identified to
// `out`/<patient pseudonym>/<series pseudonym>/<instance pseudonym>.dcm. What cannot is not copied.
// FAILED_PRECONDITION: `out` exists and is not an empty folder, or lies inside `in`.
// The key decides the pseudonyms: LoadOrCreateSiteKey(home) for those of a store, or
// privacy::RandomBytes(kSiteKeyBytes) for ones that nobody can repeat.
absl::StatusOr<DeidentifyReport> DeidentifyFolder(const std::string& in, const std::string& out,
                                                  privacy::SecretBytes site_key,
                                                  const IndexOptions& options,
                                                  const IntakeProgress& progress,
                                                  const std::atomic<bool>* stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_
