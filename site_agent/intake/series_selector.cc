#include "site_agent/intake/series_selector.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "proto/wire/normalisation.h"

namespace consilium::agent {

// wire::CheckPlan holds a plan to the same grammar, and to the keywords that a header delivers.
absl::StatusOr<SeriesSelector::Condition> SeriesSelector::ParseCondition(
    const wire::SeriesRule& rule) {
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

bool SeriesSelector::Compare(const Condition& condition, double value) {
  switch (condition.kind) {
    case Condition::Kind::kAtMost:
      return value <= condition.number;
    case Condition::Kind::kAtLeast:
      return value >= condition.number;
    case Condition::Kind::kBelow:
      return value < condition.number;
    case Condition::Kind::kAbove:
      return value > condition.number;
    default:
      return false;
  }
}

bool SeriesSelector::Meets(const Condition& condition, const std::vector<std::string>& values) {
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

absl::StatusOr<SeriesSelector> SeriesSelector::Create(const wire::PlanChannel& channel) {
  SeriesSelector selector;
  selector.modality_ = channel.modality;
  for (const wire::SeriesRule& rule : channel.series_rules) {
    CSL_ASSIGN_OR_RETURN(Condition condition, ParseCondition(rule));
    selector.rules_.emplace_back(rule, std::move(condition));
  }
  CSL_ASSIGN_OR_RETURN(const wire::Normalisation how,
                       wire::ParseNormalisation(channel.normalisation));
  selector.needs_suv_ = how.unit == wire::Normalisation::Unit::kSuvBodyWeight;
  return selector;
}

std::optional<std::string> SeriesSelector::Objection(const CaseRecord& record) const {
  if (record.modality != modality_) return absl::StrCat("modality is not ", modality_);
  for (const auto& [rule, condition] : rules_) {
    const auto found = record.attributes.find(rule.keyword);
    const bool known = found != record.attributes.end() && !found->second.empty();
    if (Meets(condition, known ? found->second : std::vector<std::string>())) continue;
    return absl::StrCat(rule.keyword, ": ", known ? "is not " : "not known, must be ",
                        rule.condition);
  }
  if (needs_suv_ && !(record.pet.suv_factor > 0)) {
    return absl::StrCat("no SUV: ", record.pet.suv_refusal);
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<SeriesSelector>> SelectorsOf(const wire::Plan& plan) {
  std::vector<wire::PlanChannel> channels = {
      {plan.modality, plan.series_rules, plan.normalisation}};
  channels.insert(channels.end(), plan.channels.begin(), plan.channels.end());
  std::vector<SeriesSelector> selectors;
  for (const wire::PlanChannel& channel : channels) {
    CSL_ASSIGN_OR_RETURN(SeriesSelector selector, SeriesSelector::Create(channel));
    selectors.push_back(std::move(selector));
  }
  return selectors;
}

}  // namespace consilium::agent
