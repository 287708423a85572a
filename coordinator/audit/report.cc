#include "coordinator/audit/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::ordered_json;

// What was read from a file can hold anything; it must not move a terminal's cursor.
std::string Printable(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out;
}

void Add(std::vector<AuditFinding>& list, uint64_t& count, std::optional<uint64_t> index,
         std::string what) {
  ++count;
  if (list.size() < kFindingsMax) list.push_back({index, std::move(what)});
}

std::string Line(const AuditFinding& finding) {
  return finding.index ? absl::StrCat("entry ", *finding.index, ": ", Printable(finding.what), "\n")
                       : absl::StrCat(Printable(finding.what), "\n");
}

Json Findings(const std::vector<AuditFinding>& findings) {
  Json list = Json::array();
  for (const AuditFinding& finding : findings) {
    Json one = {{"index", nullptr}, {"what", finding.what}};
    if (finding.index) one["index"] = *finding.index;
    list.push_back(one);
  }
  return list;
}

}  // namespace

void AuditReport::Fault(std::optional<uint64_t> at, std::string what) {
  Add(faults, fault_count, at, std::move(what));
}

void AuditReport::Flag(std::optional<uint64_t> at, std::string what) {
  Add(flags, flag_count, at, std::move(what));
}

const AuditFinding* AuditReport::FirstFault() const {
  const AuditFinding* first = faults.empty() ? nullptr : faults.data();
  for (const AuditFinding& fault : faults) {
    if (fault.index && (!first->index || *fault.index < *first->index)) first = &fault;
  }
  return first;
}

std::string FormatReport(const AuditReport& report) {
  std::string out = absl::StrCat("log         ", Printable(report.origin), "\n");
  absl::StrAppend(&out, "checkpoint  ", report.size, " entries, root ", report.root, "\n");
  absl::StrAppend(&out, "signed by   ",
                  report.log_key.empty() ? "nobody that the policy names"
                                         : Printable(report.log_key), "\n");
  absl::StrAppend(&out, "witnesses   ", report.witnesses.size(),
                  report.witnesses.empty() ? "" : ": ",
                  Printable(absl::StrJoin(report.witnesses, ", ")), "\n");
  if (report.kind == "export") {
    absl::StrAppend(&out, "range       [", report.from, ", ", report.to, ")\n");
    absl::StrAppend(&out, "filter      ",
                    report.filter.empty() ? "none" : Printable(report.filter), "\n");
    absl::StrAppend(&out, "entries     ", report.shown, " of ", report.shown + report.withheld,
                    " shown, ", report.withheld, " withheld, ", report.disclosed,
                    " values disclosed\n");
  }
  if (report.kind == "proof" && report.index) {
    absl::StrAppend(&out, "entry       ", *report.index, "\n            ", Printable(report.entry),
                    "\n");
  }
  if (!report.consistency.empty()) {
    absl::StrAppend(&out, "older       ", Printable(report.consistency), "\n");
  }
  for (const AuditFinding& flag : report.flags) absl::StrAppend(&out, "flag        ", Line(flag));
  if (report.flag_count > report.flags.size()) {
    absl::StrAppend(&out, "flag        ... ", report.flag_count, " in all\n");
  }
  for (const AuditFinding& fault : report.faults) absl::StrAppend(&out, "FAULT       ", Line(fault));
  if (report.fault_count > report.faults.size()) {
    absl::StrAppend(&out, "FAULT       ... ", report.fault_count, " in all\n");
  }
  const AuditFinding* first = report.FirstFault();
  if (first == nullptr) return out + "verified\n";
  if (first->index) return absl::StrCat(out, "NOT VERIFIED: first bad entry ", *first->index, "\n");
  return out + "NOT VERIFIED\n";
}

std::string ReportJson(const AuditReport& report) {
  Json json = {{"ok", report.ok()},         {"kind", report.kind},
               {"origin", report.origin},   {"size", report.size},
               {"root", report.root},       {"log_key", report.log_key},
               {"witnesses", report.witnesses}};
  if (report.kind == "export") {
    json.update({{"from", report.from}, {"to", report.to}, {"filter", report.filter},
                 {"shown", report.shown}, {"withheld", report.withheld},
                 {"disclosed", report.disclosed}});
  }
  if (report.index) json.update({{"index", *report.index}, {"entry", report.entry}});
  if (!report.consistency.empty()) json["consistency"] = report.consistency;
  json["flags"] = Findings(report.flags);
  json["flag_count"] = report.flag_count;
  json["faults"] = Findings(report.faults);
  json["fault_count"] = report.fault_count;
  const AuditFinding* first = report.FirstFault();
  json["first_bad_index"] = nullptr;
  if (first != nullptr && first->index) json["first_bad_index"] = *first->index;
  json["what"] = first == nullptr ? "" : first->what;
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace consilium::coordinator
