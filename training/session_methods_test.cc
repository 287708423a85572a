// FedProx, SCAFFOLD, local layers and personal models through the public contract: each against
// its formula on steps whose gradient is known. No LibTorch in this file.
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "training/testing/small_session.h"

namespace consilium::training {
namespace {

// The gradient of one plain step at `weights`; SGD shows it as the weights' difference.
std::vector<double> GradientAt(const std::vector<NamedArray>& weights, CaseSource& cases) {
  SessionOptions options = SmallOptions();
  const auto after = TrainedFrom(options, weights, cases, {.steps = 1});
  std::vector<double> gradient = Sum(FlatOf(weights), FlatOf(after), -1.0);
  for (double& g : gradient) g /= SmallRate(options.training, 0);
  return gradient;
}

class MethodsTest : public testing::Test {
 protected:
  MethodsTest() : cases_(1, kSmallSize, 2, 1) {
    start_ = Session::Create(SmallOptions())->ExportWeights();
  }
  PhantomSource cases_;
  std::vector<NamedArray> start_;
};

// The plain gradient at the first step, and the second step's position, are the same with and
// without the term, so that the runs differ by -rate mu (w_1 - w_0) alone.
TEST_F(MethodsTest, ProximalTermAddsMuTimesTheDistance) {
  constexpr double kMu = 3.0;
  SessionOptions options = SmallOptions();
  const auto first = TrainedFrom(options, start_, cases_, {.steps = 1});
  const auto plain = TrainedFrom(options, start_, cases_, {.steps = 2});
  options.training.proximal_mu = kMu;
  EXPECT_EQ(FlatOf(TrainedFrom(options, start_, cases_, {.steps = 1})), FlatOf(first));
  const auto pulled = TrainedFrom(options, start_, cases_, {.steps = 2});
  const std::vector<double> moved = Sum(FlatOf(first), FlatOf(start_), -1.0);
  ASSERT_GT(Norm(moved), 0.01);
  const std::vector<double> expected =
      Sum(FlatOf(plain), moved, -SmallRate(options.training, 1) * kMu);
  EXPECT_LT(LargestDifference(FlatOf(pulled), expected), 1e-6);
}

TEST_F(MethodsTest, ScaffoldWithEqualControlsIsPlainSgd) {
  const auto control = Scrambled(start_, 1, 0.5f);
  const auto plain = TrainedFrom(SmallOptions(), start_, cases_, {.steps = 3});
  const auto corrected =
      TrainedFrom(SmallOptions(), start_, cases_,
                  {.steps = 3, .scaffold = ScaffoldControls{.server = control, .site = control}});
  EXPECT_EQ(FlatOf(corrected), FlatOf(plain));
  const auto zeros =
      TrainedFrom(SmallOptions(), start_, cases_, {.steps = 3, .scaffold = ScaffoldControls{}});
  EXPECT_EQ(FlatOf(zeros), FlatOf(plain));
}

TEST_F(MethodsTest, ScaffoldStepAndNewControlFollowTheFormulas) {
  const ScaffoldControls controls = {.server = Scrambled(start_, 1, 0.5f),
                                     .site = Scrambled(start_, 2, 0.5f)};
  const std::vector<double> correction = Sum(FlatOf(controls.server), FlatOf(controls.site), -1.0);
  const SessionOptions options = SmallOptions();
  const double rate = SmallRate(options.training, 0);

  RunResult one;
  const auto after = TrainedFrom(options, start_, cases_, {.steps = 1, .scaffold = controls}, &one);
  const std::vector<double> gradient = GradientAt(start_, cases_);
  const std::vector<double> expected = Sum(Sum(FlatOf(start_), gradient, -rate), correction, -rate);
  EXPECT_LT(LargestDifference(FlatOf(after), expected), 1e-6);
  // After one step the new control is the plain gradient at x, whatever the old ones were.
  EXPECT_LT(LargestDifference(FlatOf(one.scaffold_control), gradient), 1e-5);

  RunResult three;
  const auto last = TrainedFrom(options, start_, cases_,
                                {.steps = 3, .start_step = 2, .scaffold = controls}, &three);
  double rates = 0;
  for (int64_t step = 2; step < 5; ++step) rates += SmallRate(options.training, step);
  const std::vector<double> control = Sum(
      Sum(Sum(FlatOf(controls.site), FlatOf(controls.server), -1.0), FlatOf(start_), 1.0 / rates),
      FlatOf(last), -1.0 / rates);
  EXPECT_LT(LargestDifference(FlatOf(three.scaffold_control), control), 1e-5);
  ASSERT_EQ(three.scaffold_control.size(), start_.size());
  EXPECT_EQ(three.scaffold_control[3].name, start_[3].name);
  EXPECT_EQ(three.scaffold_control[3].shape, start_[3].shape);
}

TEST_F(MethodsTest, ScaffoldWithoutAStepKeepsTheControl) {
  const ScaffoldControls controls = {.server = Scrambled(start_, 1, 0.5f),
                                     .site = Scrambled(start_, 2, 0.5f)};
  for (const RunOptions& run :
       {RunOptions{.steps = 0, .scaffold = controls},
        RunOptions{.steps = 2, .start_step = 10, .scaffold = controls}}) {  // the rate is 0 by then
    RunResult result;
    EXPECT_EQ(FlatOf(TrainedFrom(SmallOptions(), start_, cases_, run, &result)), FlatOf(start_));
    EXPECT_EQ(FlatOf(result.scaffold_control), FlatOf(controls.site));
  }
}

TEST_F(MethodsTest, ScaffoldThatCannotWorkIsRefused) {
  const auto refused = [&](const SessionOptions& options, const ScaffoldControls& controls) {
    EXPECT_THROW(TrainedFrom(options, start_, cases_, {.steps = 1, .scaffold = controls}),
                 std::invalid_argument);
  };
  SessionOptions options = SmallOptions();
  options.training.optimiser = TrainingConfig::Optimiser::kAdamW;
  refused(options, {});
  options = SmallOptions();
  options.training.proximal_mu = 0.1;
  refused(options, {});
  ScaffoldControls controls = {.server = start_, .site = start_};
  controls.server.pop_back();
  refused(SmallOptions(), controls);
  controls = {.server = start_, .site = start_};
  controls.site[0].shape[0] += 1;
  refused(SmallOptions(), controls);
  controls = {.server = start_, .site = start_};
  controls.site[0].values[0] = std::numeric_limits<float>::quiet_NaN();
  refused(SmallOptions(), controls);
}

TEST_F(MethodsTest, PersonalStepIsThePlainOneAndThePull) {
  constexpr double kLambda = 2.0;
  const SessionOptions options = SmallOptions();
  const double rate = SmallRate(options.training, 0);
  auto session = Session::Create(options);
  std::vector<NamedArray> personal = Scrambled(start_, 3, 0.3f);
  const std::vector<double> before = FlatOf(personal);
  const std::vector<double> pull = Sum(before, FlatOf(start_), -1.0);
  const std::vector<double> expected =
      Sum(Sum(before, GradientAt(personal, cases_), -rate), pull, -rate * kLambda);
  const RunResult result =
      session->RunPersonal(personal, kLambda, cases_, {.steps = 1}, nullptr, nullptr);
  EXPECT_EQ(result.steps_done, 1);
  EXPECT_GT(result.mean_loss, 0);
  EXPECT_LT(LargestDifference(FlatOf(personal), expected), 1e-6);
  EXPECT_EQ(FlatOf(session->ExportWeights()), FlatOf(start_));
}

TEST_F(MethodsTest, PersonalModelStartsAsTheGlobalOne) {
  auto session = Session::Create(SmallOptions());
  std::vector<NamedArray> personal;
  session->RunPersonal(personal, 0.0, cases_, {.steps = 2}, nullptr, nullptr);
  EXPECT_EQ(FlatOf(personal), FlatOf(TrainedFrom(SmallOptions(), start_, cases_, {.steps = 2})));
}

TEST_F(MethodsTest, PersonalRunThatDoesNotFitIsRefusedAndLeavesTheModel) {
  auto session = Session::Create(SmallOptions());
  std::vector<NamedArray> personal = start_;
  const auto refused = [&](double lambda, const RunOptions& run) {
    EXPECT_THROW(session->RunPersonal(personal, lambda, cases_, run, nullptr, nullptr),
                 std::invalid_argument);
  };
  refused(-1.0, {.steps = 1});
  refused(std::numeric_limits<double>::quiet_NaN(), {.steps = 1});
  refused(1.0, {.steps = 1, .scaffold = ScaffoldControls{}});
  refused(1.0, {.steps = 1, .private_training = PrivateTraining{}});
  EXPECT_EQ(FlatOf(personal), FlatOf(start_));
  personal.pop_back();
  refused(1.0, {.steps = 1});
}

TEST(IsLocalTest, PatternsMatchWholeNames) {
  const auto local = [](std::string_view name, const std::vector<std::string>& patterns) {
    return IsLocal(name, patterns);
  };
  const std::string name = "downsamples.0.norm1.weight";
  EXPECT_FALSE(local(name, {}));
  EXPECT_TRUE(local(name, {name}));
  EXPECT_FALSE(local(name, {"downsamples.0.norm1"}));
  EXPECT_FALSE(local(name, {"norm1.weight"}));
  EXPECT_TRUE(local(name, {"downsamples*"}));
  EXPECT_TRUE(local(name, {"*.weight"}));
  EXPECT_TRUE(local(name, {"*.norm*"}));
  EXPECT_TRUE(local(name, {"other", "d*s.*.norm1.w*t"}));
  EXPECT_FALSE(local(name, {"*.norm2.*"}));
  EXPECT_TRUE(local(name, {"**"}));
  EXPECT_FALSE(local(name, {""}));
  EXPECT_TRUE(local("", {"*"}));
  EXPECT_TRUE(local("abab", {"*ab"}));  // the first "ab" is not the end
  EXPECT_FALSE(local("aXb", {"a?b"}));
  // A pattern that a matcher with plain backtracking would still be at next year.
  std::string stars;
  for (int i = 0; i < 60; ++i) stars += "a*";
  EXPECT_FALSE(local(std::string(200, 'a'), {stars + "b"}));
}

class LocalLayersTest : public MethodsTest {
 protected:
  LocalLayersTest() { options_.training.local_layers = {"*.norm*"}; }
  bool Local(const NamedArray& array) const {
    return IsLocal(array.name, options_.training.local_layers);
  }
  SessionOptions options_ = SmallOptions();
};

TEST_F(LocalLayersTest, GlobalModelLeavesTheSitesOwnLayers) {
  auto session = Session::Create(options_);
  session->ImportWeights(Scrambled(start_, 4, 0.3f));
  const auto own = session->ExportLocal();
  ASSERT_FALSE(own.empty());
  for (const NamedArray& array : own) EXPECT_TRUE(Local(array)) << array.name;

  const auto global = Scrambled(start_, 5, 0.3f);
  auto other = Session::Create(options_);
  other->ImportGlobal(global, own);
  size_t next = 0;
  const auto merged = other->ExportWeights();
  for (size_t i = 0; i < merged.size(); ++i) {
    EXPECT_EQ(merged[i].values, (Local(merged[i]) ? own[next++] : global[i]).values);
  }
  EXPECT_EQ(next, own.size());
  other->ImportGlobal(global, {});
  EXPECT_EQ(FlatOf(other->ExportWeights()), FlatOf(global));
}

TEST_F(LocalLayersTest, OwnLayersThatDoNotFitChangeNothing) {
  auto session = Session::Create(options_);
  const auto own = session->ExportLocal();
  std::vector<std::vector<NamedArray>> bad(4, own);
  bad[0].pop_back();
  bad[1].push_back(start_[0]);
  bad[2][0].values[0] = std::numeric_limits<float>::infinity();
  std::swap(bad[3][0], bad[3][1]);
  for (const auto& arrays : bad) {
    EXPECT_THROW(session->ImportGlobal(Scrambled(start_, 5, 0.3f), arrays), std::invalid_argument);
  }
  auto global = start_;
  for (NamedArray& array : global) {
    if (Local(array)) array.values[0] = std::numeric_limits<float>::quiet_NaN();
  }
  EXPECT_THROW(session->ImportGlobal(global, own), std::invalid_argument);
  EXPECT_EQ(FlatOf(session->ExportWeights()), FlatOf(start_));
}

TEST_F(LocalLayersTest, TheyTrainButNothingPullsThemToTheGlobalModel) {
  const auto plain = TrainedFrom(SmallOptions(), start_, cases_, {.steps = 2});
  options_.training.proximal_mu = 3.0;
  const auto pulled = TrainedFrom(options_, start_, cases_, {.steps = 2});
  RunResult result;
  options_.training.proximal_mu = 0;
  const ScaffoldControls controls = {.server = Scrambled(start_, 1, 0.5f),
                                     .site = Scrambled(start_, 2, 0.5f)};
  const auto corrected =
      TrainedFrom(options_, start_, cases_, {.steps = 1, .scaffold = controls}, &result);
  const auto one = TrainedFrom(SmallOptions(), start_, cases_, {.steps = 1});
  for (size_t i = 0; i < start_.size(); ++i) {
    const bool local = Local(start_[i]);
    EXPECT_EQ(pulled[i].values == plain[i].values, local) << start_[i].name;
    EXPECT_EQ(corrected[i].values == one[i].values, local) << start_[i].name;
    EXPECT_NE(pulled[i].values, start_[i].values) << start_[i].name;
    const std::vector<float>& control = result.scaffold_control[i].values;
    EXPECT_EQ(control == std::vector<float>(control.size(), 0.0f), local) << start_[i].name;
  }
}

TEST_F(LocalLayersTest, PatternsThatCannotBeMeantAreRefused) {
  for (const std::vector<std::string>& patterns : {std::vector<std::string>{"*"},
                                                   {""},
                                                   {"*.norm*", "no.such.layer"},
                                                   {std::string(1000, '*')},
                                                   std::vector<std::string>(300, "*.norm*")}) {
    options_.training.local_layers = patterns;
    EXPECT_THROW(Session::Create(options_), std::invalid_argument);
  }
}

TEST_F(MethodsTest, SgdDecaysWeightsButNoVectors) {
  SessionOptions options = SmallOptions();
  options.training.weight_decay = 0.5;
  const auto plain = TrainedFrom(SmallOptions(), start_, cases_, {.steps = 1});
  const auto decayed = TrainedFrom(options, start_, cases_, {.steps = 1});
  for (size_t i = 0; i < start_.size(); ++i) {
    const double factor = start_[i].shape.size() > 1 ? 0.5 * SmallRate(options.training, 0) : 0.0;
    EXPECT_LT(LargestDifference(FlatOf({decayed[i]}),
                                Sum(FlatOf({plain[i]}), FlatOf({start_[i]}), -factor)),
              1e-6)
        << start_[i].name;
  }
}

}  // namespace
}  // namespace consilium::training
