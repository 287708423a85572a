// The sessions of secure aggregation that a site has begun, on disk, so that a restart goes on with
// the keys it announced and never masks a second payload under them.
//
// HOME/secagg/STUDY@ROUND/session   0600, replaced atomically and durably
//
// Privacy: a session holds the round's secret keys. Removing one overwrites its file first; what
// the file system keeps of files that were replaced is for the disk's encryption.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_SESSION_STORE_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_SESSION_STORE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/secagg/site_session.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

// A session and what belongs to it.
struct StoredSession {
  std::string study;
  int64_t round = 0;
  std::string train_task_id;        // of the update that it masks
  std::string job_sha256;           // of secagg::Params::Encode() with threshold 0
  SiteKeys keys;                    // as announced
  std::vector<std::string> roster;  // names in their order; empty: not known yet
  // The payload was determined: from here on no other one may be masked. Set and saved before the
  // first masked byte exists.
  bool masked = false;
  std::string survivors;  // agreed to; empty: not yet
  secagg::SiteSession session;
};

// Thread-safe for different sessions.
class SessionStore {
 public:
  static constexpr absl::Duration kKeptMax = absl::Hours(24 * 31);  // longer than any task may take

  // Makes the folder; removes sessions that were saved longer than kKeptMax before `now`.
  static absl::StatusOr<SessionStore> Open(const std::string& home, absl::Time now);

  // NOT_FOUND: none. DATA_LOSS: not what Save wrote.
  absl::StatusOr<StoredSession> Load(const std::string& study, int64_t round) const;
  // Durable when it returns OK.
  absl::Status Save(const StoredSession& stored) const;
  void Remove(const std::string& study, int64_t round) const;
  // Those of the study's rounds before `round`.
  void RemoveBefore(const std::string& study, int64_t round) const;
  // The one of this TRAIN task. Whether there was one.
  bool RemoveOfTask(const std::string& train_task_id) const;

 private:
  explicit SessionStore(std::string folder) : folder_(std::move(folder)) {}
  std::string FolderOf(const std::string& study, int64_t round) const;

  std::string folder_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_SESSION_STORE_H_
