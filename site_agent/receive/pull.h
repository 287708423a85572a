// Fetches studies from an archive into the site: which ones, when, how fast, and again after a
// fault.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_PULL_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_PULL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/clock.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/intake_feed.h"
#include "site_agent/receive/query_retrieve.h"

namespace consilium::agent {

// (With initialisers, so that g++ lets a caller name a few.)
struct PullRequest {
  std::string peer = {};
  std::vector<std::string> studies = {};  // study instance UIDs
  std::vector<QueryKey> query = {};       // empty: none, only `studies`
  bool again = false;                     // also what an earlier pull has fetched
  bool count_only = false;
};

struct PullFault {
  std::string study;  // pseudonym
  std::string why;
};

struct PullReport {
  int64_t found = 0;
  int64_t fetched_before = 0;
  int64_t fetched = 0;
  int64_t objects = 0;
  std::vector<PullFault> faults;         // studies that were given up
  std::vector<PatientOutcome> outcomes;  // of intake
};
// Rows for FormatTable, and JSON.
std::vector<std::vector<std::string>> PullTable(const PullReport& report);
std::string PullToJson(const PullReport& report);

// What the pull needs from outside. Borrowed.
struct PullEnvironment {
  const Clock& clock;
  const std::atomic<bool>& stop;
  std::function<bool(absl::Duration)> sleep;  // false at once when a stop is requested
  OutcomeSink record;
  std::function<void(int64_t done, int64_t total)> progress;
};

// Whether a call of the peer needs our TLS files.
bool NeedsTls(const DicomPeer& peer);

// Studies one after the other, each in one association or HTTP connection. A study that comes whole
// is remembered by its pseudonym (HOME/quarantine/fetched) and not asked for again; one that does
// not is asked for `attempts` times with growing pauses, then dropped whole: half a series must not
// become a case. One that a stop or a crash has cut is kept aside for a day, and by DICOMweb the
// rest alone is fetched. C-MOVE goes to the listener of `listen`, where one runs on this home, and
// to one of its own otherwise; the other ways need the home's quarantine for themselves. NOT_FOUND:
// no such peer, or nothing to fetch. INVALID_ARGUMENT: what is no UID, or a peer without a port.
// PERMISSION_DENIED, UNAVAILABLE: the query failed. CANCELLED.
absl::StatusOr<PullReport> Pull(const std::string& home, const DicomConfig& config,
                                const PullRequest& request, const PullEnvironment& environment);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_PULL_H_
