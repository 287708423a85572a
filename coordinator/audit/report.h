// What a verification found, for people and for programs.
#ifndef CONSILIUM_COORDINATOR_AUDIT_REPORT_H_
#define CONSILIUM_COORDINATOR_AUDIT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace consilium::coordinator {

inline constexpr size_t kFindingsMax = 32;  // kept in full; further ones are counted

// One thing that does not hold, or that a reviewer should look at.
struct AuditFinding {
  std::optional<uint64_t> index;  // the entry, where one can be named
  std::string what;
};

struct AuditReport {
  std::string kind;  // export | proof | checkpoint
  std::string origin;
  uint64_t size = 0;
  std::string root;  // base64, as in the checkpoint
  std::string log_key;  // "": no key of the policy signed
  std::string note;     // the checkpoint itself
  std::vector<std::string> witnesses;  // whose cosignatures hold
  // Of an export.
  uint64_t from = 0;
  uint64_t to = 0;
  std::string filter;
  uint64_t shown = 0;
  uint64_t withheld = 0;
  uint64_t disclosed = 0;  // commitments opened and verified
  // Of a proof: the entry.
  std::optional<uint64_t> index;
  std::string entry;
  std::string consistency;  // with the checkpoint that the reviewer held; "": none was given

  std::vector<AuditFinding> faults;
  uint64_t fault_count = 0;
  std::vector<AuditFinding> flags;
  uint64_t flag_count = 0;

  bool ok() const { return fault_count == 0; }
  void Fault(std::optional<uint64_t> index, std::string what);
  void Flag(std::optional<uint64_t> index, std::string what);
  // The fault with the lowest index; without any index, the first fault. nullptr: all holds.
  const AuditFinding* FirstFault() const;
};

// Lines for a terminal, without control characters of what was read.
std::string FormatReport(const AuditReport& report);
// One JSON object: ok, kind, origin, from, to, size, root, shown, withheld, disclosed, witnesses, flags,
// faults, first_bad_index (null where none can be named), what.
std::string ReportJson(const AuditReport& report);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_REPORT_H_
