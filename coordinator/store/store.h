// The coordinator's memory: RocksDB with one column family per kind of record, and the audit log
// with its Merkle tree (RFC 6962), written in the same batch as what it records.
//
// Order: Open, then any call. Thread-safe. Commit calls that wait for the disk at the same time are
// written together; readers never wait for a write.
//
// Durability: Commit returns after the write-ahead log is synced. Recovery is kAbsoluteConsistency:
// a damaged log makes Open fail (DATA_LOSS) instead of dropping what was acknowledged.
// Errors: DATA_LOSS: stored bytes are damaged or of a newer program, or the log is frozen.
// RESOURCE_EXHAUSTED: no space; nothing is written until there is some again. UNAVAILABLE: the store
// is in use by another process, or I/O failed.
#ifndef CONSILIUM_COORDINATOR_STORE_STORE_H_
#define CONSILIUM_COORDINATOR_STORE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/store/audit_entry.h"
#include "coordinator/store/records.h"
#include "privacy/transparency/merkle.h"

namespace consilium::coordinator {

inline constexpr int kSchemaVersion = 3;
inline constexpr size_t kBatchOperationsMax = 4096;
inline constexpr uint64_t kBallastBytes = uint64_t{32} << 20;

enum class Family {
  kMeta, kAdmins, kSites, kInvitations, kStudies, kRounds, kVersions, kDigests, kAliases,
  kReleases, kUploads, kAudit, kEvaluations, kManifests, kAuditTiles, kAuditIndex, kAuditSalts,
  kWitnesses, kAgreements,
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
  void DeleteUpload(absl::string_view upload_id);
  void Put(const WitnessRecord& record);
  void Put(const AgreementRecord& record);
  void DeleteAgreement(absl::string_view study, int64_t round, absl::string_view site);
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
  std::string actor = {};
  std::string action = {};
  std::string study = {};
  int64_t round = -1;  // -1: any
  std::string version = {};
  uint64_t from_index = 0;
  size_t count_max = 100;
};
struct AuditLine {
  uint64_t index = 0;
  std::string json;  // the exact stored bytes
  std::vector<AuditDisclosure> disclosed;  // its commitments that were not erased
};

// kReadOnly: nothing on the disk changes, every Commit is refused, and a store that would have to be
// made or migrated does not open (FAILED_PRECONDITION). A running coordinator is not disturbed.
enum class StoreMode { kReadWrite, kReadOnly };

struct StoreOptions {
  std::string path;
  StoreMode mode = StoreMode::kReadWrite;
  std::string ballast_path;  // empty: no reserve for the entry that says the disk is full
  uint64_t ballast_bytes = kBallastBytes;
  std::string software;  // version of the program, for the entries
};

// The signed checkpoints that the store keeps: the newest, and the newest with enough witnesses.
enum class CheckpointKind { kNewest, kWitnessed };

// What a write added, told after it is durable.
struct CommitNotice {
  uint64_t size = 0;               // of the audit log
  bool round_committed = false;    // one of the entries is "round.commit"
};

class Store {
 public:
  // Opens or creates; a store of an older schema is brought forward. DATA_LOSS also when the schema
  // is newer than this program's, and when the entries after the last full tile are not what was
  // written (the message names the first).
  static absl::StatusOr<std::unique_ptr<Store>> Open(const StoreOptions& options);
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path) {
    StoreOptions options;
    options.path = path;
    return Open(options);
  }
  ~Store();

  // The index of the batch's first audit entry. On an error nothing of the batch is there.
  absl::StatusOr<uint64_t> Commit(const Batch& batch, absl::Time now);
  // From now on every Commit returns `why`, an error. The first call counts.
  void Freeze(absl::Status why);
  // OK, or why the next Commit would be refused.
  absl::Status Writable() const;
  // Called after each durable write, on the thread of a Commit; must be quick and must not commit.
  // Set before the first Commit.
  void SetObserver(std::function<void(const CommitNotice&)> observer);

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
  absl::StatusOr<std::vector<WitnessRecord>> Witnesses() const;
  absl::StatusOr<std::vector<AgreementRecord>> Agreements(absl::string_view study,
                                                          int64_t round) const;

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

