// RocksDB as this folder uses it: its errors, its options, its keys. For the .cc files here only.
#ifndef CONSILIUM_COORDINATOR_STORE_ROCKS_H_
#define CONSILIUM_COORDINATOR_STORE_ROCKS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/write_batch.h"

namespace consilium::coordinator {

// RocksDB checks each key and value of a batch with so many bytes until it is in the memtable.
inline constexpr size_t kProtectionBytes = 8;

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what);
rocksdb::DBOptions DbOptions();
rocksdb::ColumnFamilyOptions FamilyOptions(absl::string_view name);
rocksdb::WriteOptions Synced();
inline rocksdb::WriteBatch ProtectedBatch() { return rocksdb::WriteBatch(0, 0, kProtectionBytes, 0); }

inline rocksdb::Slice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }
inline absl::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// The parts of a key are separated by NUL; no name of ours may hold it.
std::string Prefix(absl::string_view study);
std::string NumberKey(absl::string_view study, int64_t number);
uint64_t LoadBigEndian64(absl::string_view bytes);
std::string TileKey(int level, uint64_t index);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_ROCKS_H_
