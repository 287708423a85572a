// Opening: families, schema, and the audit log's right edge, checked against its entries.
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/audit_index.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_rep.h"
#include "privacy/crypto/random.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// In the order of Family. New ones come last.
constexpr std::array<const char*, 19> kFamilyNames = {
    "meta",       "admins",      "sites",       "invitations", "studies",    "rounds",
    "versions",   "digests",     "aliases",     "releases",    "uploads",    "audit",
    "evaluations", "manifests",  "audit_tiles", "audit_index", "audit_salts", "witnesses",
    "agreements"};
constexpr const char* kSchemaKey = "schema";
constexpr uint64_t kMigrationEntries = 1024;  // in one write

// Which run of the machine the monotonic clock counts from.
std::string BootId() {
  constexpr const char* kBootFile = "/proc/sys/kernel/random/boot_id";
  constexpr uint64_t kBootBytesMax = 64;
  constexpr size_t kRandomBytes = 16;
  const absl::StatusOr<std::string> id = ReadFile(kBootFile, kBootBytesMax);
  if (id.ok()) return std::string(absl::StripAsciiWhitespace(*id));
  return HexEncode(privacy::RandomBytes(kRandomBytes));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options) {
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors = {
      {rocksdb::kDefaultColumnFamilyName, FamilyOptions("")}};
  for (const char* name : kFamilyNames) descriptors.emplace_back(name, FamilyOptions(name));
  auto rep = std::make_unique<Rep>();
  rep->origin = {BootId(), options.software};
  rep->ballast = Ballast(options.ballast_path, options.ballast_bytes);
  rocksdb::DB* db = nullptr;
  const bool reads_only = options.mode == StoreMode::kReadOnly;
  const absl::Status opened = FromRocks(
      reads_only
          ? rocksdb::DB::OpenForReadOnly(DbOptions(), options.path, descriptors, &rep->families,
                                         &db)
          : rocksdb::DB::Open(DbOptions(), options.path, descriptors, &rep->families, &db),
      "open");
  if (absl::IsDataLoss(opened)) {
    return absl::DataLossError(absl::StrCat(
        opened.message(), "; the store is damaged and was left as it is, so that nothing acknowledged "
        "is dropped in silence: keep this folder, and restore the newest backup with `consilium "
        "restore BACKUP --home NEW_HOME`"));
  }
  CSL_RETURN_IF_ERROR(opened);
  rep->db.reset(db);
  auto store = std::unique_ptr<Store>(new Store(std::move(rep)));
  CSL_RETURN_IF_ERROR(store->CheckSchema(options.mode));
  CSL_RETURN_IF_ERROR(store->LoadAuditState());
  if (reads_only) {
    store->Freeze(absl::FailedPreconditionError("store: it is open for reading only"));
    return store;
  }
  if (const absl::Status reserved = store->rep_->ballast.Make();
      absl::IsResourceExhausted(reserved)) {
    absl::MutexLock lock(&store->rep_->state_mutex);
    store->rep_->full = Annotate(reserved, "store: the disk is full");
  }
  return store;
}

absl::Status Store::CheckSchema(StoreMode mode) {
  const auto write_schema = [this] {
    rocksdb::WriteBatch write = ProtectedBatch();
    CSL_RETURN_IF_ERROR(rep_->Put(write, Family::kMeta, kSchemaKey, absl::StrCat(kSchemaVersion)));
    return FromRocks(rep_->db->Write(Synced(), &write), "write schema");
  };
  std::string schema;
  const rocksdb::Status found =
      rep_->db->Get(rocksdb::ReadOptions(), rep_->family(Family::kMeta), kSchemaKey, &schema);
  const bool reads_only = mode == StoreMode::kReadOnly;
  if (found.IsNotFound()) {
    return reads_only ? absl::FailedPreconditionError("store: it was never used") : write_schema();
  }
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
  if (version == kSchemaVersion) return absl::OkStatus();
  if (reads_only) {
    return absl::FailedPreconditionError(
        absl::StrCat("store: of schema ", version, "; start the coordinator once to migrate it"));
  }
  // Schema 3 added the family of agreements, which opening has made.
  if (version == 1) {
    CSL_RETURN_IF_ERROR(Annotate(MigrateFrom1(), "store: migration from schema 1"));
  }
  return write_schema();
}

