// The memory of a site's consents: for one (job, round, model digest) it agrees to one survivor
// set, ever, or a server could subtract two sums and be left with one site.
#ifndef CONSILIUM_PRIVACY_SECAGG_CONSENT_LEDGER_H_
#define CONSILIUM_PRIVACY_SECAGG_CONSENT_LEDGER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/file.h"

namespace consilium::secagg {

// Thread-safe.
class ConsentLedger {
 public:
  virtual ~ConsentLedger() = default;
  // Returns once it is durable that the site agreed to `survivors` in this session; OK again for
  // the same. FAILED_PRECONDITION: it agreed to other survivors, or in another session, for the
  // same job, round and model digest. Other errors: nothing may be signed.
  virtual absl::Status Record(const Job& job, absl::string_view session_id,
                              absl::string_view survivors) = 0;
};

// The ledger of an agent: a file of 68-byte records (SHA-256 of job, round and model digest;
// SHA-256 of session and survivors; CRC-32C), appended and synced. A record that a crash cut short
// was never answered with OK and is dropped.
class FileConsentLedger : public ConsentLedger {
 public:
  static constexpr uint64_t kFileBytesMax = 64 * 1024 * 1024;  // a million rounds

  // `folder` is made if absent; one process at a time. DATA_LOSS: a damaged record before the last.
  static absl::StatusOr<std::unique_ptr<FileConsentLedger>> Open(const std::string& folder);

  // RESOURCE_EXHAUSTED: the file has reached kFileBytesMax.
  absl::Status Record(const Job& job, absl::string_view session_id,
                      absl::string_view survivors) override;

 private:
  FileConsentLedger(File file, uint64_t bytes, absl::flat_hash_map<std::string, std::string> agreed)
      : file_(std::move(file)), bytes_(bytes), agreed_(std::move(agreed)) {}

  absl::Mutex mutex_;  // held over the sync: consents are few, and must not overtake their record
  File file_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, std::string> agreed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_CONSENT_LEDGER_H_
