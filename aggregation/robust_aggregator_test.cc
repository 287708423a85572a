#include "aggregation/robust_aggregator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

using ::testing::HasSubstr;

using Updates = std::vector<std::vector<float>>;

constexpr size_t kParameters = 3 * static_cast<size_t>(kCellParameters) + 1234;

Updates RandomUpdates(size_t n, size_t parameters = kParameters) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0.002f, 0.01f);
  Updates updates(n, std::vector<float>(parameters));
  for (auto& update : updates) {
    for (float& value : update) value = normal(random);
  }
  return updates;
}

std::vector<absl::Span<const float>> RowsOf(const Updates& updates, size_t at, size_t count) {
  std::vector<absl::Span<const float>> rows;
  for (const auto& update : updates) rows.push_back(absl::MakeConstSpan(update).subspan(at, count));
  return rows;
}

RobustOptions OptionsOf(Rule rule, int64_t f) {
  return {.rule = rule,
          .hostile_max = f,
          .norm_max = 0.9,
          .dnc = {.seed = "seed", .sample_parameters = 500}};
}

std::unique_ptr<RobustAggregator> Make(const RobustOptions& options, const Updates& updates) {
  auto rule = RobustAggregator::Create(options, static_cast<int64_t>(updates.front().size()),
                                       std::vector<int64_t>(updates.size(), 1000));
  EXPECT_TRUE(rule.ok()) << rule.status();
  return rule.ok() ? *std::move(rule) : nullptr;
}

// The whole of one round, its first pass in blocks of `block` from both ends by two threads.
std::vector<double> FactorsInBlocks(const RobustOptions& options, const Updates& updates,
                                    const std::vector<float>& root, size_t block) {
  const auto rule = Make(options, updates);
  const size_t parameters = updates.front().size();
  const size_t blocks = (parameters + block - 1) / block;
  const auto observe = [&](size_t index) {
    const size_t at = index * block;
    const size_t count = std::min(block, parameters - at);
    const auto of_root = rule->NeedsRoot() ? absl::MakeConstSpan(root).subspan(at, count)
                                           : absl::Span<const float>();
    EXPECT_TRUE(rule->Observe(static_cast<int64_t>(at), RowsOf(updates, at, count), of_root).ok());
  };
  std::thread other([&] {
    for (size_t index = blocks; index-- > blocks / 2;) observe(index);
  });
  for (size_t index = 0; index < blocks / 2; ++index) observe(index);
  other.join();
  const absl::StatusOr<Decision> decision = rule->Decide();
  EXPECT_TRUE(decision.ok()) << decision.status();
  return decision.ok() ? decision->Factors() : std::vector<double>();
}

TEST(RobustAggregatorTest, ThreadsAndBlocksDoNotChangeABit) {
  const Updates updates = RandomUpdates(11);
  const std::vector<float> root = RandomUpdates(12).back();
  for (const Rule rule : {Rule::kNormBound, Rule::kMultiKrum, Rule::kDnc, Rule::kFlTrust}) {
    const std::vector<double> whole =
        FactorsInBlocks(OptionsOf(rule, 2), updates, root, kParameters);
    for (const int64_t cells : {1, 2}) {
      const auto block = static_cast<size_t>(cells * kCellParameters);
      EXPECT_EQ(FactorsInBlocks(OptionsOf(rule, 2), updates, root, block), whole) << RuleName(rule);
    }
    // The same odd blocks give the same bits; against other blocks the sums differ by rounding.
    const std::vector<double> odd = FactorsInBlocks(OptionsOf(rule, 2), updates, root, 777);
    EXPECT_EQ(FactorsInBlocks(OptionsOf(rule, 2), updates, root, 777), odd);
    for (size_t i = 0; i < odd.size(); ++i) EXPECT_NEAR(odd[i], whole[i], 1e-9) << RuleName(rule);
  }
}

