#include "site_agent/intake/inventory.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "proto/base/status.h"
#include "site_agent/intake/findings.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/patient_register.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;
using Findings = std::map<std::string, PatientFindings>;  // by patient

std::string TextOf(const FindingNote& note) {
  return absl::StrCat(note.detail.empty() ? note.reason : note.detail, " (", note.files, " files)");
}

const SeriesFinding* Find(const Findings& findings, const CaseRecord& record) {
  const auto patient = findings.find(record.patient);
  if (patient == findings.end()) return nullptr;
  const auto series = patient->second.series.find(record.case_id);
  return series == patient->second.series.end() ? nullptr : &series->second;
}

InventoryItem OfCase(const CaseRecord& record, const SeriesFinding* found,
                     const PatientRegister& patients) {
  InventoryItem item{.patient = record.patient,
                     .study = found == nullptr ? "" : found->study,
                     .series = record.case_id,
                     .modality = record.modality,
                     .files = record.image_files,
                     .reason = "",
                     .details = {}};
  for (const imaging::SetAside& aside : record.assembly.set_aside) {
    item.details.push_back(absl::StrCat(aside.reason, " (", aside.images, " images)"));
  }
  if (found != nullptr) {
    for (const FindingNote& note : found->labels) item.details.push_back(TextOf(note));
  }
  if (!item.details.empty()) item.state = InventoryState::kPartly;
  if (const auto why = patients.Objection(record.patient)) {
    item.state = InventoryState::kSetAside;
    item.reason = RejectName(ReasonOf(*why));
    item.details.insert(item.details.begin(), WithheldText(*why));
  }
  return item;
}

InventoryItem OfFinding(const std::string& patient, const std::string& series,
                        const SeriesFinding& found) {
  InventoryItem item{.patient = patient,
                     .study = found.study,
                     .series = series,
                     .modality = found.modality,
                     .files = found.files,
                     .state = InventoryState::kSetAside,
                     .reason = "",
                     .details = {}};
  for (const auto* notes : {&found.images, &found.labels}) {
    for (const FindingNote& note : *notes) {
      if (item.reason.empty()) item.reason = note.reason;
      item.details.push_back(TextOf(note));
    }
  }
  if (item.reason == RejectName(RejectReason::kHeldBack)) item.state = InventoryState::kHeldBack;
  if (item.reason.empty()) item.reason = "not_in_store";  // a case that was taken out by hand
  return item;
}

void AddFindings(const PatientFindings& findings, const Catalog& catalog, Inventory& inventory) {
  for (const auto& [series, found] : findings.series) {
    const auto at = std::lower_bound(
        catalog.cases.begin(), catalog.cases.end(), series,
        [](const CaseRecord& record, const std::string& id) { return record.case_id < id; });
    if (at != catalog.cases.end() && at->case_id == series) continue;
    if (std::binary_search(catalog.damaged.begin(), catalog.damaged.end(), series)) continue;
    inventory.items.push_back(OfFinding(findings.patient, series, found));
  }
  if (findings.withheld.empty()) return;
  inventory.items.push_back({.patient = findings.patient,
                             .study = "",
                             .series = "",
                             .modality = "",
                             .series_count = findings.withheld_series,
                             .files = findings.withheld_files,
                             .state = InventoryState::kSetAside,
                             .reason = findings.withheld,
                             .details = {}});
}

Json ToJson(const InventoryItem& item) {
  return {{"patient", item.patient},
          {"study", item.study},
          {"series", item.series},
          {"modality", item.modality},
          {"series_count", item.series_count},
          {"files", item.files},
          {"state", StateName(item.state)},
          {"reason", item.reason},
          {"details", item.details}};
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool IsInUse(const InventoryItem& item) {
  return item.state == InventoryState::kUsed || item.state == InventoryState::kPartly;
}

}  // namespace

const char* StateName(InventoryState state) {
  switch (state) {
    case InventoryState::kUsed:
      return "used";
    case InventoryState::kPartly:
      return "partly_used";
    case InventoryState::kSetAside:
      return "set_aside";
    case InventoryState::kHeldBack:
      return "held_back";
  }
  return "unknown";
}

int64_t Inventory::used() const { return std::count_if(items.begin(), items.end(), IsInUse); }

absl::StatusOr<Inventory> TakeInventory(const std::string& home, const Catalog& catalog) {
  CSL_ASSIGN_OR_RETURN(const PatientRegister patients, PatientRegister::Read(home));
  CSL_ASSIGN_OR_RETURN(std::vector<PatientFindings> kept, LoadFindings(home));
  Findings findings;
  for (PatientFindings& one : kept) findings[one.patient] = std::move(one);
  Inventory inventory;
  inventory.policy = PolicyName(patients.policy());
  for (const auto& [patient, mark] : patients.patients()) ++inventory.marks[MarkName(mark)];
  for (const CaseRecord& record : catalog.cases) {
    inventory.items.push_back(OfCase(record, Find(findings, record), patients));
  }
  for (const std::string& id : catalog.damaged) {
    inventory.items.push_back({.patient = "",
                               .study = "",
                               .series = id,
                               .modality = "",
                               .state = InventoryState::kSetAside,
                               .reason = "damaged",
                               .details = {"its record in the store is damaged"}});
  }
  for (const auto& [patient, one] : findings) AddFindings(one, catalog, inventory);
  std::sort(inventory.items.begin(), inventory.items.end(), [](const auto& a, const auto& b) {
    return std::tie(a.patient, a.study, a.series) < std::tie(b.patient, b.study, b.series);
  });
  for (const InventoryItem& item : inventory.items) {
    if (!IsInUse(item)) inventory.by_reason[item.reason] += item.series_count;
  }
  return inventory;
}

absl::StatusOr<int64_t> RemoveWithheld(const std::string& home, Catalog& catalog) {
  CSL_ASSIGN_OR_RETURN(const PatientRegister patients, PatientRegister::Read(home));
  return static_cast<int64_t>(std::erase_if(catalog.cases, [&](const CaseRecord& record) {
    return patients.Objection(record.patient).has_value();
  }));
}

std::vector<std::vector<std::string>> InventoryTable(const Inventory& inventory) {
  std::vector<std::vector<std::string>> rows;
  for (const InventoryItem& item : inventory.items) {
    if (item.state == InventoryState::kUsed) continue;
    if (rows.empty()) rows.push_back({"series", "patient", "study", "files", "state", "why"});
    std::string why = absl::StrJoin(item.details, "; ");
    rows.push_back(
        {item.series.empty() ? absl::StrCat("(", item.series_count, " series)") : item.series,
         item.patient, item.study, absl::StrCat(item.files), StateName(item.state),
         why.empty() ? item.reason : std::move(why)});
  }
  return rows;
}

std::string InventoryToJson(const Inventory& inventory) {
  Json series = Json::array();
  for (const InventoryItem& item : inventory.items) series.push_back(ToJson(item));
  return Dump({{"policy", inventory.policy},
               {"marks", inventory.marks},
               {"not_used", inventory.by_reason},
               {"series", series}});
}

}  // namespace consilium::agent
