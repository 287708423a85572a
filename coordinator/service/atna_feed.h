// Takes new entries of the audit log to the hospital's audit repository, as DICOM audit messages.
//
// It reads the log, so that what is reported is what is recorded, whoever recorded it; the place it has
// reached is kept in HOME/atna/cursor. The first start reports from its own start on, not the past.
// After a crash an entry can be reported twice. What the spool has no room for is dropped, counted, and the
// gap is reported before what comes after it.
//
// Order: Create, Start; Finish after the last entry. Thread-safe.
#ifndef CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_
#define CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "coordinator/home.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/store/store.h"
#include "privacy/atna/atna_recorder.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

// What an entry is in the repository's terms; nothing: it is of no interest there.
std::optional<privacy::AtnaEvent> AtnaEventOf(const AuditFacts& facts);

class AtnaFeed {
 public:
  // Without a repository in `options`: nullptr. INVALID_ARGUMENT: a file that they name.
  static absl::StatusOr<std::unique_ptr<AtnaFeed>> Create(const std::string& home,
                                                          const CoordinatorOptions& options,
                                                          const Store& store, Metrics& metrics,
                                                          const Clock& clock);
  ~AtnaFeed();

  // Reports what is there now, and what comes, until Finish.
  void Start();
  // Reports the rest and stops. Idempotent.
  void Finish();

 private:
  AtnaFeed(std::string cursor_path, const Store& store) : path_(std::move(cursor_path)), store_(store) {}
  void ReportNew();

  const std::string path_;
  const Store& store_;
  uint64_t next_ = 0;  // used by one thread at a time
  std::unique_ptr<privacy::AtnaRecorder> recorder_;
  absl::Notification finished_;
  std::unique_ptr<ThreadPool> thread_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_
