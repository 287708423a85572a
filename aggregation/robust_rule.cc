#include "aggregation/robust_rule.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace consilium::aggregation {
namespace {

constexpr int64_t kHostileMax = 10000;

constexpr std::array<std::pair<Rule, absl::string_view>, 9> kNames = {{
    {Rule::kWeightedMean, "weighted-mean"},
    {Rule::kNormBound, "norm-bound"},
    {Rule::kMedian, "median"},
    {Rule::kTrimmedMean, "trimmed-mean"},
    {Rule::kKrum, "krum"},
    {Rule::kMultiKrum, "multi-krum"},
    {Rule::kDnc, "dnc"},
    {Rule::kFlTrust, "fltrust"},
    {Rule::kGroupMedian, "group-median"},
}};

// Why UpdatesMin is what it is.
absl::string_view ReasonOfMin(Rule rule) {
  switch (rule) {
    case Rule::kWeightedMean:
      return "a mean of nothing is none";
    case Rule::kNormBound:
      return "hostile updates of the bound's length outweigh the others unless these are more";
    case Rule::kMedian:
      return "the middle value is only sure to lie among honest ones while these are more than "
             "half";
    case Rule::kTrimmedMean:
      return "f values are cut at each end, and one has to be left";
    case Rule::kKrum:
    case Rule::kMultiKrum:
      return "an update is judged by its n-f-2 nearest, which must be more than the hostile ones "
             "can be (n > 2f+2)";
    case Rule::kDnc:
      return "the direction in which updates differ most only tells honest from hostile while the "
             "honest are more than half";
    case Rule::kFlTrust:
      return "at least one update must be honest";
    case Rule::kGroupMedian:
      return "one hostile site spoils its group, and the groups without one must be more than half";
  }
  return "";
}

bool DropsByCount(Rule rule) {
  return rule == Rule::kTrimmedMean || rule == Rule::kMultiKrum || rule == Rule::kDnc;
}

}  // namespace

absl::string_view RuleName(Rule rule) {
  for (const auto& [named, name] : kNames) {
    if (named == rule) return name;
  }
  return "unknown";
}

absl::StatusOr<Rule> ParseRule(absl::string_view name) {
  for (const auto& [rule, known] : kNames) {
    if (known == name) return rule;
  }
  return absl::InvalidArgumentError("no aggregation rule has this name");
}

int64_t UpdatesMin(Rule rule, int64_t f) {
  switch (rule) {
    case Rule::kWeightedMean:
      return 1;
    case Rule::kNormBound:
    case Rule::kMedian:
    case Rule::kTrimmedMean:
    case Rule::kDnc:
      return 2 * f + 1;
    case Rule::kKrum:
    case Rule::kMultiKrum:
      return 2 * f + 3;
    case Rule::kFlTrust:
      return f + 1;
    case Rule::kGroupMedian:
      return kGroupSites * (2 * f + 1);
  }
  return 0;
}

absl::Status CheckRule(Rule rule, int64_t n, int64_t f) {
  if (f < 0 || f > kHostileMax) {
    return absl::FailedPreconditionError(
        absl::StrCat("the number of hostile sites must be 0 to ", kHostileMax));
  }
  if (rule == Rule::kWeightedMean && f > 0) {
    return absl::FailedPreconditionError(
        "weighted-mean holds against no hostile site: one alone can put the result anywhere");
  }
  if (f == 0 && DropsByCount(rule)) {
    return absl::FailedPreconditionError(
        absl::StrCat(RuleName(rule),
                     " leaves out as many updates as there are hostile sites: with 0 it is the "
                     "mean; set the number that the study has to stand"));
  }
  const int64_t n_min = UpdatesMin(rule, f);
  if (n >= n_min) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(RuleName(rule), " against ", f,
                                                    " hostile sites needs ", n_min,
                                                    " or more, not ", n, ": ", ReasonOfMin(rule)));
}

}  // namespace consilium::aggregation
