// A folder that somebody else fills, taken in each time it has come to rest.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_WATCH_FOLDER_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_WATCH_FOLDER_H_

#include <atomic>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "site_agent/receive/intake_feed.h"

namespace consilium::agent {

// The files stay where they are: the folder is its owner's. What is in the store already is not
// taken again, so a restart does no harm. Thread-compatible.
class WatchFolder {
 public:
  explicit WatchFolder(std::string path) : path_(std::move(path)) {}

  // Hands the whole folder to intake if something has come since it last was, and nothing since
  // `before`. The outcome's `patient` is "watch". NOT_FOUND: no such folder; others as TakeSettled.
  absl::Status TakeSettled(const std::string& home, absl::Time before, const OutcomeSink& sink,
                           const std::atomic<bool>* stop);

 private:
  std::string path_;
  absl::Time taken_ = absl::InfinitePast();  // the newest change that intake has seen
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_WATCH_FOLDER_H_
