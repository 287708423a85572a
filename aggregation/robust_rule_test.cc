#include "aggregation/robust_rule.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

using ::testing::HasSubstr;

constexpr Rule kAll[] = {Rule::kWeightedMean, Rule::kNormBound, Rule::kMedian,
                         Rule::kTrimmedMean,  Rule::kKrum,      Rule::kMultiKrum,
                         Rule::kDnc,          Rule::kFlTrust,   Rule::kGroupMedian};

TEST(RobustRuleTest, EveryNameIsParsedBack) {
  for (const Rule rule : kAll) {
    const absl::StatusOr<Rule> parsed = ParseRule(RuleName(rule));
    ASSERT_TRUE(parsed.ok()) << RuleName(rule);
    EXPECT_EQ(*parsed, rule);
  }
  EXPECT_FALSE(ParseRule("mean").ok());
  EXPECT_FALSE(ParseRule("").ok());
}

TEST(RobustRuleTest, HoldsFromTheFewestUpdatesOnAndNotBelow) {
  for (const Rule rule : kAll) {
    if (rule == Rule::kWeightedMean) continue;
    for (int64_t f = 1; f <= 5; ++f) {
      const int64_t n_min = UpdatesMin(rule, f);
      EXPECT_TRUE(CheckRule(rule, n_min, f).ok()) << RuleName(rule) << " f=" << f;
      EXPECT_EQ(CheckRule(rule, n_min - 1, f).code(), absl::StatusCode::kFailedPrecondition);
    }
  }
  EXPECT_TRUE(CheckRule(Rule::kMultiKrum, 7, 2).ok());
  EXPECT_FALSE(CheckRule(Rule::kMultiKrum, 6, 2).ok());  // n > 2f+2
  EXPECT_TRUE(CheckRule(Rule::kGroupMedian, 20, 2).ok());
  EXPECT_FALSE(CheckRule(Rule::kGroupMedian, 19, 2).ok());
}

TEST(RobustRuleTest, SaysWhyInWords) {
  const std::string reason(CheckRule(Rule::kMultiKrum, 4, 1).message());
  EXPECT_THAT(reason, HasSubstr("multi-krum"));
  EXPECT_THAT(reason, HasSubstr("needs 5"));
  EXPECT_THAT(reason, HasSubstr("not 4"));
  EXPECT_THAT(std::string(CheckRule(Rule::kWeightedMean, 10, 1).message()),
              HasSubstr("no hostile site"));
}

TEST(RobustRuleTest, RefusesNumbersThatMeanNothing) {
  EXPECT_FALSE(CheckRule(Rule::kMedian, 10, -1).ok());
  EXPECT_FALSE(CheckRule(Rule::kMedian, 10, INT64_MAX).ok());
  EXPECT_FALSE(CheckRule(Rule::kTrimmedMean, 10, 0).ok());
  EXPECT_FALSE(CheckRule(Rule::kWeightedMean, 0, 0).ok());
  EXPECT_TRUE(CheckRule(Rule::kWeightedMean, 1, 0).ok());
}

}  // namespace
}  // namespace consilium::aggregation
