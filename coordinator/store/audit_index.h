// Keys of the family `audit_index`: where to find an entry without reading the others.
//
// A key is one byte of kind, the value, and the entry's index in big endian, so that the entries of
// one value lie together in the order of the log:
//   t  run of the clock (4), time_us (8)   the run counts how often the clock was set back, within
//                                          one it only goes forward; holds the entry's leaf hash
//   a  actor or site, NUL      c  action, NUL      s  study, NUL      r  round (8)     v  version, NUL
// The names of persons stand here in clear: erasing one removes its keys.
#ifndef CONSILIUM_COORDINATOR_STORE_AUDIT_INDEX_H_
#define CONSILIUM_COORDINATOR_STORE_AUDIT_INDEX_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/store/audit_entry.h"

namespace consilium::coordinator {

enum class IndexKind : char {
  kTime = 't', kActor = 'a', kAction = 'c', kStudy = 's', kRound = 'r', kVersion = 'v',
};

// Everything of a key but the entry's index.
std::string IndexPrefix(IndexKind kind, absl::string_view value);
std::string RoundPrefix(int64_t round);
std::string TimePrefix(uint32_t run, int64_t time_us);

// The keys of an entry apart from its time's.
std::vector<std::string> IndexKeys(const AuditFacts& facts, uint64_t index);
std::string TimeKey(uint32_t run, const AuditStamp& stamp);

struct TimeKeyParts {
  uint32_t run = 0;
  int64_t time_us = 0;
  uint64_t index = 0;
};
// The part of a key that it shares with the keys that lie right before it: all of a kind's values of
// time, else all but the entry's index.
absl::string_view IndexNeighbours(absl::string_view key);
// False: not the key of a time.
bool ParseTimeKey(absl::string_view key, TimeKeyParts& parts);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_AUDIT_INDEX_H_
