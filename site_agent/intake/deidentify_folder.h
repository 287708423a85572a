// `consilium-agent deidentify IN OUT`: de-identification alone, without a home or a federation.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_
#define CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/intake/held_queue.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/study_index.h"

namespace consilium::agent {

// Every file of the input is in exactly one of files_written, held_back and files_skipped.
struct DeidentifyReport {
  int64_t files_seen = 0;
  int64_t files_skipped = 0;
  int64_t files_written = 0;
  bool truncated = false;
  std::map<RejectReason, int64_t> held_back;  // files that were not written, by reason
  std::map<std::string, int64_t> details;     // the same in words without values
  std::vector<HeldFile> held_files;           // those whose pixels a person has to look at
  int64_t files_queued = 0;                   // of these, in the queue
  std::string profile;
  std::string profile_sha256;
  privacy::DeidReport deid;
};
std::vector<std::vector<std::string>> DeidentifyTable(const DeidentifyReport& report);
std::string DeidentifyToJson(const DeidentifyReport& report);

struct DeidentifyOptions {
  // Decides the pseudonyms: LoadOrCreateSiteKey(home) for those of a store, or
  // privacy::RandomBytes(kSiteKeyBytes) for ones that nobody can repeat.
  privacy::SecretBytes site_key;
  privacy::DeidProfile profile = {};
  IndexOptions index = {};
  std::string hold = "";  // folder of the queue for held files; empty: they are only counted
  // Of the site whose key this is; those who may not be used are held back. None: no site, no marks.
  std::optional<PatientRegister> patients = {};
};

// Writes every file of `in` that can be de-identified to
// `out`/<patient pseudonym>/<series pseudonym>/<instance pseudonym>.dcm. What cannot is not copied.
// FAILED_PRECONDITION: `out` exists and is not an empty folder, or lies inside `in`, or the queue lies
// inside either.
absl::StatusOr<DeidentifyReport> DeidentifyFolder(const std::string& in, const std::string& out,
                                                  DeidentifyOptions options,
                                                  const IntakeProgress& progress,
                                                  const std::atomic<bool>* stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_DEIDENTIFY_FOLDER_H_
