#include "coordinator/store/rocks.h"

#include <cstdarg>
#include <memory>

#include "absl/strings/str_cat.h"
#include "coordinator/store/audit_index.h"
#include "coordinator/store/store.h"
#include "proto/base/bytes.h"
#include "rocksdb/env.h"
#include "rocksdb/file_checksum.h"
#include "rocksdb/listener.h"
#include "rocksdb/slice_transform.h"

namespace consilium::coordinator {
namespace {

// RocksDB's own diary ends the process on a full disk (an assertion in its file writer), and what
// is wrong comes back as a Status anyway.
class NoDiary final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// After an error RocksDB would try by itself, each 5 s, to go on; the store decides that, because
// what comes first is the entry that says what happened.
class NoRecoveryByItself final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

// Where a key of the index goes in the memtable: after the last one of its value. Without this each
// of an entry's keys is searched for from the top, half of what a write costs.
class IndexPlaces final : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "consilium.IndexPlaces"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return ToSlice(IndexNeighbours(ToView(key)));
  }
  bool InDomain(const rocksdb::Slice&) const override { return true; }
};

// Memtables of all families together. Going on after a full disk writes them out first, so the
// reserve has to hold them.
constexpr size_t kMemtableBytes = size_t{16} << 20;
static_assert(2 * kMemtableBytes <= kBallastBytes);

}  // namespace

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
  options.file_checksum_gen_factory = rocksdb::GetFileChecksumGenCrc32cFactory();
  options.info_log = std::make_shared<NoDiary>();
  options.listeners.push_back(std::make_shared<NoRecoveryByItself>());
  options.db_write_buffer_size = kMemtableBytes;
  options.allow_concurrent_memtable_write = false;  // the store writes one batch at a time
  // One log for all families, so one synced write makes a batch durable in all of them.
  options.atomic_flush = true;
  return options;
}

rocksdb::ColumnFamilyOptions FamilyOptions(absl::string_view name) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = kMemtableBytes / 2;  // also what a log file reserves on disk
  if (name == "audit_tiles") options.compression = rocksdb::kNoCompression;  // hashes
  if (name == "audit_index") {
    options.memtable_insert_with_hint_prefix_extractor = std::make_shared<IndexPlaces>();
  }
  return options;
}

rocksdb::WriteOptions Synced() {
  rocksdb::WriteOptions options;
  options.sync = true;
  options.protection_bytes_per_key = kProtectionBytes;
  return options;
}

std::string Prefix(absl::string_view study) {
  return study.empty() ? std::string() : absl::StrCat(study, absl::string_view("\0", 1));
}

std::string NumberKey(absl::string_view study, int64_t number) {
  return Prefix(study) + BigEndian64(static_cast<uint64_t>(number));
}

uint64_t LoadBigEndian64(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes.substr(0, 8)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string TileKey(int level, uint64_t index) {
  return absl::StrCat(std::string(1, static_cast<char>(level)), BigEndian64(index));
}

}  // namespace consilium::coordinator