  // In the order of the log, by the indexes of what the query names.
  absl::StatusOr<std::vector<AuditLine>> SearchAudit(const AuditQuery& query) const;
  // Entries there are; the next one gets this index.
  uint64_t AuditSize() const;
  // OUT_OF_RANGE: no such entry yet.
  absl::StatusOr<AuditLine> AuditEntry(uint64_t index) const;
  // Entries [from, to) in order, until `visit` returns false.
  absl::Status VisitAudit(uint64_t from, uint64_t to,
                          absl::FunctionRef<absl::StatusOr<bool>(const AuditLine&)> visit) const;

  // Of the tree as it is now; nodes of what is committed later are not in it.
  privacy::NodeReader AuditNodes() const;
  // OUT_OF_RANGE: the log is smaller than `size`.
  absl::StatusOr<privacy::Hash> RootAt(uint64_t size) const;
  absl::StatusOr<std::vector<privacy::Hash>> InclusionProof(uint64_t index, uint64_t size) const;
  // Old size 0: empty.
  absl::StatusOr<std::vector<privacy::Hash>> ConsistencyProof(uint64_t old_size,
                                                              uint64_t new_size) const;
  // Hashes the entries from the tile of `from` on and compares them with the tree, and every tile
  // with the one above it. DATA_LOSS names the first index that is missing or altered.
  absl::Status VerifyAudit(uint64_t from = 0) const;
  // Deletes salt and value of each commitment to `name` as an actor, or to a text that holds it, and
  // the name's keys in the index; `facts` is recorded with their number. The entries stay.
  absl::StatusOr<uint64_t> EraseAuditName(const std::string& name, AuditFacts facts,
                                          absl::Time now);

  // Everything committed so far as a store of its own in the new folder `folder`; while others commit.
  absl::Status CreateCheckpoint(const std::string& folder) const;
  // Reads every block of every file. DATA_LOSS: one is damaged.
  absl::Status VerifyChecksums() const;

  // A signed checkpoint; NOT_FOUND: none yet. Durable after Save.
  absl::StatusOr<std::string> LoadCheckpoint(CheckpointKind kind) const;
  absl::Status SaveCheckpoint(CheckpointKind kind, const std::string& note);

 private:
  struct Rep;
  struct AuditState;
  struct Turn;
  struct Group;
  explicit Store(std::unique_ptr<Rep> rep);
  template <typename Record>
  absl::StatusOr<Record> Get(Family family, const std::string& key) const;
  template <typename Record>
  absl::StatusOr<std::vector<Record>> Scan(Family family, const std::string& prefix) const;
  absl::Status Walk(Family family, const std::string& from,
                    const std::function<absl::StatusOr<bool>(absl::string_view key,
                                                             absl::string_view value)>& visit) const;
  absl::Status CheckSchema(StoreMode mode);
  absl::Status MigrateFrom1();
  absl::Status LoadAuditState();
  std::shared_ptr<const AuditState> State() const;
  void Lead(Group& group);
  void CommitGroup(const std::vector<Turn*>& group);
  absl::Status WriteGroup(const std::vector<Turn*>& group);
  absl::Status LeaveFull();
  enum class DiskError { kNone, kInWrite };
  void EnterFull(absl::Time now, DiskError error);
  absl::StatusOr<std::string> Tile(int level, uint64_t index) const;
  absl::StatusOr<std::vector<AuditDisclosure>> Disclosures(uint64_t index) const;
  absl::StatusOr<bool> IndexedLeafIs(const AuditView& view, const privacy::Hash& leaf,
                                     uint32_t clock_run) const;

  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_STORE_H_
