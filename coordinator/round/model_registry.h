// Versions, aliases and releases as an administrator sees them.
//
// Thread-safe: moves of aliases and releases are made one after another; reads go to the store.
// `latest` follows the rounds and is not moved by hand.
// Errors: NOT_FOUND: no such thing. INVALID_ARGUMENT: not a version's or alias' name.
// ABORTED: compare-and-set found another version; the message says which.
#ifndef CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_
#define CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

inline constexpr const char* kLatestAlias = "latest";

struct ModelView {
  VersionRecord version;
  std::vector<std::string> aliases;
  std::vector<SiteEvaluationRecord> evaluation;  // those that reported
};

class ModelRegistry {
 public:
  // Both must outlive it.
  ModelRegistry(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  absl::StatusOr<std::vector<ModelView>> List(absl::string_view study) const;
  // STUDY/NUMBER or STUDY@ALIAS.
  absl::StatusOr<ModelView> Get(absl::string_view name) const;

  struct AliasMove {
    std::string study;
    std::string alias;
    std::string version;
    std::string expected_version;  // "": the alias must not exist; "*": whatever
  };
  absl::StatusOr<ModelView> SetAlias(const AliasMove& move, absl::string_view admin);

  absl::StatusOr<ReleaseRecord> CreateRelease(absl::string_view version, absl::string_view admin);
  absl::StatusOr<std::vector<ReleaseRecord>> Releases(absl::string_view name) const;
  struct Publication {
    std::string release;
    std::string target;
    std::string manifest_sha256;
  };
  absl::StatusOr<ReleaseRecord> RecordPublication(const Publication& publication,
                                                  absl::string_view admin);

 private:
  absl::StatusOr<VersionRecord> Resolve(absl::string_view name) const;
  absl::StatusOr<ModelView> View(VersionRecord version) const;

  Store& store_;
  const Clock& clock_;
  absl::Mutex turn_;  // orders read-compare-write; held across the small synced write
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_
