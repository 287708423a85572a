#include "aggregation/server_optimizer.h"

#include <cmath>
#include <vector>

#include "aggregation/weighted_mean.h"
#include "gtest/gtest.h"

namespace consilium::aggregation {
namespace {

constexpr ServerOptimizer kAll[] = {ServerOptimizer::kFedAvg, ServerOptimizer::kFedAvgM,
                                    ServerOptimizer::kFedAdagrad, ServerOptimizer::kFedYogi,
                                    ServerOptimizer::kFedAdam};

// A model with the state that its optimiser keeps.
struct Server {
  Server(const ServerOptimizerOptions& of, std::vector<float> base)
      : options(of), x(std::move(base)) {
    if (UsesFirstMoment(options.optimizer)) m.assign(x.size(), 0.0f);
    if (UsesSecondMoment(options.optimizer)) v.assign(x.size(), InitialSecondMoment(options));
  }
  void Round(const std::vector<float>& mean_delta) {
    ASSERT_TRUE(ApplyServerOptimizer(options, mean_delta, absl::MakeSpan(x),
                                     {absl::MakeSpan(m), absl::MakeSpan(v)})
                    .ok());
  }
  ServerOptimizerOptions options;
  std::vector<float> x, m, v;
};

TEST(ServerOptimizerTest, FedAvgAddsTheMean) {
  Server server({.optimizer = ServerOptimizer::kFedAvg}, {10, 20});
  server.Round({1, -2});
  EXPECT_EQ(server.x, (std::vector<float>{11, 18}));
}

// Constant D: after t rounds x - x_0 = eta D sum_{s=1..t} (1 - beta^s)/(1 - beta).
TEST(ServerOptimizerTest, MomentumOfAConstantDeltaIsAGeometricSum) {
  const double beta = 0.9;
  const double eta = 0.5;
  Server server({.optimizer = ServerOptimizer::kFedAvgM, .eta = eta, .beta1 = beta}, {1});
  double expected = 1;
  for (int t = 1; t <= 20; ++t) {
    server.Round({0.25f});
    expected += eta * 0.25 * (1 - std::pow(beta, t)) / (1 - beta);
    EXPECT_NEAR(server.x[0], expected, 1e-5) << "round " << t;
  }
}

// Constant D: v_t = tau^2 + t D^2, m_t = D (1 - beta1^t).
TEST(ServerOptimizerTest, AdagradOfAConstantDelta) {
  const double tau = 0.1;
  const double d = 0.5;
  Server server({.optimizer = ServerOptimizer::kFedAdagrad, .eta = 0.1, .beta1 = 0.8, .tau = tau},
                {-1});
  double expected = -1;
  for (int t = 1; t <= 10; ++t) {
    server.Round({static_cast<float>(d)});
    expected += 0.1 * d * (1 - std::pow(0.8, t)) / (std::sqrt(tau * tau + t * d * d) + tau);
    EXPECT_NEAR(server.x[0], expected, 1e-6) << "round " << t;
  }
}

// Constant D: v_t = tau^2 beta2^t + D^2 (1 - beta2^t); no correction of the bias of the start.
TEST(ServerOptimizerTest, AdamOfAConstantDelta) {
  const double tau = 0.05;
  const double d = -0.2;
  Server server({.optimizer = ServerOptimizer::kFedAdam, .eta = 0.02, .tau = tau}, {3});
  double expected = 3;
  for (int t = 1; t <= 30; ++t) {
    server.Round({static_cast<float>(d)});
    const double v = tau * tau * std::pow(0.99, t) + d * d * (1 - std::pow(0.99, t));
    expected += 0.02 * d * (1 - std::pow(0.9, t)) / (std::sqrt(v) + tau);
    EXPECT_NEAR(server.x[0], expected, 1e-5) << "round " << t;
    EXPECT_NEAR(server.v[0], v, 1e-7) << "round " << t;
  }
}

// Yogi moves v by (1 - beta2) D^2 whichever side it is on: up from tau^2 < D^2 in equal steps, and
// down again by the smaller D's in equal steps.
TEST(ServerOptimizerTest, YogiMovesTheSecondMomentInEqualSteps) {
  const double tau = 0.01;
  const double d = 0.5;
  const double e = 0.1;
  Server server({.optimizer = ServerOptimizer::kFedYogi, .eta = 0.01, .beta2 = 0.9, .tau = tau},
                {0});
  double x = 0;
  double m = 0;
  const auto expect = [&](double v, int round) {
    x += 0.01 * m / (std::sqrt(v) + tau);
    EXPECT_NEAR(server.v[0], v, 1e-7) << "round " << round;
    EXPECT_NEAR(server.x[0], x, 1e-6) << "round " << round;
  };
  for (int t = 1; t <= 5; ++t) {  // 0.0001 + 5 * 0.025 < 0.25
    server.Round({static_cast<float>(d)});
    m = d * (1 - std::pow(0.9, t));
    expect(tau * tau + t * 0.1 * d * d, t);
  }
  const double top = tau * tau + 5 * 0.1 * d * d;
  for (int t = 1; t <= 5; ++t) {  // 0.1251 > 0.01
    server.Round({static_cast<float>(e)});
    m = 0.9 * m + 0.1 * e;
    expect(top - t * 0.1 * e * e, 5 + t);
  }
}

TEST(ServerOptimizerTest, YogiLeavesASecondMomentThatFits) {
  Server server({.optimizer = ServerOptimizer::kFedYogi, .tau = 0.5}, {0});
  server.Round({0.5f});  // v = tau^2 = D^2: sign(0) = 0
  EXPECT_EQ(server.v[0], 0.25f);
}

// What a site sent does not matter, only the mean: as under secure aggregation.
TEST(ServerOptimizerTest, DependsOnTheMeanAlone) {
  const auto mean_of = [](const std::vector<std::vector<float>>& updates) {
    WeightedMean mean(2);
    for (const auto& update : updates) {
      EXPECT_TRUE(mean.Begin(1000).ok());
      mean.Fold(0, update);
    }
    std::vector<float> result(2, 0.0f);
    EXPECT_TRUE(mean.AddMeanTo(absl::MakeSpan(result)).ok());
    return result;
  };
  for (const ServerOptimizer optimizer : kAll) {
    Server a({.optimizer = optimizer, .eta = 0.1}, {1, 2});
    Server b({.optimizer = optimizer, .eta = 0.1}, {1, 2});
    a.Round(mean_of({{0.5f, 0.25f}, {-0.25f, 0.75f}}));
    b.Round(mean_of({{0.125f, 0.5f}, {0.125f, 0.5f}}));
    EXPECT_EQ(a.x, b.x) << ServerOptimizerName(optimizer);
    EXPECT_EQ(a.m, b.m);
    EXPECT_EQ(a.v, b.v);
  }
}

TEST(ServerOptimizerTest, BlocksDoNotChangeABit) {
  std::vector<float> delta(1003);
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = std::sin(static_cast<float>(i)) * 0.01f;
  for (const ServerOptimizer optimizer : kAll) {
    Server whole({.optimizer = optimizer}, delta);
    Server parts = whole;
    whole.Round(delta);
    const auto part = [](std::vector<float>& values, size_t at, size_t count) {
      return values.empty() ? absl::Span<float>() : absl::MakeSpan(values).subspan(at, count);
    };
    for (size_t at = 0; at < delta.size(); at += 17) {
      const size_t count = std::min<size_t>(17, delta.size() - at);
      ASSERT_TRUE(ApplyServerOptimizer(parts.options, absl::MakeConstSpan(delta).subspan(at, count),
                                       part(parts.x, at, count),
                                       {part(parts.m, at, count), part(parts.v, at, count)})
                      .ok());
    }
    EXPECT_EQ(parts.x, whole.x) << ServerOptimizerName(optimizer);
    EXPECT_EQ(parts.v, whole.v);
  }
}

TEST(ServerOptimizerTest, EveryNameIsParsedBack) {
  for (const ServerOptimizer optimizer : kAll) {
    const auto parsed = ParseServerOptimizer(ServerOptimizerName(optimizer));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, optimizer);
  }
  EXPECT_FALSE(ParseServerOptimizer("adam").ok());
}

TEST(ServerOptimizerTest, RefusesOptionsOutOfRange) {
  const double nan = std::nan("");
  const auto check = [](ServerOptimizerOptions options) {
    return CheckServerOptimizer(options).ok();
  };
  const ServerOptimizer adam = ServerOptimizer::kFedAdam;
  EXPECT_TRUE(check({.optimizer = adam}));
  for (const double bad : {0.0, -1.0, 1001.0, nan}) EXPECT_FALSE(check({.eta = bad}));
  for (const double bad : {-0.1, 1.0, nan}) {
    EXPECT_FALSE(check({.optimizer = adam, .beta1 = bad}));
    EXPECT_FALSE(check({.optimizer = adam, .beta2 = bad}));
    EXPECT_TRUE(check({.optimizer = ServerOptimizer::kFedAvg, .beta1 = bad}));
  }
  for (const double bad : {0.0, 2.0, nan}) EXPECT_FALSE(check({.optimizer = adam, .tau = bad}));
}

TEST(ServerOptimizerTest, RefusesStateThatDoesNotFitAndChangesNothing) {
  const std::vector<float> delta = {1, 1};
  std::vector<float> x = {0, 0};
  std::vector<float> m = {0, 0};
  std::vector<float> v = {1, 1};
  const auto apply = [&](ServerOptimizer optimizer, absl::Span<float> first,
                         absl::Span<float> second) {
    return ApplyServerOptimizer({.optimizer = optimizer}, delta, absl::MakeSpan(x),
                                {first, second});
  };
  EXPECT_FALSE(apply(ServerOptimizer::kFedAdam, absl::MakeSpan(m), {}).ok());
  EXPECT_FALSE(
      apply(ServerOptimizer::kFedAdam, absl::MakeSpan(m).first(1), absl::MakeSpan(v)).ok());
  EXPECT_FALSE(apply(ServerOptimizer::kFedAvg, absl::MakeSpan(m), {}).ok());
  EXPECT_EQ(x, (std::vector<float>{0, 0}));
  EXPECT_EQ(m, (std::vector<float>{0, 0}));
}

// Two of four sites, by hand: x = 1 + 0.5 * (2 + 4)/2, c = 0.5 + (1/4) * (1 + 3).
TEST(ScaffoldTest, MovesModelAndControlVariate) {
  std::vector<float> x = {1};
  std::vector<float> c = {0.5f};
  ASSERT_TRUE(ApplyScaffold({.eta_global = 0.5, .sites = 2, .population = 4}, {3.0f}, {2.0f},
                            absl::MakeSpan(x), absl::MakeSpan(c))
                  .ok());
  EXPECT_EQ(x[0], 2.5f);
  EXPECT_EQ(c[0], 1.5f);
}

// Whoever takes part, c stays the mean of all sites' c_i: the invariant that SCAFFOLD rests on.
TEST(ScaffoldTest, TheServersVariateStaysTheMeanOfTheSites) {
  std::vector<double> sites = {0, 0, 0, 0, 0};
  std::vector<float> x = {0};
  std::vector<float> c = {0};
  for (int round = 0; round < 50; ++round) {
    double sum = 0;
    int64_t took_part = 0;
    for (size_t i = 0; i < sites.size(); ++i) {
      if ((round + static_cast<int>(i)) % 3 == 0) continue;
      const double next = std::sin(round * 1.7 + static_cast<double>(i));
      sum += next - sites[i];
      sites[i] = next;
      ++took_part;
    }
    const auto mean = static_cast<float>(sum / static_cast<double>(took_part));
    ASSERT_TRUE(ApplyScaffold({.sites = took_part, .population = 5}, {0.0f}, {mean},
                              absl::MakeSpan(x), absl::MakeSpan(c))
                    .ok());
    double mean_of_sites = 0;
    for (const double site : sites) mean_of_sites += site / 5;
    EXPECT_NEAR(c[0], mean_of_sites, 1e-5) << "round " << round;
  }
}

TEST(ScaffoldTest, RefusesCountsAndLengthsThatDoNotFit) {
  std::vector<float> x = {0};
  std::vector<float> c = {0};
  const auto apply = [&](ScaffoldRound round, absl::Span<const float> dc) {
    return ApplyScaffold(round, {1.0f}, dc, absl::MakeSpan(x), absl::MakeSpan(c)).ok();
  };
  EXPECT_FALSE(apply({.sites = 0, .population = 4}, {1.0f}));
  EXPECT_FALSE(apply({.sites = 5, .population = 4}, {1.0f}));
  EXPECT_FALSE(apply({.eta_global = 0, .sites = 1, .population = 4}, {1.0f}));
  EXPECT_FALSE(apply({.sites = 1, .population = 4}, {1.0f, 1.0f}));
  EXPECT_EQ(x[0], 0);
}

}  // namespace
}  // namespace consilium::aggregation
