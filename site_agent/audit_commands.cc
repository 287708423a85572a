#include "site_agent/audit_commands.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"
#include "site_agent/agent_options.h"
#include "site_agent/uplink/enrol.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(const Json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end()) return "";
  return it->is_string() ? it->get<std::string>() : it->dump();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SiteLog>> OpenSiteLog(const std::string& home,
                                                     absl::string_view software_version) {
  SiteLog::Options options{.home = home, .software_version = std::string(software_version)};
  const absl::StatusOr<AgentOptions> agent = ReadAgentOptions(home);
  if (agent.ok()) {
    options.federation = agent->federation;
    options.site = agent->site;
  } else if (!absl::IsNotFound(agent.status())) {
    return agent.status();
  }
  return SiteLog::Open(options, Clock::System());
}

absl::Status RecordEnrolment(const std::string& home, absl::string_view software_version) {
  CSL_ASSIGN_OR_RETURN(const SiteIdentity identity, ReadIdentity(home));
  CSL_ASSIGN_OR_RETURN(const std::string key, privacy::SpkiSha256Hex(identity.certificate_pem));
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(home, software_version));
  return log->Record({.action = "site.enrol", .digest = key});
}

SiteEvent IngestEvent(const IngestReport& report) {
  int64_t rejected = 0;
  for (const auto& [reason, count] : report.rejected) rejected += count.series;
  return {.action = "ingest.run",
          .after = absl::StrCat("files seen ", report.files_seen, ", cases added ",
                                report.cases_added, " (", report.cases_added_labelled,
                                " labelled), labels added ", report.labels_added,
                                ", already there ", report.already_in_store,
                                ", series rejected ", rejected),
          .count = report.cases_added};
}

SiteEvent ReceivedEvent(const PatientOutcome& outcome) {
  return {.action = "ingest.run",
          .after = OutcomeText(outcome.report),
          .request = outcome.patient,
          .count = outcome.report.cases_added};
}

std::vector<std::vector<std::string>> EventTable(const std::vector<std::string>& events) {
  std::vector<std::vector<std::string>> table = {
      {"INDEX", "TIME", "ACTION", "OUTCOME", "STUDY", "ROUND", "DETAIL"}};
  for (const std::string& event : events) {
    const Json json = Json::parse(event, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;
    const int64_t time_us = json.value("time_us", int64_t{0});
    std::string detail = Text(json, "reason");
    if (detail.empty()) detail = Text(json, "after");
    if (detail.empty()) detail = Text(json, "digest").substr(0, 16);
    table.push_back({Text(json, "index"),
                     absl::FormatTime(absl::RFC3339_sec, absl::FromUnixMicros(time_us),
                                      absl::UTCTimeZone()),
                     Text(json, "action"), Text(json, "outcome"), Text(json, "study"),
                     Text(json, "round"), detail});
  }
  return table;
}

std::string EventsToJson(const std::vector<std::string>& events) {
  Json list = Json::array();
  for (const std::string& event : events) {
    list.push_back(Json::parse(event, nullptr, /*allow_exceptions=*/false));
  }
  return list.dump(2) + "\n";
}

std::vector<std::vector<std::string>> SummaryTable(const SiteLogSummary& summary) {
  return {{"WHAT", "VALUE"},
          {"entries", absl::StrCat(summary.entries)},
          {"log", summary.origin},
          {"key", summary.vkey},
          {"root", summary.root_hex},
          {"verdict", "every entry is as it was signed"}};
}

std::string SummaryToJson(const SiteLogSummary& summary) {
  Json json;
  json["entries"] = summary.entries;
  json["log"] = summary.origin;
  json["key"] = summary.vkey;
  json["root"] = summary.root_hex;
  return json.dump(2) + "\n";
}

}  // namespace consilium::agent
