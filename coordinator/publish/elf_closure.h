// Everything a program needs to start: its loader and its libraries, and theirs.
//
// Found as glibc's loader finds them: DT_RPATH, DT_RUNPATH ($ORIGIN, $LIB), /etc/ld.so.conf, then
// the standard folders, passing over files of another machine. LD_LIBRARY_PATH plays no part, so
// that the result does not depend on who asks.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_ELF_CLOSURE_H_
#define CONSILIUM_COORDINATOR_PUBLISH_ELF_CLOSURE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::publish {

struct ElfClosure {
  uint16_t machine = 0;
  std::string interpreter;                       // absolute path; empty: a static program
  std::map<std::string, std::string> libraries;  // name it is asked for by -> file, links followed
};

// The folders of /etc/ld.so.conf and those that are built into the loader, in order.
std::vector<std::string> SystemLibraryFolders();

// NOT_FOUND: a library that is nowhere, and who needs it. INVALID_ARGUMENT: a file of the closure
// is no sound ELF file. FAILED_PRECONDITION: asks for a library by path. RESOURCE_EXHAUSTED: more
// than 4096 libraries.
absl::StatusOr<ElfClosure> FindElfClosure(const std::string& program,
                                          const std::vector<std::string>& system_folders);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_ELF_CLOSURE_H_
