// One entry of the audit log: who did what to what, and how it ended.
//
// Canonical JSON: sorted keys, no spaces, UTF-8; empty fields are left out. `v` is the form's
// version, `index` runs 0, 1, 2 without a gap, `time_us` is UTC.
//
// Privacy: names, digests, numbers and reasons of our own making; nothing of a patient, no token,
// key or certificate.
#ifndef CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_
#define CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::coordinator {

inline constexpr int kAuditVersion = 1;
inline constexpr size_t kAuditTextBytesMax = 512;

struct AuditFacts {
  std::string actor;  // a name, "coordinator", or "unknown"
  std::string role;   // admin | site | coordinator | none
  std::string action;  // "site.approve", "round.commit"
  std::string outcome = "ok";  // ok | refused | failed
  std::string study;
  std::optional<int64_t> round;
  std::string version;
  std::string site;
  std::string reason;
  std::string before;
  std::string after;
  std::string digest;  // of the model, key or plan it is about
  std::optional<int64_t> count;
};

struct AuditStamp {
  uint64_t index = 0;
  int64_t time_us = 0;
};

std::string EncodeAudit(const AuditFacts& facts, const AuditStamp& stamp);

// What a search looks at. DATA_LOSS: not an entry.
struct AuditView {
  AuditStamp stamp;
  AuditFacts facts;
};
absl::StatusOr<AuditView> DecodeAudit(absl::string_view json);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_
