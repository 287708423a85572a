// Versions, aliases and releases as an administrator sees them.
//
// Thread-safe: moves of aliases and releases are made one after another; reads go to the store.
// `latest` follows the rounds, `previous` follows `production`; neither is moved by hand.
//
// Retention: the weights of the newest `retention_versions` of a study are kept, and of whatever an
// alias, a release, the base of an open round, an evaluation under way or a reader pins. Records and
// audit entries stay for ever. What goes is in the audit log before it goes.
// Errors: NOT_FOUND: no such thing. INVALID_ARGUMENT: not a version's or alias' name.
// ABORTED: compare-and-set found another version; the message says which.
#ifndef CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_
#define CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_

#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/store/model_store.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

inline constexpr const char* kLatestAlias = "latest";
inline constexpr const char* kProductionAlias = "production";
inline constexpr const char* kPreviousAlias = "previous";
// A chunk that no manifest names is left by a crash, or of a writer that has not committed yet.
inline constexpr absl::Duration kChunkLease = absl::Hours(1);

enum class GarbageMode { kDryRun, kRemove };
struct Garbage {
  std::vector<std::string> versions;  // whose weights go
  uint64_t chunks = 0;
  uint64_t bytes = 0;
};

struct ModelView {
  VersionRecord version;
  std::vector<std::string> aliases;
  std::vector<SiteEvaluationRecord> evaluation;  // those that reported
};

class ModelRegistry {
 public:
  // All must outlive it. `retention_versions` 0: every version's weights are kept.
  ModelRegistry(Store& store, ModelStore& models, const Clock& clock, int64_t retention_versions)
      : store_(store), models_(models), clock_(clock), retention_versions_(retention_versions) {}

  absl::StatusOr<std::vector<ModelView>> List(absl::string_view study) const;
  // STUDY/NUMBER or STUDY@ALIAS.
  absl::StatusOr<ModelView> Get(absl::string_view name) const;

  struct AliasMove {
    std::string study;
    std::string alias;
    std::string version;
    std::string expected_version;  // "": the alias must not exist; "*": whatever
  };
  // A move of `production` makes the version that it leaves `previous`, in the same batch.
  absl::StatusOr<ModelView> SetAlias(const AliasMove& move, absl::string_view admin);
  // `production` and `previous` change places. FAILED_PRECONDITION: one of them is not there.
  absl::StatusOr<ModelView> Rollback(absl::string_view study, absl::string_view reason,
                                     absl::string_view admin);

  // model_garbage.cc. Removes the weights of versions past the retention, and chunks that a crash
  // left more than kChunkLease ago. `by`: an administrator, or empty for the coordinator itself.
  absl::StatusOr<Garbage> CollectGarbage(GarbageMode mode, absl::string_view by);
  // Held by a collection; whoever else holds it reads weights that will not go.
  absl::Mutex& sweep() ABSL_LOCK_RETURNED(sweep_) { return sweep_; }

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
  absl::StatusOr<VersionRecord> ResolveWithWeights(absl::string_view name) const;
  absl::StatusOr<std::string> AliasAt(absl::string_view study, absl::string_view alias) const;
  absl::StatusOr<std::set<std::string>> PinnedDigests(
      const std::vector<VersionRecord>& versions) const;
  // What a collection decided on: chunks that stay, and those that only retired models had.
  struct Marks {
    std::set<std::string> named;
    std::set<std::string> freed;
    std::set<std::string> retired;  // models
  };
  absl::Status Mark(GarbageMode mode, absl::string_view by, Marks& marks, Garbage& garbage)
      ABSL_LOCKS_EXCLUDED(turn_);
  absl::Status Retire(std::vector<VersionRecord>& versions, absl::string_view by);
  absl::Status Sweep(GarbageMode mode, absl::string_view by, const Marks& marks, Garbage& garbage);
  absl::StatusOr<ModelView> View(VersionRecord version) const;

  Store& store_;
  ModelStore& models_;
  const Clock& clock_;
  const int64_t retention_versions_;
  absl::Mutex sweep_ ABSL_ACQUIRED_BEFORE(turn_);  // one collection at a time
  absl::Mutex turn_;  // orders read-compare-write; held across the small synced write
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MODEL_REGISTRY_H_
