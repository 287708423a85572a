// The coordinator's memory: RocksDB with one column family per kind of record.
//
// Order: Open, then any call. Thread-safe; Commit calls are written one after another, because each
// takes the next index of the audit log.
//
// Durability: Commit returns after the write-ahead log is synced. Recovery is kAbsoluteConsistency:
// a damaged log makes Open fail (DATA_LOSS) instead of dropping what was acknowledged.
// Errors: DATA_LOSS: stored bytes are damaged or of a newer program. RESOURCE_EXHAUSTED: no space.
// UNAVAILABLE: the store is in use by another process, or I/O failed.
#ifndef CONSILIUM_COORDINATOR_STORE_STORE_H_
#define CONSILIUM_COORDINATOR_STORE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/store/audit_entry.h"
#include "coordinator/store/records.h"

namespace consilium::coordinator {

inline constexpr int kSchemaVersion = 1;
inline constexpr size_t kBatchOperationsMax = 4096;

enum class Family {
  kMeta, kAdmins, kSites, kInvitations, kStudies, kRounds, kVersions, kDigests, kAliases,
  kReleases, kUploads, kAudit, kEvaluations, kManifests,
};

// A change and the entries that record it, written together or not at all. A batch without an audit
// entry cannot be committed. Thread-compatible.
class Batch {
 public:
  void Put(const AdminRecord& record);
  void Put(const SiteRecord& record);
  void Put(const InvitationRecord& record);
  void Put(const StudyRecord& record);
  void Put(const RoundRecord& record);
  void Put(const EvaluationRecord& record);
  void Put(const VersionRecord& record);  // audit_index is set to the batch's first entry
  // Changes a version that is there; audit_index stays as it is.
  void Update(const VersionRecord& record);
  void Put(const ManifestRecord& record);
  void DeleteManifest(absl::string_view model_sha256);
  void Put(const AliasRecord& record);
  void Put(const ReleaseRecord& record);
  void Put(const UploadRecord& record);
  void Audit(AuditFacts facts) { audit_.push_back(std::move(facts)); }
  bool empty() const { return operations_.empty() && audit_.empty(); }

 private:
  friend class Store;
  struct Operation {
    Family family;
    std::string key;
    std::optional<std::string> value;  // none: delete
  };
  void Set(Family family, std::string key, std::optional<std::string> value);
  std::vector<Operation> operations_;
  std::vector<VersionRecord> versions_;
  std::vector<AuditFacts> audit_;
};

// What SearchAudit returns; empty fields match everything.
struct AuditQuery {
  int64_t since_us = 0;
  int64_t until_us = INT64_MAX;
  std::string actor;
  std::string action;
  std::string study;
  int64_t round = -1;  // -1: any
  std::string version;
  uint64_t from_index = 0;
  size_t count_max = 100;
};
struct AuditLine {
  uint64_t index = 0;
  std::string json;
};

class Store {
 public:
  // Opens or creates. DATA_LOSS also when the schema is newer than this program's.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path);
  ~Store();

  // The index of the batch's first audit entry. On an error nothing of the batch is there.
  absl::StatusOr<uint64_t> Commit(const Batch& batch, absl::Time now);

  absl::StatusOr<std::vector<AdminRecord>> Admins() const;
  absl::StatusOr<std::vector<SiteRecord>> Sites() const;
  absl::StatusOr<std::vector<InvitationRecord>> Invitations() const;
  absl::StatusOr<std::vector<StudyRecord>> Studies() const;
  absl::StatusOr<std::vector<RoundRecord>> Rounds(absl::string_view study) const;
  absl::StatusOr<std::vector<EvaluationRecord>> Evaluations(absl::string_view study) const;
  // In the order of their numbers. `study` empty: of all studies.
  absl::StatusOr<std::vector<VersionRecord>> Versions(absl::string_view study) const;
  absl::StatusOr<std::vector<AliasRecord>> Aliases(absl::string_view study) const;
  absl::StatusOr<std::vector<ReleaseRecord>> Releases() const;
  absl::StatusOr<std::vector<ManifestRecord>> Manifests() const;

  // NOT_FOUND: no such record.
  absl::StatusOr<InvitationRecord> Invitation(absl::string_view token_sha256) const;
  absl::StatusOr<RoundRecord> Round(absl::string_view study, int64_t number) const;
  absl::StatusOr<EvaluationRecord> Evaluation(absl::string_view study, int64_t number) const;
  absl::StatusOr<VersionRecord> Version(absl::string_view study, int64_t number) const;
  absl::StatusOr<VersionRecord> VersionOfDigest(absl::string_view sha256) const;
  // Of the model file with this digest; NOT_FOUND also when its weights were collected.
  absl::StatusOr<ManifestRecord> Manifest(absl::string_view model_sha256) const;
  absl::StatusOr<AliasRecord> Alias(absl::string_view study, absl::string_view alias) const;
  absl::StatusOr<ReleaseRecord> Release(absl::string_view name) const;
  absl::StatusOr<UploadRecord> Upload(absl::string_view upload_id) const;

  absl::StatusOr<std::vector<AuditLine>> SearchAudit(const AuditQuery& query) const;
  // Entries there are; the next one gets this index.
  uint64_t AuditSize() const;

 private:
  struct Rep;
  explicit Store(std::unique_ptr<Rep> rep);
  template <typename Record>
  absl::StatusOr<Record> Get(Family family, const std::string& key) const;
  template <typename Record>
  absl::StatusOr<std::vector<Record>> Scan(Family family, const std::string& prefix) const;
  absl::Status Walk(Family family, const std::string& from,
                    const std::function<absl::StatusOr<bool>(absl::string_view key,
                                                             absl::string_view value)>& visit) const;

  std::unique_ptr<Rep> rep_;
  mutable absl::Mutex mutex_;
  uint64_t audit_size_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_STORE_H_
