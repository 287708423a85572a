// `consilium-agent audit`, and what other commands put into the site's own log.
#ifndef CONSILIUM_SITE_AGENT_AUDIT_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_AUDIT_COMMANDS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/receive/intake_feed.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {

// With the names of the federation and site, if the home is enrolled.
absl::StatusOr<std::unique_ptr<SiteLog>> OpenSiteLog(const std::string& home,
                                                     absl::string_view software_version);
absl::Status RecordEnrolment(const std::string& home, absl::string_view software_version);
// Counts only.
SiteEvent IngestEvent(const IngestReport& report);
// The same of what one patient's received objects became, by the quarantine's pseudonym.
SiteEvent ReceivedEvent(const PatientOutcome& outcome);

std::vector<std::vector<std::string>> EventTable(const std::vector<std::string>& events);
std::string EventsToJson(const std::vector<std::string>& events);
std::vector<std::vector<std::string>> SummaryTable(const SiteLogSummary& summary);
std::string SummaryToJson(const SiteLogSummary& summary);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_AUDIT_COMMANDS_H_
