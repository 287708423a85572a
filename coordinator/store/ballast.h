// A file that only takes up space, so that a full disk can still be told of.
//
// RocksDB takes a failed write badly: the end of its log may be half a record, which the next start
// refuses. So the store asks CheckSpace before each write and stops while there still is some. Free
// then gives the reserve back, and the failure is recorded in it.
// Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_STORE_BALLAST_H_
#define CONSILIUM_COORDINATOR_STORE_BALLAST_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace consilium::coordinator {

inline constexpr uint64_t kSpaceFloorBytes = uint64_t{16} << 20;

class Ballast {
 public:
  // `path` empty: none; every call then does nothing.
  Ballast(std::string path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  bool configured() const { return !path_.empty(); }
  // Allocates it, if it is not there whole. RESOURCE_EXHAUSTED: no room for it and as much again.
  absl::Status Make() const;
  void Free() const;
  // RESOURCE_EXHAUSTED: less than kSpaceFloorBytes are free.
  absl::Status CheckSpace() const;

 private:
  absl::StatusOr<uint64_t> FreeBytes() const;
  std::string path_;
  uint64_t bytes_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_BALLAST_H_
