// Messages that wait for the audit repository: one file each, oldest first, durable before Append
// returns. What does not fit is refused: the oldest messages are the ones that stay.
//
// Several processes of a home may append (the agent and its `ingest`); one of them takes out.
// Thread-safe.
#ifndef CONSILIUM_PRIVACY_ATNA_ATNA_SPOOL_H_
#define CONSILIUM_PRIVACY_ATNA_ATNA_SPOOL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace consilium::privacy {

class AtnaSpool {
 public:
  static absl::StatusOr<std::unique_ptr<AtnaSpool>> Open(const std::string& folder,
                                                         size_t messages_max);

  // RESOURCE_EXHAUSTED: full, or no space on the disk; the message is lost and counted.
  absl::Status Append(absl::string_view frame, absl::Time now);
  // Of what was refused since the last TakeDropped; survives a restart.
  uint64_t dropped() const;
  absl::Status ClearDropped();

  // Names of the oldest messages, in order.
  absl::StatusOr<std::vector<std::string>> Oldest(size_t count_max) const;
  // DATA_LOSS: not readable, or longer than a message can be.
  absl::StatusOr<std::string> Read(const std::string& name) const;
  // Delivered, or past help.
  void Remove(const std::string& name);

 private:
  AtnaSpool(std::string folder, size_t messages_max)
      : folder_(std::move(folder)), messages_max_(messages_max) {}
  absl::StatusOr<std::vector<std::string>> List() const;
  void CountDropped() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string folder_;
  const size_t messages_max_;
  mutable absl::Mutex mutex_;  // orders this process' writers; held across their small writes
  int64_t last_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;  // other processes' messages come in with each List
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_ATNA_SPOOL_H_
