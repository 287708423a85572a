// Which cases of the store a plan trains on.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_COHORT_H_
#define CONSILIUM_SITE_AGENT_INTAKE_COHORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/intake/case_channels.h"
#include "site_agent/intake/catalog.h"

namespace consilium::agent {

enum class CaseRole { kTraining, kValidation };

struct CohortCase {
  CaseRecord record;
  bool labelled = false;  // has a segment for every label of the plan
  CaseRole role = CaseRole::kTraining;
  std::vector<CaseRecord> channels = {};  // the further input channels, in the plan's order
};


struct Cohort {
  std::vector<CohortCase> cases;       // by case id
  std::vector<RejectedCase> rejected;  // by case id
  int64_t labelled() const;
  int64_t validation() const;
};

// Applies the plan's modality and series rules, and finds the further channels (MatchChannels). A
// case whose segmentation lacks a label of the plan
// stays in, unlabelled. Of the patients with a labelled case about
// plan.training.local_validation_fraction become local validation, with all their cases: those whose
// hash of pseudonym and plan seed is below the fraction, so that a patient stays on one side when
// others join. None when fewer than kValidationLabelledMin cases are labelled, the fraction is 0 or
// there is one such patient; else at least the patient with the smallest hash, never the one with
// the greatest.
// INVALID_ARGUMENT: a condition of the plan that cannot be read ("<= many").
absl::StatusOr<Cohort> SelectCohort(const Catalog& catalog, const wire::Plan& plan);

inline constexpr int64_t kValidationLabelledMin = 5;

// Rows for FormatTable.
std::vector<std::vector<std::string>> CohortTable(const Cohort& cohort);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_COHORT_H_
