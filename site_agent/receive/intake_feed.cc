#include "site_agent/receive/intake_feed.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

absl::Status TakePatient(const std::string& home, Quarantine& quarantine,
                         const std::string& patient, absl::Time before, const OutcomeSink& sink,
                         const std::atomic<bool>* stop) {
  const absl::StatusOr<std::string> folder = quarantine.BeginTaking(patient, before);
  if (absl::IsAborted(folder.status())) return absl::OkStatus();  // at another time
  CSL_RETURN_IF_ERROR(folder.status());
  PatientOutcome outcome{patient, {}};
  CSL_ASSIGN_OR_RETURN(outcome.report, Ingest(home, {*folder}, {}, nullptr, stop));
  if (outcome.report.files_seen > 0) CSL_RETURN_IF_ERROR(sink(outcome));
  return quarantine.FinishTaking(patient);
}

absl::Status TakeBegun(const std::string& home, Quarantine& quarantine, const OutcomeSink& sink,
                       const std::atomic<bool>* stop) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> begun, quarantine.Begun());
  for (const std::string& patient : begun) {
    CSL_RETURN_IF_ERROR(TakePatient(home, quarantine, patient, absl::InfiniteFuture(), sink, stop));
  }
  return absl::OkStatus();
}

std::string Reasons(const IngestReport& report) {
  std::string text;
  for (const auto& [reason, count] : report.rejected) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", RejectName(reason), " ", count.series,
                    " series ", count.files, " files");
  }
  return text;
}

}  // namespace

absl::Status TakeSettled(const std::string& home, Quarantine& quarantine, absl::Time before,
                         const OutcomeSink& sink, const std::atomic<bool>* stop) {
  CSL_RETURN_IF_ERROR(TakeBegun(home, quarantine, sink, stop));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> settled, quarantine.Settled(before));
  for (const std::string& patient : settled) {
    CSL_RETURN_IF_ERROR(TakePatient(home, quarantine, patient, before, sink, stop));
  }
  return absl::OkStatus();
}

absl::Status TakeStudy(const std::string& home, Quarantine& quarantine,
                       const std::string& study_uid, const OutcomeSink& sink,
                       const std::atomic<bool>* stop) {
  CSL_RETURN_IF_ERROR(TakeBegun(home, quarantine, sink, stop));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> patients, quarantine.PatientsOf(study_uid));
  for (const std::string& patient : patients) {
    CSL_RETURN_IF_ERROR(TakePatient(home, quarantine, patient, absl::InfiniteFuture(), sink, stop));
  }
  return absl::OkStatus();
}

std::string OutcomeText(const IngestReport& report) {
  const std::string reasons = Reasons(report);
  return absl::StrCat("files ", report.files_seen, ", cases added ", report.cases_added, " (",
                      report.cases_added_labelled, " labelled), labels added ", report.labels_added,
                      ", already there ", report.already_in_store,
                      reasons.empty() ? "" : ", not taken: ", reasons);
}

std::string OutcomeToJson(const PatientOutcome& outcome) {
  return absl::StrCat("{\"patient\": \"", outcome.patient,
                      "\", \"report\": ", IngestToJson(outcome.report), "}");
}

std::vector<std::string> OutcomeHeading() {
  return {"PATIENT", "FILES", "CASES", "LABELLED", "ALREADY THERE", "NOT TAKEN"};
}

std::vector<std::string> OutcomeRow(const PatientOutcome& outcome) {
  const IngestReport& report = outcome.report;
  return {outcome.patient,
          absl::StrCat(report.files_seen),
          absl::StrCat(report.cases_added),
          absl::StrCat(report.cases_added_labelled + report.labels_added),
          absl::StrCat(report.already_in_store),
          Reasons(report)};
}

}  // namespace consilium::agent
