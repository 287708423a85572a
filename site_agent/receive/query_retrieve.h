// The SCU's side: questions to an archive (C-FIND) and retrieval from it (C-MOVE, C-GET), Study
// Root.
//
// Each function makes one association, and reads a stranger's answers with DCMTK: call them in a
// process that may die (see apart.h). No message has an identity.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_QUERY_RETRIEVE_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_QUERY_RETRIEVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {

inline constexpr size_t kStudiesFoundMax = 100'000;

// One matching key of a query at the study level, with DICOM's own wild cards and ranges.
struct QueryKey {
  std::string keyword;  // "StudyDate"
  std::string value;    // "20240101-20241231"
};
// "KEYWORD=VALUE". INVALID_ARGUMENT: not of that form, or a keyword that PS3.6 does not have.
absl::StatusOr<QueryKey> ParseQueryKey(absl::string_view text);

// Who calls whom.
struct Caller {
  std::string our_title;
  DicomPeer peer;
  const DicomTlsFiles* tls = nullptr;  // null: plain
};

// What an archive did with a request for one study, as it says itself.
struct RetrieveCounts {
  int64_t completed = 0;
  int64_t failed = 0;
  int64_t there_before = 0;  // DICOMweb: of this study in the quarantine, so not asked for
  int64_t refused_here = 0;  // C-GET and DICOMweb: what the quarantine did not take
  std::string why_refused;   // the last of them
};

// UNAVAILABLE: no connection, or it broke: the same call may work later. PERMISSION_DENIED: the
// archive rejects us. FAILED_PRECONDITION: it refuses the request.
absl::Status EchoPeer(const Caller& caller);
// Study instance UIDs. RESOURCE_EXHAUSTED: more than kStudiesFoundMax.
absl::StatusOr<std::vector<std::string>> FindStudies(const Caller& caller,
                                                     const std::vector<QueryKey>& keys);
// Has the archive send the study to our own AE title, whose listener has to be there.
absl::StatusOr<RetrieveCounts> MoveStudy(const Caller& caller, const std::string& study_uid);
// Takes the study into the quarantine.
absl::StatusOr<RetrieveCounts> GetStudy(const Caller& caller, const std::string& study_uid,
                                        Quarantine& quarantine, int inbox);

// PS3.5 9.1: at most 64 digits and dots.
bool IsUid(absl::string_view text);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_QUERY_RETRIEVE_H_
