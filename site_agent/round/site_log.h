// The site's own log: what happened inside the hospital, signed and append-only, in HOME/log. It
// has the form of the coordinator's audit log (coordinator/audit/FORMAT.md) and never leaves the site
// unless its people export it.
//
// Privacy: names, digests, counts and reasons of our own making; nothing of a patient, no path.
// Thread-safe; the service and a command may write at the same time.
#ifndef CONSILIUM_SITE_AGENT_ROUND_SITE_LOG_H_
#define CONSILIUM_SITE_AGENT_ROUND_SITE_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/transparency/file_log.h"
#include "proto/base/clock.h"

namespace consilium::agent {

// One entry. Empty fields are left out. (With initialisers, so that g++ lets a caller name a few.)
struct SiteEvent {
  std::string action = {};          // "task.take"
  std::string outcome = "ok";  // ok | refused | failed
  std::string reason = {};
  std::string study = {};
  std::optional<int64_t> round = {};
  std::string version = {};
  std::string digest = {};
  std::string plan = {};
  std::string model = {};
  std::string after = {};
  std::string request = {};  // the task's id
  std::optional<int64_t> count = {};
};

// Takes an event; whoever is given one need not know the log.
using EventRecorder = std::function<absl::Status(const SiteEvent&)>;

class SiteLog {
 public:
  struct Options {
    std::string home = {};
    std::string federation = {};  // empty: not enrolled yet
    std::string site = {};
    std::string software_version = {};
  };
  // Makes the log at its first use. Its name stays what it was then. Errors of FileLog::Open; what
  // an interrupted append left is cut, and that is recorded.
  static absl::StatusOr<std::unique_ptr<SiteLog>> Open(const Options& options, const Clock& clock);

  // Durable when it returns OK.
  absl::Status Record(const SiteEvent& event);
  // For what has happened already, and whose caller cannot do anything about a full disk: an error
  // goes to the program's log.
  void RecordOrWarn(const SiteEvent& event);

 private:
  SiteLog(std::unique_ptr<privacy::FileLog> log, Options options, const Clock& clock);
  const std::unique_ptr<privacy::FileLog> log_;
  const Options options_;
  const Clock& clock_;
  const std::string boot_;  // ties entries of one run together
};

std::string SiteLogFolder(const std::string& home);

// What `consilium-agent audit` does. NOT_FOUND: no log yet. DATA_LOSS: as FileLog.
struct SiteLogSummary {
  uint64_t entries = 0;
  std::string origin;
  std::string vkey;
  std::string root_hex;
};
// Reads all of it and checks every hash, the signature, and that each entry names its own index.
absl::StatusOr<SiteLogSummary> VerifySiteLog(const std::string& home);
// The newest `count_max` entries, oldest first, as their stored bytes.
absl::StatusOr<std::vector<std::string>> LastSiteEvents(const std::string& home,
                                                        uint64_t count_max);
// The whole log as a file that proves itself, and beside it (".policy") the policy to verify it with.
absl::Status ExportSiteLog(const std::string& home, const std::string& path);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_SITE_LOG_H_
