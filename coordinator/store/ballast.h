// A file that only takes up space, so that a full disk can still be told of.
//
// When a write finds the disk full, Free gives its space back once; the failure is recorded in it.
// Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_STORE_BALLAST_H_
#define CONSILIUM_COORDINATOR_STORE_BALLAST_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace consilium::coordinator {

class Ballast {
 public:
  // `path` empty: none; every call then does nothing.
  Ballast(std::string path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  bool configured() const { return !path_.empty(); }
  // Allocates it, if it is not there whole. RESOURCE_EXHAUSTED: no room for it and as much again.
  absl::Status Make() const;
  void Free() const;

 private:
  std::string path_;
  uint64_t bytes_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_BALLAST_H_
