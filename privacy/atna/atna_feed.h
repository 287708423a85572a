// Takes new entries of a log to the hospital's audit repository, as DICOM audit messages.
//
// It reads the log, so that what is reported is what is recorded, whoever recorded it; the place it has
// reached is kept in FOLDER/cursor, the messages wait in FOLDER/spool. The first start reports from its own
// start on, not the past. After a crash an entry can be reported twice. What the spool has no room for is
// dropped, counted, and the gap is reported before what comes after it.
//
// Order: Create, Start; Finish after the last entry. Thread-safe.
#ifndef CONSILIUM_PRIVACY_ATNA_ATNA_FEED_H_
#define CONSILIUM_PRIVACY_ATNA_ATNA_FEED_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "privacy/atna/atna_recorder.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"

namespace consilium::privacy {

// Where a repository is, as a configuration says it.
struct AtnaSettings {
  std::string repository;   // host:port; empty: none
  std::string ca;           // PEM files, in the home unless their path is absolute
  std::string certificate;
  std::string key;
};

class AtnaFeed {
 public:
  // The log that is reported. Called from one thread at a time.
  struct Log {
    std::function<absl::StatusOr<uint64_t>()> size;  // entries
    struct Piece {
      std::vector<AtnaEvent> events;  // of the entries that are of interest there
      uint64_t next = 0;              // the entry behind the last one looked at; `from`: there is none
    };
    std::function<absl::StatusOr<Piece>(uint64_t from)> read;
  };
  struct Options {
    std::string home;  // HOME/atna is the folder
    AtnaSettings settings;
    AtnaSource source;
    std::string program;
    absl::Duration every = absl::Milliseconds(500);
    std::function<void()> on_dropped = {};
  };
  // Without a repository in the settings: nullptr. INVALID_ARGUMENT: an address or a file that they name.
  // `clock` must outlive it, and so must what `log` refers to.
  static absl::StatusOr<std::unique_ptr<AtnaFeed>> Create(Options options, Log log,
                                                          const Clock& clock);
  ~AtnaFeed();

  // Reports what is there now, and what comes, until Finish.
  void Start();
  // Reports the rest and stops. Idempotent.
  void Finish();

 private:
  AtnaFeed(std::string cursor_path, absl::Duration every, Log log)
      : path_(std::move(cursor_path)), every_(every), log_(std::move(log)) {}
  void ReportNew();

  const std::string path_;
  const absl::Duration every_;
  const Log log_;
  uint64_t next_ = 0;  // used by one thread at a time
  std::unique_ptr<AtnaRecorder> recorder_;
  absl::Notification finished_;
  std::unique_ptr<ThreadPool> thread_;
};

// What waits in HOME/atna, and what was dropped since that was last reported. Looks only.
struct AtnaBacklog {
  uint64_t waiting = 0;
  uint64_t dropped = 0;
};
absl::StatusOr<AtnaBacklog> ReadAtnaBacklog(const std::string& home);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_ATNA_FEED_H_
