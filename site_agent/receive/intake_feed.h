// From the quarantine to the intake that `ingest` uses.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_INTAKE_FEED_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_INTAKE_FEED_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {

// What became of the objects of one patient.
struct PatientOutcome {
  std::string patient;  // the quarantine's pseudonym
  IngestReport report;
};
using OutcomeSink = std::function<absl::Status(const PatientOutcome&)>;

// Hands the objects of each patient that have settled (see Quarantine) by `before` to intake, in
// one go, so that all their words are known when each is de-identified. After `sink` has taken the
// outcome the objects are gone, whether they became cases or not: the hospital's archive still has
// them. A failure of ours, or of `sink`, leaves them for the next call. FAILED_PRECONDITION:
// another ingest is running. CANCELLED: `stop` (may be null) became true.
absl::Status TakeSettled(const std::string& home, Quarantine& quarantine, absl::Time before,
                         const OutcomeSink& sink, const std::atomic<bool>* stop);

// The same for the patients of one study, at once: it is whole. Others wait for their turn.
absl::Status TakeStudy(const std::string& home, Quarantine& quarantine,
                       const std::string& study_uid, const OutcomeSink& sink,
                       const std::atomic<bool>* stop);

// One line of text for the site's log: counts, and each reason by its name.
std::string OutcomeText(const IngestReport& report);
// {"patient": ..., "report": {...}}
std::string OutcomeToJson(const PatientOutcome& outcome);
// A row for FormatTable with `OutcomeHeading` on top: patient, files, cases, labelled, not taken.
std::vector<std::string> OutcomeHeading();
std::vector<std::string> OutcomeRow(const PatientOutcome& outcome);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_INTAKE_FEED_H_