// Schema 1 had entries only. Each becomes the leaf of its index, as it is; tiles and index keys are
// made from them. The schema's number is written last, so an interruption starts over and writes
// the same keys again.
absl::Status Store::MigrateFrom1() {
  AuditState state;
  rocksdb::WriteBatch write = ProtectedBatch();
  const auto flush = [&] {
    const absl::Status written = FromRocks(rep_->db->Write(Synced(), &write), "write");
    write = ProtectedBatch();
    return written;
  };
  const auto take = [&](absl::string_view key, absl::string_view entry) -> absl::StatusOr<bool> {
    CSL_ASSIGN_OR_RETURN(const AuditView view, DecodeAudit(entry));
    if (key != BigEndian64(state.size()) || view.stamp.index != state.size()) {
      return FirstBadIndex(state.size(), "the entry is not there");
    }
    CSL_RETURN_IF_ERROR(rep_->AppendLeaf(write, state, entry, view.facts, view.stamp));
    if (state.size() % kMigrationEntries == 0) CSL_RETURN_IF_ERROR(flush());
    return true;
  };
  CSL_RETURN_IF_ERROR(Walk(Family::kAudit, "", take));
  return flush();
}

absl::Status Store::LoadAuditState() {
  const auto last_key = [this](Family family, absl::string_view upper) {
    std::unique_ptr<rocksdb::Iterator> it(
        rep_->db->NewIterator(rocksdb::ReadOptions(), rep_->family(family)));
    upper.empty() ? it->SeekToLast() : it->SeekForPrev(ToSlice(upper));
    std::string key;
    if (it->Valid()) key = it->key().ToString();
    return std::pair(key, FromRocks(it->status(), "read the audit log"));
  };
  const auto [last_entry, entry_status] = last_key(Family::kAudit, "");
  CSL_RETURN_IF_ERROR(entry_status);
  const uint64_t size = last_entry.empty() ? 0 : LoadBigEndian64(last_entry) + 1;
  const uint64_t full_tiles = size / kTileHashes;

  // A tile past the entries: the log's end was cut off.
  const auto [last_tile, tile_status] = last_key(Family::kAuditTiles, TileKey(0, UINT64_MAX));
  CSL_RETURN_IF_ERROR(tile_status);
  const uint64_t tiles = last_tile.empty() ? 0 : LoadBigEndian64(last_tile.substr(1)) + 1;
  if (tiles > full_tiles) return FirstBadIndex(size, "it and what follows were cut off");
  if (tiles < full_tiles) return FirstBadIndex(tiles * kTileHashes, "its tile is missing");

  auto state = std::make_shared<AuditState>();
  const std::string time_end(1, static_cast<char>(IndexKind::kTime) + 1);
  const auto [last_time, time_status] = last_key(Family::kAuditIndex, time_end);
  CSL_RETURN_IF_ERROR(time_status);
  TimeKeyParts last;
  if (ParseTimeKey(last_time, last)) {
    state->clock_run = last.run;
    state->last_us = last.time_us;
    if (last.index >= size) return FirstBadIndex(size, "it and what follows were cut off");
  } else if (size > 0) {
    return FirstBadIndex(0, "the index of times is missing");
  }

  std::vector<privacy::Hash> leaves;
  for (uint64_t index = full_tiles * kTileHashes; index < size; ++index) {
    std::string entry;
    const rocksdb::Status found = rep_->db->Get(
        rocksdb::ReadOptions(), rep_->family(Family::kAudit), BigEndian64(index), &entry);
    if (found.IsNotFound()) return FirstBadIndex(index, "the entry is missing");
    CSL_RETURN_IF_ERROR(FromRocks(found, "read the audit log"));
    leaves.push_back(privacy::LeafHash(entry));
  }
  CSL_ASSIGN_OR_RETURN(
      state->tree,
      AuditTree::Rebuild(size, leaves,
                         [this](int level, uint64_t index) { return Tile(level, index); }));
  {
    absl::MutexLock lock(&rep_->state_mutex);
    rep_->state = std::move(state);
  }
  return VerifyAudit(full_tiles * kTileHashes);
}

}  // namespace consilium::coordinator
