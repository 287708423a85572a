// Every expected value of the shared vectors of the rules that are built here, in one block and in
// blocks of one to a few parameters.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "aggregation/robust_aggregator.h"
#include "aggregation/weighted_mean.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace consilium::aggregation {
namespace {

using nlohmann::json;

constexpr const char* kVectors = CONSILIUM_SHARED_DIR "/data/crypto/robust_vectors.json";

// The file's own tolerance: 1e-5 of each coordinate, 1e-7 absolute.
void ExpectClose(const std::vector<float>& actual, const json& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double value = expected[i].get<double>();
    EXPECT_NEAR(actual[i], value, 1e-7 + 1e-5 * std::fabs(value)) << what << ", parameter " << i;
  }
}

struct Case {
  explicit Case(const json& vector)
      : updates(vector["X"].get<std::vector<std::vector<float>>>()),
        root(vector["root"].get<std::vector<float>>()),
        f(vector["f"].get<int64_t>()) {
    for (const json& weight : vector["weights"]) {
      weights_milli.push_back(static_cast<int64_t>(weight.get<double>() * 1000));
    }
  }
  size_t parameters() const { return updates.front().size(); }
  std::vector<absl::Span<const float>> Rows(size_t at, size_t count) const {
    std::vector<absl::Span<const float>> rows;
    for (const auto& update : updates)
      rows.push_back(absl::MakeConstSpan(update).subspan(at, count));
    return rows;
  }

  std::vector<std::vector<float>> updates;
  std::vector<float> root;
  std::vector<int64_t> weights_milli;
  int64_t f;
};

std::vector<float> Apply(const Case& input, const RobustOptions& options,
                         std::vector<int64_t> weights_milli, size_t block) {
  const size_t parameters = input.parameters();
  auto rule =
      RobustAggregator::Create(options, static_cast<int64_t>(parameters), std::move(weights_milli));
  EXPECT_TRUE(rule.ok()) << rule.status();
  if (!rule.ok()) return {};
  const absl::Span<const float> root = input.root;
  for (size_t at = 0; at < parameters && (*rule)->NeedsFirstPass(); at += block) {
    const size_t count = std::min(block, parameters - at);
    const absl::Status observed =
        (*rule)->Observe(static_cast<int64_t>(at), input.Rows(at, count),
                         (*rule)->NeedsRoot() ? root.subspan(at, count) : root.first(0));
    EXPECT_TRUE(observed.ok()) << observed;
  }
  const absl::StatusOr<Decision> decision = (*rule)->Decide();
  EXPECT_TRUE(decision.ok()) << decision.status();
  if (!decision.ok()) return {};
  std::vector<float> result(parameters);
  for (size_t at = 0; at < parameters; at += block) {
    const size_t count = std::min(block, parameters - at);
    EXPECT_TRUE(
        (*rule)
            ->Combine(*decision, input.Rows(at, count), absl::MakeSpan(result).subspan(at, count))
            .ok());
  }
  return result;
}

TEST(RobustVectorsTest, EveryRuleGivesTheSharedValues) {
  std::ifstream file(kVectors);
  if (!file) GTEST_SKIP() << "no " << kVectors;
  const json vectors = json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(vectors.is_object());
  const std::vector<std::pair<std::string, Rule>> unweighted = {
      {"median", Rule::kMedian},
      {"trimmed_f", Rule::kTrimmedMean},
      {"fltrust", Rule::kFlTrust},
      {"krum", Rule::kKrum},
      {"norm_bound_0.1", Rule::kNormBound},
      {"multikrum_m_n-f", Rule::kMultiKrum}};
  size_t compared = 0;
  for (const json& vector : vectors["cases"]) {
    const Case input(vector);
    const std::string kind = vector["kind"];
    const json& expect = vector["expect"];
    const std::vector<int64_t> equal(input.updates.size(), 1000);
    for (const size_t block : {input.parameters(), size_t{1}, size_t{7}}) {
      ExpectClose(Apply(input, {.rule = Rule::kWeightedMean}, input.weights_milli, block),
                  expect["weighted_mean"], kind + " weighted mean");
      for (const auto& [name, rule] : unweighted) {
        if (!expect.contains(name)) continue;
        const RobustOptions options = {.rule = rule, .hostile_max = input.f, .norm_max = 0.1};
        ExpectClose(Apply(input, options, equal, block), expect[name], kind + " " + name);
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 3u * (4 + 6 + 6 + 6));
}

// Krum's choice and, by way of Combine, its distances: the scores themselves are not public.
TEST(RobustVectorsTest, KrumScoresComeFromTheGatheredDistances) {
  std::ifstream file(kVectors);
  if (!file) GTEST_SKIP() << "no " << kVectors;
  const json vectors = json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(vectors.is_object());
  for (const json& vector : vectors["cases"]) {
    if (!vector.contains("krum_scores")) continue;
    const Case input(vector);
    const size_t n = input.updates.size();
    UpdateStatistics statistics(UpdateStatistics::Gather::kDistances, n);
    ASSERT_TRUE(statistics.Add(0, input.Rows(0, input.parameters()), {}).ok());
    size_t best = 0;
    std::vector<double> scores(n, 0.0);
    for (size_t i = 0; i < n; ++i) {
      std::vector<double> distances;
      for (size_t j = 0; j < n; ++j) {
        if (j != i) distances.push_back(statistics.SquaredDistance(i, j));
      }
      std::sort(distances.begin(), distances.end());
      for (size_t k = 0; k + 2 + static_cast<size_t>(input.f) < n; ++k) scores[i] += distances[k];
      const double expected = vector["krum_scores"][i].get<double>();
      EXPECT_NEAR(scores[i], expected, 1e-5 * expected) << vector["kind"] << " " << i;
      if (scores[i] < scores[best]) best = i;
    }
    EXPECT_EQ(best, vector["krum_index"].get<size_t>());
  }
}

}  // namespace
}  // namespace consilium::aggregation
