// `consilium-agent patient`: opt-outs, consents, and the deletion of a patient.
#ifndef CONSILIUM_SITE_AGENT_PATIENT_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_PATIENT_COMMANDS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/base/cli.h"
#include "site_agent/receive/forget_patient.h"

namespace CLI {
class App;
}

namespace consilium::agent {

using PatientPrint =
    std::function<void(OutputFormat format, const std::vector<std::vector<std::string>>& table,
                       const std::string& json)>;
using PatientCommand = std::function<absl::Status()>;

// Adds the commands to `app`; parsing one sets `chosen` to what it does. `app` and `chosen` must
// outlive the parsing. Every change is recorded in the site's own log.
void AddPatientCommands(CLI::App& app, const PatientPrint& print,
                        const std::string& software_version, PatientCommand& chosen);

// Puts what was removed of a patient into the site's own log, by pseudonym.
absl::Status RecordForgotten(const std::string& home, absl::string_view software_version,
                             const PatientHoldings& removed);

// Finishes what a kill has interrupted. What cannot be finished now is logged, and is left to
// whoever comes next.
void ResumeForgetting(const std::string& home, absl::string_view software_version);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_PATIENT_COMMANDS_H_
