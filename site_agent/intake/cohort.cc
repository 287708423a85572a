#include "site_agent/intake/cohort.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

struct Condition {
  enum class Kind { kEquals, kNotEquals, kAtMost, kAtLeast, kBelow, kAbove };
  Kind kind = Kind::kEquals;
  std::string text;
  double number = 0;
};

// wire::CheckPlan holds a plan to the same grammar, and to the keywords that a header delivers.
absl::StatusOr<Condition> ParseCondition(const wire::SeriesRule& rule) {
  struct Operator {
    absl::string_view sign;
    Condition::Kind kind;
  };
  // "<=" before "<".
  constexpr Operator operators[] = {{"<=", Condition::Kind::kAtMost},
                                    {">=", Condition::Kind::kAtLeast},
                                    {"<", Condition::Kind::kBelow},
                                    {">", Condition::Kind::kAbove}};
  Condition condition;
  const absl::string_view text = absl::StripAsciiWhitespace(rule.condition);
  for (const Operator& op : operators) {
    if (!absl::StartsWith(text, op.sign)) continue;
    condition.kind = op.kind;
    const absl::string_view number = absl::StripAsciiWhitespace(text.substr(op.sign.size()));
    if (!absl::SimpleAtod(number, &condition.number) || !std::isfinite(condition.number)) {
      return absl::InvalidArgumentError(absl::StrCat("plan: series_rules: ", rule.keyword, ": '",
                                                     rule.condition, "' needs a number"));
    }
    return condition;
  }
  const bool negated = absl::StartsWith(text, "!");
  condition.kind = negated ? Condition::Kind::kNotEquals : Condition::Kind::kEquals;
  condition.text = std::string(absl::StripAsciiWhitespace(text.substr(negated ? 1 : 0)));
  if (condition.text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan: series_rules: ", rule.keyword, ": the condition is empty"));
  }
  return condition;
}

bool Compare(const Condition& condition, double value) {
  switch (condition.kind) {
    case Condition::Kind::kAtMost: return value <= condition.number;
    case Condition::Kind::kAtLeast: return value >= condition.number;
    case Condition::Kind::kBelow: return value < condition.number;
    case Condition::Kind::kAbove: return value > condition.number;
    default: return false;
  }
}

bool Meets(const Condition& condition, const std::vector<std::string>& values) {
  const bool has = std::find(values.begin(), values.end(), condition.text) != values.end();
  if (condition.kind == Condition::Kind::kEquals) return has;
  if (condition.kind == Condition::Kind::kNotEquals) return !has;
  // Every value has to hold: EchoTime 5\90 does not meet "<= 20".
  return !values.empty() &&
         std::all_of(values.begin(), values.end(), [&](const std::string& value) {
           double number = 0;
           return absl::SimpleAtod(value, &number) && Compare(condition, number);
         });
}

using Rules = std::vector<std::pair<wire::SeriesRule, Condition>>;

// What is wrong with the case, or nothing.
std::optional<std::string> Objection(const CaseRecord& record, const wire::Plan& plan,
                                     const Rules& rules) {
  if (record.modality != plan.modality) return absl::StrCat("modality is not ", plan.modality);
  for (const auto& [rule, condition] : rules) {
    const auto found = record.attributes.find(rule.keyword);
    const bool known = found != record.attributes.end() && !found->second.empty();
    if (Meets(condition, known ? found->second : std::vector<std::string>())) continue;
    return absl::StrCat(rule.keyword, ": ", known ? "is not " : "not known, must be ",
                        rule.condition);
  }
  return std::nullopt;
}

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
  Rules rules;
  for (const wire::SeriesRule& rule : plan.series_rules) {
    CSL_ASSIGN_OR_RETURN(Condition condition, ParseCondition(rule));
    rules.emplace_back(rule, std::move(condition));
  }
  Cohort cohort;
  for (const CaseRecord& record : catalog.cases) {
    if (std::optional<std::string> objection = Objection(record, plan, rules)) {
      cohort.rejected.push_back({record.case_id, *std::move(objection)});
    } else {
      cohort.cases.push_back({record, HasEveryLabel(record, plan), CaseRole::kTraining});
    }
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
  for (const RejectedCase& item : cohort.rejected) {
    rows.push_back({item.case_id, "nothing", "", item.reason});
  }
  return rows;
}

}  // namespace consilium::agent
