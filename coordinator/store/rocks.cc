#include "coordinator/store/rocks.h"

#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "rocksdb/file_checksum.h"

namespace consilium::coordinator {
namespace {
constexpr size_t kLogFilesMax = 4;
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
  options.keep_log_file_num = kLogFilesMax;
  // One log for all families, so one synced write makes a batch durable in all of them.
  options.atomic_flush = true;
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
