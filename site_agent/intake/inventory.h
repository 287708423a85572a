// What a site has found in all, and what of it is used: the store, what intake has kept of the
// rest, and who may not be used, put together for `consilium-agent catalog` and `status`.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_INVENTORY_H_
#define CONSILIUM_SITE_AGENT_INTAKE_INVENTORY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/intake/catalog.h"

namespace consilium::agent {

enum class InventoryState {
  kUsed,      // a case of the store
  kPartly,    // the same, of which images or labels were set aside
  kSetAside,  // not used, or not any more
  kHeldBack,  // waits for a person: its pixels may show identity
};
const char* StateName(InventoryState state);  // "set_aside"; stable, for JSON

// One series, or all of a patient's where nothing more is kept. Privacy: as findings.h.
struct InventoryItem {
  std::string patient;  // pseudonym
  std::string study;    // pseudonym; empty: cases of before have none, and whole patients
  std::string series;   // pseudonym, a case's id; empty: all series of the patient
  std::string modality;
  int64_t series_count = 1;
  int64_t files = 0;  // images
  InventoryState state = InventoryState::kUsed;
  std::string reason;                // RejectName, or "damaged"; empty: used as a whole
  std::vector<std::string> details;  // in words
};

struct Inventory {
  std::vector<InventoryItem> items;          // by patient, study, series
  std::map<std::string, int64_t> by_reason;  // series that are not used
  std::map<std::string, int64_t> marks;      // patients, by MarkName
  std::string policy;                        // PolicyName
  int64_t used() const;                      // cases
};

// Looks at the home only; works while the agent runs. Errors of LoadFindings and
// PatientRegister::Read.
absl::StatusOr<Inventory> TakeInventory(const std::string& home, const Catalog& catalog);

// Takes out of `catalog` the cases of patients who may not be used and returns how many there were.
// Errors of PatientRegister::Read.
absl::StatusOr<int64_t> RemoveWithheld(const std::string& home, Catalog& catalog);

// Rows for FormatTable: what is not used, or not as a whole. Empty where there is no such thing.
std::vector<std::vector<std::string>> InventoryTable(const Inventory& inventory);
// {"policy": ..., "marks": {...}, "not_used": {...}, "series": [...]}
std::string InventoryToJson(const Inventory& inventory);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_INVENTORY_H_