TEST(RobustAggregatorTest, MultiKrumLeavesOutTheOutliersAndSaysSo) {
  Updates updates = RandomUpdates(7);
  for (float& value : updates[4]) value *= -5;
  for (float& value : updates[6]) value += 0.1f;
  const auto rule = Make(OptionsOf(Rule::kMultiKrum, 2), updates);
  ASSERT_TRUE(rule->Observe(0, RowsOf(updates, 0, kParameters)).ok());
  const absl::StatusOr<Decision> decision = rule->Decide();
  ASSERT_TRUE(decision.ok());
  for (size_t i = 0; i < 7; ++i) {
    const UpdateVerdict& verdict = decision->updates[i];
    EXPECT_EQ(verdict.dropped, i == 4 || i == 6) << i;
    EXPECT_DOUBLE_EQ(verdict.factor, verdict.dropped ? 0 : 0.2);
    EXPECT_EQ(verdict.reason.empty(), !verdict.dropped);
  }
  EXPECT_THAT(decision->updates[4].reason, HasSubstr("rank 6 of 7; kept were 5"));
}

TEST(RobustAggregatorTest, WeightsCountAmongWhatWasKept) {
  Updates updates = RandomUpdates(5, 100);
  for (float& value : updates[0]) value = 10;
  auto rule =
      RobustAggregator::Create(OptionsOf(Rule::kMultiKrum, 1), 100, {9000, 1000, 2000, 3000, 4000});
  ASSERT_TRUE(rule.ok());
  ASSERT_TRUE((*rule)->Observe(0, RowsOf(updates, 0, 100)).ok());
  const absl::StatusOr<Decision> decision = (*rule)->Decide();
  ASSERT_TRUE(decision.ok());
  EXPECT_THAT(decision->Factors(), testing::ElementsAre(0, 0.1, 0.2, 0.3, 0.4));
}

TEST(RobustAggregatorTest, NormBoundCutsOnlyWhatIsLonger) {
  const Updates updates = {{0.3f, 0.4f}, {3, 4}, {0, 0}, {-0.6f, 0.8f}};
  const auto rule = Make({.rule = Rule::kNormBound, .hostile_max = 1, .norm_max = 1}, updates);
  ASSERT_TRUE(rule->Observe(0, RowsOf(updates, 0, 2)).ok());
  const absl::StatusOr<Decision> decision = rule->Decide();
  ASSERT_TRUE(decision.ok());
  EXPECT_DOUBLE_EQ(decision->updates[0].factor, 0.25);
  EXPECT_NEAR(decision->updates[1].factor, 0.05, 1e-12);
  EXPECT_THAT(decision->updates[1].reason, HasSubstr("norm 5 was cut to 1"));
  EXPECT_DOUBLE_EQ(decision->updates[2].factor, 0.25);
}

TEST(RobustAggregatorTest, FlTrustGivesNothingToTheOppositeOrTheEmpty) {
  const Updates updates = {{1, 0}, {-9, 0}, {0, 0}, {6, 8}, {1e-11f, 0}};
  const std::vector<float> root = {2, 0};
  const auto rule = Make({.rule = Rule::kFlTrust, .hostile_max = 4}, updates);
  ASSERT_TRUE(rule->Observe(0, RowsOf(updates, 0, 2), root).ok());
  const absl::StatusOr<Decision> decision = rule->Decide();
  ASSERT_TRUE(decision.ok());
  // Cosines 1 and 0.6: factors 1/1.6 * 2/1 and 0.6/1.6 * 2/10.
  EXPECT_NEAR(decision->updates[0].factor, 1.25, 1e-12);
  EXPECT_TRUE(decision->updates[1].dropped);
  EXPECT_TRUE(decision->updates[2].dropped);
  EXPECT_NEAR(decision->updates[3].factor, 0.075, 1e-12);
  EXPECT_TRUE(decision->updates[4].dropped);
  EXPECT_THAT(decision->updates[4].reason, HasSubstr("too short"));
}

