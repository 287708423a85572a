// Reports events to the hospital's audit repository (IHE ATNA ITI-20): spools each durably, and sends
// what is spooled over mutual TLS, in order, from a thread of its own.
//
// A repository that is down costs nothing but spool space: it is tried again with growing pauses.
// When the spool is full new events are dropped; the first message after that says how many.
//
// Delivery: syslog has no answer, so a message counts as delivered when the repository's machine has
// acknowledged its bytes and the stream is still open. A crash in between sends it again; a machine
// that loses what it acknowledged loses it. Order is kept.
//
// Order: Create, Record; the destructor tries for kAtnaFlush to send the rest. Thread-safe.
#ifndef CONSILIUM_PRIVACY_ATNA_ATNA_RECORDER_H_
#define CONSILIUM_PRIVACY_ATNA_ATNA_RECORDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "privacy/atna/atna_spool.h"
#include "privacy/atna/audit_message.h"
#include "privacy/atna/syslog_frame.h"
#include "privacy/crypto/tls_client.h"
#include "proto/base/clock.h"

namespace consilium::privacy {

inline constexpr size_t kAtnaSpoolMax = 50'000;
inline constexpr absl::Duration kAtnaFlush = absl::Seconds(2);

// Where the repository is, and who we are to it: paths of PEM files, read at each connection, so that
// a renewed certificate needs no restart.
struct AtnaTarget {
  std::string host;
  uint16_t port = 6514;
  std::string ca_path;
  std::string certificate_path;
  std::string key_path;
};

class AtnaRecorder {
 public:
  struct Options {
    std::string spool_folder;
    std::optional<AtnaTarget> target;  // none: spools only, for a process beside the sending one
    AtnaSource source;
    SyslogHeader header;
    size_t messages_max = kAtnaSpoolMax;
    absl::Duration retry_min = absl::Seconds(1);
    absl::Duration retry_max = absl::Seconds(60);
    std::function<void()> on_dropped = {};
  };
  // `clock` must outlive it. INVALID_ARGUMENT: a file of the target is missing or does not read.
  static absl::StatusOr<std::unique_ptr<AtnaRecorder>> Create(Options options, const Clock& clock);
  ~AtnaRecorder();

  // Durable when it returns. RESOURCE_EXHAUSTED: dropped, counted and logged; work goes on.
  absl::Status Record(const AtnaEvent& event);
  // Delivered so far, by this process.
  uint64_t delivered() const;

 private:
  AtnaRecorder(Options options, const Clock& clock);
  absl::Status Spool(const AtnaEvent& event);
  void Send();
  // One batch, over `connected` or a new stream. NOT_FOUND: nothing is spooled.
  absl::Status SendBatch(std::unique_ptr<TlsClient>& connected);
  bool StoppedWithin(absl::Duration duration);
  void AwaitWork();

  const Options options_;
  const Clock& clock_;
  std::unique_ptr<AtnaSpool> spool_;
  absl::Mutex record_mutex_;  // keeps a message and what is said before it together
  mutable absl::Mutex mutex_;
  absl::CondVar wake_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t delivered_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread sender_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_ATNA_RECORDER_H_
