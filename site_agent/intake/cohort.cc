#include "site_agent/intake/cohort.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "site_agent/intake/case_channels.h"

namespace consilium::agent {
namespace {

bool HasEveryLabel(const CaseRecord& record, const wire::Plan& plan) {
  std::set<std::string> present;
  for (const std::string& label : record.segment_labels) {
    present.insert(absl::AsciiStrToLower(absl::StripAsciiWhitespace(label)));
  }
  return std::all_of(plan.labels.begin(), plan.labels.end(), [&](const wire::PlanLabel& label) {
    return present.contains(absl::AsciiStrToLower(label.name));
  });
}

// Where a patient stands in [0, 1): the same in every round, whoever else is in the store.
double PlaceOf(const CaseRecord& record, uint64_t seed) {
  const std::string& who = record.patient.empty() ? record.case_id : record.patient;
  const std::string hash = privacy::Sha256(absl::StrCat("validation\n", seed, "\n", who));
  return std::ldexp(static_cast<double>(LoadLe64(hash.data()) >> 11), -53);
}

void AssignRoles(const wire::PlanTraining& training, Cohort& cohort) {
  const double fraction = training.local_validation_fraction;
  if (cohort.labelled() < kValidationLabelledMin || fraction <= 0) return;
  std::set<double> labelled;  // places of the patients with a labelled case
  for (const CohortCase& item : cohort.cases) {
    if (item.labelled) labelled.insert(PlaceOf(item.record, training.seed));
  }
  if (labelled.size() < 2) return;
  // By its own place alone, so that data that comes later moves nobody from training to validation.
  // The first and the last patient keep either side from being empty.
  for (CohortCase& item : cohort.cases) {
    const double place = PlaceOf(item.record, training.seed);
    if (!labelled.contains(place) || place == *labelled.rbegin()) continue;
    if (place < fraction || place == *labelled.begin()) item.role = CaseRole::kValidation;
  }
}

}  // namespace

int64_t Cohort::labelled() const {
  return std::count_if(cases.begin(), cases.end(), [](const CohortCase& c) { return c.labelled; });
}

int64_t Cohort::validation() const {
  return std::count_if(cases.begin(), cases.end(),
                       [](const CohortCase& c) { return c.role == CaseRole::kValidation; });
}

absl::StatusOr<Cohort> SelectCohort(const Catalog& catalog, const wire::Plan& plan) {
  CSL_ASSIGN_OR_RETURN(ChannelMatches matches, MatchChannels(catalog, plan));
  Cohort cohort;
  cohort.rejected = std::move(matches.rejected);
  for (ChannelMatch& match : matches.cases) {
    const bool labelled = HasEveryLabel(match.reference, plan);
    cohort.cases.push_back({std::move(match.reference), labelled, CaseRole::kTraining,
                            std::move(match.channels)});
  }
  for (const std::string& case_id : catalog.damaged) {
    cohort.rejected.push_back({case_id, "its record in the store is damaged"});
  }
  std::sort(cohort.rejected.begin(), cohort.rejected.end(),
            [](const RejectedCase& a, const RejectedCase& b) { return a.case_id < b.case_id; });
  AssignRoles(plan.training, cohort);
  return cohort;
}

std::vector<std::vector<std::string>> CohortTable(const Cohort& cohort) {
  std::vector<std::vector<std::string>> rows = {{"case", "used for", "labelled", "why not"}};
  for (const CohortCase& item : cohort.cases) {
    rows.push_back({item.record.case_id,
                    item.role == CaseRole::kValidation ? "validation" : "training",
                    item.labelled ? "yes" : "no", ""});
  }
  for (const CohortCase& item : cohort.cases) {
    for (size_t c = 0; c < item.channels.size(); ++c) {
      rows.push_back({item.channels[c].case_id,
                      absl::StrCat("channel ", c + 2, " of ", item.record.case_id), "", ""});
    }
  }
  for (const RejectedCase& item : cohort.rejected) {
    rows.push_back({item.case_id, "nothing", "", item.reason});
  }
  return rows;
}

}  // namespace consilium::agent
