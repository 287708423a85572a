// Deletes everything that a home has of one patient, and keeps the patient out from then on.
//
// What goes: cases of the store, their prepared samples, files in quarantine and in queues of held
// files, and what intake has kept of the patient's series. What stays, by pseudonym: the mark in
// the register that keeps the patient out, the site's own log, and the ledger of privacy spent. A
// trained model and an update that is made keep what they learned; nothing here takes that back.
//
// HOME/forgetting/<pseudonym>.json names a deletion that has begun and the cases that it began
// with. It is written before anything else is done and removed after everything is, so that whoever
// comes next (the service, an ingest, listen, a patient command) finishes what a kill interrupted.
//
// Privacy: pseudonyms and counts only.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_FORGET_PATIENT_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_FORGET_PATIENT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {

// What lies in a home of one patient.
struct PatientHoldings {
  std::string patient;             // pseudonym
  std::vector<std::string> cases;  // of the store
  int64_t cached_files = 0;        // prepared samples of them
  int64_t quarantined_files = 0;
  int64_t held_files = 0;
  int64_t series_known = 0;      // that intake has kept something of
  int64_t unreadable_cases = 0;  // cases of the store that do not say whose they are
};

// Changes nothing: a dry run. INVALID_ARGUMENT: no pseudonym. Errors of the disk.
absl::StatusOr<PatientHoldings> FindHoldings(const std::string& home, const std::string& patient);

// Keeps the patient out and writes down that everything has to go. Durable on return.
absl::Status BeginForgetting(const std::string& home, const std::string& patient);

// Takes what was removed into the site's own log, durably; after a kill it may get a patient twice.
using ForgottenSink = std::function<absl::Status(const PatientHoldings& removed)>;

// Finishes every deletion that has begun. `own` is the caller's quarantine, null if it has none
// open. FAILED_PRECONDITION: an ingest is running, or another process has the quarantine and
// something of a patient is in it; what is left is finished by the next call, of that process too.
absl::Status FinishForgetting(const std::string& home, Quarantine* own, const ForgottenSink& sink);

// Patients whose deletion has begun and not ended.
absl::StatusOr<std::vector<std::string>> BeingForgotten(const std::string& home);

std::vector<std::vector<std::string>> HoldingsTable(const std::vector<PatientHoldings>& holdings);
std::string HoldingsToJson(const std::vector<PatientHoldings>& holdings);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_FORGET_PATIENT_H_
