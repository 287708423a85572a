// The entries of the budget ledger as bytes: canonical JSON, one object each.
//
//   start    {"key"}                                  once, first: a check value of patients.key
//   cohort   {"cohort","piece","pieces","patients"}   tags in base64; pieces in order, from 0
//   reserve  {"cohort","study","round","task","mechanism","q","sigma","steps","delta"}
//   settle   {"reserve","steps"}                      of the reservation with that index
//
// each with "v", "index" (its place in the ledger), "type" and, but for cohorts, "time_us". Numbers
// read back exactly. Pure functions.
#ifndef CONSILIUM_SITE_AGENT_POLICY_LEDGER_ENTRY_H_
#define CONSILIUM_SITE_AGENT_POLICY_LEDGER_ENTRY_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "site_agent/policy/ledger_book.h"

namespace consilium::agent {

inline constexpr size_t kTagsPerEntryMax = 2048;  // 44 KB of base64; an entry has at most 64 KB

struct StartEntry {
  std::string key_check_hex;
  absl::Time time;
};
struct CohortEntry {
  std::string cohort;
  uint64_t piece = 0;
  uint64_t pieces = 1;
  std::vector<std::string> tags;
};
struct ReserveEntry {
  std::string cohort;
  Charge charge;
  absl::Time time;
};
struct SettleEntry {
  uint64_t reservation = 0;
  int64_t steps = 0;
  absl::Time time;
};
using LedgerEntry = std::variant<StartEntry, CohortEntry, ReserveEntry, SettleEntry>;

std::string LedgerEntryToJson(const LedgerEntry& entry, uint64_t index);
// DATA_LOSS: not an entry, or not the one of this index.
absl::StatusOr<LedgerEntry> LedgerEntryFromJson(absl::string_view json, uint64_t index);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_LEDGER_ENTRY_H_