TEST(RobustAggregatorTest, FlTrustNeedsARootAndAtLeastOneThatFollowsIt) {
  const Updates updates = {{-1, 0}, {-2, 0}};
  const auto against = Make({.rule = Rule::kFlTrust, .hostile_max = 1}, updates);
  ASSERT_TRUE(against->Observe(0, RowsOf(updates, 0, 2), {1, 0}).ok());
  EXPECT_EQ(against->Decide().status().code(), absl::StatusCode::kFailedPrecondition);
  const auto empty = Make({.rule = Rule::kFlTrust, .hostile_max = 1}, updates);
  EXPECT_FALSE(empty->Observe(0, RowsOf(updates, 0, 2)).ok());
  ASSERT_TRUE(empty->Observe(0, RowsOf(updates, 0, 2), {0, 0}).ok());
  EXPECT_EQ(empty->Decide().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(RobustAggregatorTest, ColumnRulesNeedNoFirstPass) {
  const Updates updates = RandomUpdates(5, 64);
  std::vector<float> expected(64);
  std::vector<float> actual(64);
  for (const Rule rule : {Rule::kMedian, Rule::kTrimmedMean, Rule::kGroupMedian}) {
    const auto aggregator = Make(OptionsOf(rule, 2), updates);
    EXPECT_FALSE(aggregator->NeedsFirstPass());
    const absl::StatusOr<Decision> decision = aggregator->Decide();
    ASSERT_TRUE(decision.ok());
    const auto rows = RowsOf(updates, 0, 64);
    ASSERT_TRUE(aggregator->Combine(*decision, rows, absl::MakeSpan(actual)).ok());
    // Two of five cut at each end leave the middle one.
    ASSERT_TRUE(Median(rows, absl::MakeSpan(expected)).ok());
    EXPECT_EQ(actual, expected) << RuleName(rule);
  }
}

TEST(RobustAggregatorTest, DecidesOnlyOnTheWholeModel) {
  const Updates updates = RandomUpdates(7, 100);
  for (const Rule rule : {Rule::kMultiKrum, Rule::kDnc}) {
    const auto aggregator = Make(OptionsOf(rule, 2), updates);
    ASSERT_TRUE(aggregator->Observe(0, RowsOf(updates, 0, 60)).ok());
    EXPECT_EQ(aggregator->Decide().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_FALSE(aggregator->Observe(61, RowsOf(updates, 60, 40)).ok());
    EXPECT_FALSE(aggregator->Observe(-1, RowsOf(updates, 60, 40)).ok());
    EXPECT_FALSE(aggregator->Observe(INT64_MAX, RowsOf(updates, 60, 40)).ok());
    auto fewer = RowsOf(updates, 60, 40);
    fewer.pop_back();
    EXPECT_FALSE(aggregator->Observe(60, fewer).ok());
    auto uneven = RowsOf(updates, 60, 40);
    uneven.back() = uneven.back().first(39);
    EXPECT_FALSE(aggregator->Observe(60, uneven).ok());
    ASSERT_TRUE(aggregator->Observe(60, RowsOf(updates, 60, 40)).ok());
    EXPECT_TRUE(aggregator->Decide().ok());
  }
}

TEST(RobustAggregatorTest, ValuesThatNobodyCheckedAreRefusedNotSummed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float value : {nan, 1e30f, -1e30f, std::numeric_limits<float>::infinity()}) {
    Updates updates = RandomUpdates(7, 100);
    updates[3][50] = value;
    const auto aggregator = Make(OptionsOf(Rule::kMultiKrum, 2), updates);
    EXPECT_EQ(aggregator->Observe(0, RowsOf(updates, 0, 100)).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(RobustAggregatorTest, RefusesSettingsThatCannotHold) {
  const std::vector<int64_t> weights(7, 1000);
  const auto code = [](const RobustOptions& options, std::vector<int64_t> of, int64_t parameters) {
    return RobustAggregator::Create(options, parameters, std::move(of)).status().code();
  };
  using absl::StatusCode;
  EXPECT_EQ(code(OptionsOf(Rule::kMultiKrum, 3), weights, 10), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(OptionsOf(Rule::kMultiKrum, 2), weights, 10), StatusCode::kOk);
  EXPECT_EQ(code(OptionsOf(Rule::kMultiKrum, 2), weights, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(OptionsOf(Rule::kMedian, 2), {1, 1, 1, 1, 0}, 10), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(OptionsOf(Rule::kMedian, 1), {1, INT64_MAX, 1}, 10), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(OptionsOf(Rule::kMedian, 0), {}, 10), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({.rule = Rule::kNormBound, .hostile_max = 1}, weights, 10),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.rule = Rule::kDnc, .hostile_max = 1}, weights, 10),
            StatusCode::kInvalidArgument);
  RobustOptions dnc = OptionsOf(Rule::kDnc, 2);
  dnc.dnc.iterations = kDncIterationsMax + 1;
  EXPECT_EQ(code(dnc, weights, 10), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(OptionsOf(Rule::kMedian, 1), std::vector<int64_t>(kRowsMax + 1, 1), 10),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::aggregation
