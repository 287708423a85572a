#include "coordinator/store/store.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/write_batch.h"

namespace consilium::coordinator {
namespace {

constexpr std::array<const char*, 14> kFamilyNames = {
    "meta",     "admins",  "sites",    "invitations", "studies", "rounds",     "versions",
    "digests",  "aliases", "releases", "uploads",     "audit",   "evaluations",
    "manifests"};
constexpr const char* kSchemaKey = "schema";
constexpr size_t kLogFilesMax = 4;
constexpr size_t kAuditScanMax = 1000;  // most entries one search returns

// Separates the parts of a key; no name of ours may hold it.
std::string Prefix(absl::string_view study) {
  return study.empty() ? std::string() : absl::StrCat(study, absl::string_view("\0", 1));
}
std::string NumberKey(absl::string_view study, int64_t number) {
  return Prefix(study) + BigEndian64(static_cast<uint64_t>(number));
}

uint64_t LoadBigEndian64(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat("store: ", what, ": ", status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

rocksdb::DBOptions DbOptions() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kAbsoluteConsistency;
  options.track_and_verify_wals_in_manifest = true;
  options.paranoid_checks = true;
  options.keep_log_file_num = kLogFilesMax;
  // One log for all families, so one synced write makes a batch durable in all of them.
  options.atomic_flush = true;
  return options;
}

}  // namespace

void Batch::Set(Family family, std::string key, std::optional<std::string> value) {
  CSL_CHECK(operations_.size() < kBatchOperationsMax);
  operations_.push_back({family, std::move(key), std::move(value)});
}
void Batch::Put(const AdminRecord& r) { Set(Family::kAdmins, r.name, Encode(r)); }
void Batch::Put(const SiteRecord& r) { Set(Family::kSites, r.name, Encode(r)); }
void Batch::Put(const InvitationRecord& r) { Set(Family::kInvitations, r.token_sha256, Encode(r)); }
void Batch::Put(const StudyRecord& r) { Set(Family::kStudies, r.name, Encode(r)); }
void Batch::Put(const RoundRecord& r) {
  Set(Family::kRounds, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const EvaluationRecord& r) {
  Set(Family::kEvaluations, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const VersionRecord& r) { versions_.push_back(r); }
void Batch::Update(const VersionRecord& r) {
  Set(Family::kVersions, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const ManifestRecord& r) { Set(Family::kManifests, r.sha256, Encode(r)); }
void Batch::DeleteManifest(absl::string_view model_sha256) {
  Set(Family::kManifests, std::string(model_sha256), std::nullopt);
}
void Batch::Put(const AliasRecord& r) {
  Set(Family::kAliases, Prefix(r.study) + r.alias, Encode(r));
}
void Batch::Put(const ReleaseRecord& r) { Set(Family::kReleases, r.name, Encode(r)); }
void Batch::Put(const UploadRecord& r) { Set(Family::kUploads, r.upload_id, Encode(r)); }

struct Store::Rep {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  ~Rep() {
    for (rocksdb::ColumnFamilyHandle* family : families) {
      db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    }
    if (db != nullptr) db->Close().PermitUncheckedError();
  }
  rocksdb::ColumnFamilyHandle* family(Family f) const {
    // RocksDB opened them in the order of kFamilyNames, after "default".
    return families[static_cast<size_t>(f) + 1];
  }
};

Store::Store(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Store::~Store() = default;

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& path) {
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors = {
      {rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions()}};
  for (const char* name : kFamilyNames) {
    descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  auto rep = std::make_unique<Rep>();
  rocksdb::DB* db = nullptr;
  CSL_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::Open(DbOptions(), path, descriptors, &rep->families, &db), "open"));
  rep->db.reset(db);

  std::string schema;
  const rocksdb::Status found =
      db->Get(rocksdb::ReadOptions(), rep->family(Family::kMeta), kSchemaKey, &schema);
  if (found.IsNotFound()) {
    rocksdb::WriteOptions synced;
    synced.sync = true;
    CSL_RETURN_IF_ERROR(FromRocks(
        db->Put(synced, rep->family(Family::kMeta), kSchemaKey, absl::StrCat(kSchemaVersion)),
        "write schema"));
  } else {
    CSL_RETURN_IF_ERROR(FromRocks(found, "read schema"));
    int version = 0;
    if (!absl::SimpleAtoi(schema, &version) || version < 1) {
      return absl::DataLossError("store: the schema number does not read");
    }
    if (version > kSchemaVersion) {
      return absl::DataLossError(
          absl::StrCat("store: written by a newer program (schema ", version, ", this one knows ",
                       kSchemaVersion, "); install that version"));
    }
  }

  auto store = std::unique_ptr<Store>(new Store(std::move(rep)));
  uint64_t size = 0;
  std::unique_ptr<rocksdb::Iterator> last(
      db->NewIterator(rocksdb::ReadOptions(), store->rep_->family(Family::kAudit)));
  last->SeekToLast();
  if (last->Valid()) size = LoadBigEndian64({last->key().data(), last->key().size()}) + 1;
  CSL_RETURN_IF_ERROR(FromRocks(last->status(), "read the audit log"));
  absl::MutexLock lock(&store->mutex_);
  store->audit_size_ = size;
  return store;
}

absl::StatusOr<uint64_t> Store::Commit(const Batch& batch, absl::Time now) {
  CSL_CHECK(!batch.audit_.empty());
  absl::MutexLock lock(&mutex_);
  const uint64_t first = audit_size_;
  rocksdb::WriteBatch write;
  const auto put = [&](Family family, const std::string& key, const std::string& value) {
    return FromRocks(write.Put(rep_->family(family), key, value), "batch");
  };
  for (const Batch::Operation& op : batch.operations_) {
    CSL_RETURN_IF_ERROR(op.value ? put(op.family, op.key, *op.value)
                                 : FromRocks(write.Delete(rep_->family(op.family), op.key), "batch"));
  }
  for (VersionRecord version : batch.versions_) {
    version.audit_index = static_cast<int64_t>(first);
    CSL_RETURN_IF_ERROR(put(Family::kVersions, NumberKey(version.study, version.number),
                            Encode(version)));
    CSL_RETURN_IF_ERROR(put(Family::kDigests, version.sha256,
                            NumberKey(version.study, version.number)));
  }
  AuditStamp stamp = {first, absl::ToUnixMicros(now)};
  for (const AuditFacts& facts : batch.audit_) {
    CSL_RETURN_IF_ERROR(put(Family::kAudit, BigEndian64(stamp.index), EncodeAudit(facts, stamp)));
    ++stamp.index;
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  CSL_RETURN_IF_ERROR(FromRocks(rep_->db->Write(synced, &write), "write"));
  audit_size_ = stamp.index;
  return first;
}

template <typename Record>
absl::StatusOr<Record> Store::Get(Family family, const std::string& key) const {
  std::string value;
  CSL_RETURN_IF_ERROR(FromRocks(
      rep_->db->Get(rocksdb::ReadOptions(), rep_->family(family), key, &value), "read"));
  return Decode<Record>(value);
}

absl::Status Store::Walk(
    Family family, const std::string& from,
    const std::function<absl::StatusOr<bool>(absl::string_view, absl::string_view)>& visit) const {
  std::unique_ptr<rocksdb::Iterator> it(
      rep_->db->NewIterator(rocksdb::ReadOptions(), rep_->family(family)));
  for (it->Seek(from); it->Valid(); it->Next()) {
    const rocksdb::Slice key = it->key(), value = it->value();
    CSL_ASSIGN_OR_RETURN(const bool more, visit({key.data(), key.size()},
                                                {value.data(), value.size()}));
    if (!more) return absl::OkStatus();
  }
  return FromRocks(it->status(), "scan");  // a damaged block ends the loop early
}

template <typename Record>
absl::StatusOr<std::vector<Record>> Store::Scan(Family family, const std::string& prefix) const {
  std::vector<Record> records;
  CSL_RETURN_IF_ERROR(Walk(family, prefix,
                           [&](absl::string_view key,
                               absl::string_view value) -> absl::StatusOr<bool> {
                             if (!absl::StartsWith(key, prefix)) return false;
                             CSL_ASSIGN_OR_RETURN(Record record, Decode<Record>(value));
                             records.push_back(std::move(record));
                             return true;
                           }));
  return records;
}

absl::StatusOr<std::vector<AdminRecord>> Store::Admins() const {
  return Scan<AdminRecord>(Family::kAdmins, "");
}
absl::StatusOr<std::vector<SiteRecord>> Store::Sites() const {
  return Scan<SiteRecord>(Family::kSites, "");
}
absl::StatusOr<std::vector<InvitationRecord>> Store::Invitations() const {
  return Scan<InvitationRecord>(Family::kInvitations, "");
}
absl::StatusOr<std::vector<StudyRecord>> Store::Studies() const {
  return Scan<StudyRecord>(Family::kStudies, "");
}
absl::StatusOr<std::vector<RoundRecord>> Store::Rounds(absl::string_view study) const {
  return Scan<RoundRecord>(Family::kRounds, Prefix(study));
}
absl::StatusOr<std::vector<EvaluationRecord>> Store::Evaluations(absl::string_view study) const {
  return Scan<EvaluationRecord>(Family::kEvaluations, Prefix(study));
}
absl::StatusOr<std::vector<VersionRecord>> Store::Versions(absl::string_view study) const {
  return Scan<VersionRecord>(Family::kVersions, Prefix(study));
}
absl::StatusOr<std::vector<AliasRecord>> Store::Aliases(absl::string_view study) const {
  return Scan<AliasRecord>(Family::kAliases, Prefix(study));
}
absl::StatusOr<std::vector<ReleaseRecord>> Store::Releases() const {
  return Scan<ReleaseRecord>(Family::kReleases, "");
}
absl::StatusOr<std::vector<ManifestRecord>> Store::Manifests() const {
  return Scan<ManifestRecord>(Family::kManifests, "");
}
absl::StatusOr<ManifestRecord> Store::Manifest(absl::string_view model_sha256) const {
  return Get<ManifestRecord>(Family::kManifests, std::string(model_sha256));
}
absl::StatusOr<InvitationRecord> Store::Invitation(absl::string_view token_sha256) const {
  return Get<InvitationRecord>(Family::kInvitations, std::string(token_sha256));
}
absl::StatusOr<RoundRecord> Store::Round(absl::string_view study, int64_t number) const {
  return Get<RoundRecord>(Family::kRounds, NumberKey(study, number));
}
absl::StatusOr<EvaluationRecord> Store::Evaluation(absl::string_view study, int64_t number) const {
  return Get<EvaluationRecord>(Family::kEvaluations, NumberKey(study, number));
}
absl::StatusOr<VersionRecord> Store::Version(absl::string_view study, int64_t number) const {
  return Get<VersionRecord>(Family::kVersions, NumberKey(study, number));
}
absl::StatusOr<VersionRecord> Store::VersionOfDigest(absl::string_view sha256) const {
  std::string key;
  CSL_RETURN_IF_ERROR(FromRocks(rep_->db->Get(rocksdb::ReadOptions(),
                                              rep_->family(Family::kDigests),
                                              rocksdb::Slice(sha256.data(), sha256.size()), &key),
                                "read"));
  return Get<VersionRecord>(Family::kVersions, key);
}
absl::StatusOr<AliasRecord> Store::Alias(absl::string_view study, absl::string_view alias) const {
  return Get<AliasRecord>(Family::kAliases, absl::StrCat(Prefix(study), alias));
}
absl::StatusOr<ReleaseRecord> Store::Release(absl::string_view name) const {
  return Get<ReleaseRecord>(Family::kReleases, std::string(name));
}
absl::StatusOr<UploadRecord> Store::Upload(absl::string_view upload_id) const {
  return Get<UploadRecord>(Family::kUploads, std::string(upload_id));
}

absl::StatusOr<std::vector<AuditLine>> Store::SearchAudit(const AuditQuery& query) const {
  const auto fits = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  const size_t count_max = std::min(query.count_max, kAuditScanMax);
  std::vector<AuditLine> lines;
  CSL_RETURN_IF_ERROR(Walk(
      Family::kAudit, BigEndian64(query.from_index),
      [&](absl::string_view, absl::string_view value) -> absl::StatusOr<bool> {
        if (lines.size() >= count_max) return false;
        CSL_ASSIGN_OR_RETURN(const AuditView view, DecodeAudit(value));
        const AuditFacts& facts = view.facts;
        if (view.stamp.time_us >= query.since_us && view.stamp.time_us < query.until_us &&
            (fits(query.actor, facts.actor) || fits(query.actor, facts.site)) &&
            fits(query.action, facts.action) && fits(query.study, facts.study) &&
            fits(query.version, facts.version) &&
            (query.round < 0 || facts.round == query.round)) {
          lines.push_back({view.stamp.index, std::string(value)});
        }
        return true;
      }));
  return lines;
}

uint64_t Store::AuditSize() const {
  absl::MutexLock lock(&mutex_);
  return audit_size_;
}

}  // namespace consilium::coordinator
