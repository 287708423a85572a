// What the dynamic linker reads of a program or library: ELF64, little-endian.
//
// Format: System V ABI, chapters 4 and 5. The file is foreign: every offset and length is checked
// against the file, and only headers, the dynamic section and single strings are read, never the
// file as a whole.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_ELF_READER_H_
#define CONSILIUM_COORDINATOR_PUBLISH_ELF_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::publish {

inline constexpr uint16_t kMachineX86_64 = 62;
inline constexpr uint16_t kMachineAarch64 = 183;

struct ElfFacts {
  uint16_t machine = 0;
  std::string interpreter;          // PT_INTERP; empty in a library or a static program
  std::vector<std::string> needed;  // DT_NEEDED, in order
  std::string rpath;                // DT_RPATH, folders parted by ':'
  std::string runpath;              // DT_RUNPATH; where present, DT_RPATH counts for nothing
};

// NOT_FOUND: no such file. INVALID_ARGUMENT: not ELF64, or something in it does not fit.
absl::StatusOr<ElfFacts> ReadElf(const std::string& path);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_ELF_READER_H_
