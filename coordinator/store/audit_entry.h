// One entry of the audit log: who did what to what, and how it ended. Fields: FORMAT.md, section 1.
//
// Order: AuditDraft (on the thread that has the facts), Seal (once its place in the log is known).
// The sealed bytes are the leaf: they are stored as they are and never made again.
//
// Privacy: names, digests, numbers and reasons of our own making; nothing of a patient, no token,
// key or certificate. What names a person (an administrator's name, a reason that one typed, the
// fields listed in AuditFacts::personal) stands in the entry only as HMAC-SHA256(salt, value); salt
// and value are kept beside the log and can be erased there.
#ifndef CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_
#define CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::coordinator {

inline constexpr int kAuditVersion = 2;
inline constexpr size_t kAuditTextBytesMax = 512;
inline constexpr size_t kAuditEntryBytesMax = 65535;  // C2SP tlog-tiles: a 16-bit length

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
  std::string actor_key;  // SHA-256 of the SPKI of the actor's certificate, hex
  std::string request;    // ties it to log lines
  // Further fields that name a person: any of "before", "after", "reason". The actor of role admin,
  // or of role none unless it is `site`, always does, and so does the reason an administrator gives.
  std::vector<std::string> personal;
};

struct AuditStamp {
  uint64_t index = 0;
  int64_t time_us = 0;
  int64_t mono_us = 0;                       // of the recorder's run; 0: not known
  std::optional<int64_t> clock_back_us = {};  // the last entry's time, where this one's is earlier
};

// The same in every entry of one run of the recorder.
struct AuditOrigin {
  std::string boot;      // of the machine; orders mono_us
  std::string software;  // version of the program
};

// A committed value that is still there.
struct AuditDisclosure {
  std::string field;  // "actor"
  std::string salt;
  std::string value;
  bool operator==(const AuditDisclosure&) const = default;
};

class AuditDraft {
 public:
  AuditDraft(AuditFacts facts, const AuditOrigin& origin);
  // Canonical JSON, at most kAuditEntryBytesMax bytes.
  std::string Seal(const AuditStamp& stamp) const;
  const AuditFacts& facts() const { return facts_; }
  const std::vector<AuditDisclosure>& secrets() const { return secrets_; }

 private:
  std::string Value(absl::string_view field, absl::string_view text);
  AuditFacts facts_;
  std::vector<AuditDisclosure> secrets_;
  // The entry's text between the parts of its stamp, which keys in order scatter over it.
  std::string before_clock_, before_index_, before_time_, end_;
};

std::string EncodeAudit(const AuditFacts& facts, const AuditStamp& stamp);

// What a search looks at. A committed field is empty unless `disclosed` holds it.
// DATA_LOSS: not an entry, or a disclosure that is not what was committed.
struct AuditView {
  int version = 0;
  AuditStamp stamp;
  AuditFacts facts;
};
absl::StatusOr<AuditView> DecodeAudit(absl::string_view json,
                                      const std::vector<AuditDisclosure>& disclosed = {});

// The entry for people: each commitment replaced by its value, or by "(erased)". Not canonical and
// never hashed. DATA_LOSS as above.
absl::StatusOr<std::string> ReadableAudit(absl::string_view json,
                                          const std::vector<AuditDisclosure>& disclosed);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_AUDIT_ENTRY_H_
