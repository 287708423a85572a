// Questions to a DICOMweb origin server (QIDO-RS) and retrieval from it (WADO-RS), PS3.18 10.4 and
// 10.6.
//
// Each function makes one connection, and reads a stranger's answers: call them in a process that
// may die (see apart.h). No message has an identity.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_WEB_RETRIEVE_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_WEB_RETRIEVE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "site_agent/receive/query_retrieve.h"

namespace consilium::agent {

// Errors as FindStudies and WebClient. Whether the server answers a search.
absl::Status CheckWeb(const Caller& caller);

// Study instance UIDs. RESOURCE_EXHAUSTED: more than kStudiesFoundMax.
absl::StatusOr<std::vector<std::string>> SearchStudies(const Caller& caller,
                                                       const std::vector<QueryKey>& keys);

// Takes into the quarantine what the server lists of the study and is not there yet: a series in
// one request where nothing of it is there, single instances otherwise. So a call after one that
// broke off goes on where that was. Counts are of this call; `failed` is what was listed and has
// not come.
absl::StatusOr<RetrieveCounts> FetchStudy(const Caller& caller, const std::string& study_uid,
                                          Quarantine& quarantine, int inbox);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_WEB_RETRIEVE_H_
