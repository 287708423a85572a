#include "coordinator/store/audit_index.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/store/rocks.h"
#include "proto/base/bytes.h"

namespace consilium::coordinator {
namespace {
constexpr size_t kRunBytes = 4;
constexpr size_t kNumberBytes = 8;

std::string Kind(IndexKind kind) { return std::string(1, static_cast<char>(kind)); }
std::string BigEndian32(uint32_t value) { return BigEndian64(value).substr(kNumberBytes - kRunBytes); }
}  // namespace

std::string IndexPrefix(IndexKind kind, absl::string_view value) {
  std::string prefix = absl::StrCat(Kind(kind), value);
  std::replace(prefix.begin(), prefix.end(), '\0', '?');  // NUL ends a value
  prefix.push_back('\0');
  return prefix;
}

std::string RoundPrefix(int64_t round) {
  return Kind(IndexKind::kRound) + BigEndian64(static_cast<uint64_t>(round));
}

std::string TimePrefix(uint32_t run, int64_t time_us) {
  return absl::StrCat(Kind(IndexKind::kTime), BigEndian32(run),
                      BigEndian64(static_cast<uint64_t>(std::max<int64_t>(time_us, 0))));
}

std::vector<std::string> IndexKeys(const AuditFacts& facts, uint64_t index) {
  const std::string at = BigEndian64(index);
  std::vector<std::string> keys;
  const auto add = [&](IndexKind kind, const std::string& value) {
    if (!value.empty()) keys.push_back(IndexPrefix(kind, value) + at);
  };
  add(IndexKind::kActor, facts.actor);
  if (facts.site != facts.actor) add(IndexKind::kActor, facts.site);
  add(IndexKind::kAction, facts.action);
  add(IndexKind::kStudy, facts.study);
  add(IndexKind::kVersion, facts.version);
  if (facts.round) keys.push_back(RoundPrefix(*facts.round) + at);
  return keys;
}

std::string TimeKey(uint32_t run, const AuditStamp& stamp) {
  return TimePrefix(run, stamp.time_us) + BigEndian64(stamp.index);
}

absl::string_view IndexNeighbours(absl::string_view key) {
  if (key.empty() || key[0] == static_cast<char>(IndexKind::kTime)) return key.substr(0, 1);
  return key.substr(0, key.size() - std::min(key.size(), kNumberBytes));
}

bool ParseTimeKey(absl::string_view key, TimeKeyParts& parts) {
  if (key.size() != 1 + kRunBytes + 2 * kNumberBytes ||
      key[0] != static_cast<char>(IndexKind::kTime)) {
    return false;
  }
  parts.run = static_cast<uint32_t>(
      LoadBigEndian64(std::string(kNumberBytes - kRunBytes, '\0') + std::string(key.substr(1, kRunBytes))));
  parts.time_us = static_cast<int64_t>(LoadBigEndian64(key.substr(1 + kRunBytes)));
  parts.index = LoadBigEndian64(key.substr(1 + kRunBytes + kNumberBytes));
  return true;
}

}  // namespace consilium::coordinator
