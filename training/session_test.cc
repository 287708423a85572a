// The public contract, from outside: no LibTorch in this file.
#include "training/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "training/metrics/dice.h"
#include "training/testing/phantom.h"

namespace consilium::training {
namespace {

constexpr SizeDhw kSize = {16, 16, 16};

SessionOptions Tiny() {
  SessionOptions options;
  options.network.classes = 3;
  options.network.features = {8, 16};
  options.network.strides = {{1, 1, 1}, {2, 2, 2}};
  options.training.patch = kSize;
  options.training.learning_rate = 1e-2;
  options.training.total_steps = 60;
  options.training.consistency_rampup_steps = 10;
  options.threads = 1;
  options.device = "cpu";
  return options;
}

bool Equal(const std::vector<NamedArray>& a, const std::vector<NamedArray>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].shape != b[i].shape || a[i].values != b[i].values) {
      return false;
    }
  }
  return a.size() == b.size();
}

bool Finite(const std::vector<NamedArray>& arrays) {
  for (const NamedArray& array : arrays) {
    for (float v : array.values) {
      if (!std::isfinite(v)) return false;
    }
  }
  return true;
}

TEST(SessionTest, LearnsAPhantomToDiceAbove90) {
  SessionOptions options = Tiny();
  options.training.augment = false;
  options.training.consistency_weight = 0;
  options.training.total_steps = 120;
  auto session = Session::Create(options);
  PhantomSource cases(8, kSize, 3, 1);
  double first = 0, last = 0;
  const RunResult result = session->Run(
      cases, {.steps = 120, .seed = 1},
      [&](const StepReport& step) { (step.step == 1 ? first : last) = step.loss; }, nullptr);
  EXPECT_EQ(result.steps_done, 120);
  EXPECT_LT(last, 0.5 * first);
  const Case unseen = MakePhantom(kSize, 3, 99);
  const std::vector<uint8_t> mask = ArgmaxByVoxel(session->Predict(unseen, nullptr), 3);
  EXPECT_GT(MeanDefined(DiceByClass(mask, unseen.label, 3)), 0.9);
}

TEST(SessionTest, EqualSeedsGiveBitEqualWeights) {
  PhantomSource cases(4, {18, 14, 20}, 3, 1);
  cases.DropLabelsFrom(2);
  const auto train = [&](uint64_t seed) {
    auto session = Session::Create(Tiny());
    session->Run(cases, {.steps = 4, .start_step = 20, .seed = seed}, nullptr, nullptr);
    return session->ExportWeights();
  };
  const auto first = train(7);
  EXPECT_TRUE(Equal(first, train(7)));
  EXPECT_FALSE(Equal(first, train(8)));
}

TEST(SessionTest, LabelledOnlyRunHasAConsistencyTerm) {
  auto session = Session::Create(Tiny());
  PhantomSource cases(2, kSize, 3, 1);
  const RunResult result = session->Run(cases, {.steps = 3, .seed = 1}, nullptr, nullptr);
  EXPECT_GT(result.mean_supervised_loss, 0);
  EXPECT_GT(result.mean_consistency_loss, 0);
  EXPECT_EQ(result.teacher_certainty, 0);  // of unlabelled patches, and there are none
}

TEST(SessionTest, UnlabelledOnlyRunLearnsFinitelyAndReportsCertainty) {
  for (bool augment : {true, false}) {
    SessionOptions options = Tiny();
    options.training.augment = augment;
    auto session = Session::Create(options);
    PhantomSource cases(3, kSize, 3, 1);
    cases.DropLabelsFrom(0);
    const auto before = session->ExportWeights();
    const RunResult result =
        session->Run(cases, {.steps = 3, .start_step = 20, .seed = 1}, nullptr, nullptr);
    const auto after = session->ExportWeights();
    EXPECT_FALSE(Equal(before, after));
    EXPECT_TRUE(Finite(after));
    EXPECT_EQ(result.mean_supervised_loss, 0);
    EXPECT_GT(result.mean_consistency_loss, 0);
    EXPECT_GE(result.teacher_certainty, 1.0 / 3);
    EXPECT_LE(result.teacher_certainty, 1.0);
    EXPECT_GE(result.pseudo_foreground_fraction, 0.0);
    EXPECT_LE(result.pseudo_foreground_fraction, 1.0);
  }
}

TEST(SessionTest, UnlabelledOnlyRunWithoutConsistencyIsRefused) {
  SessionOptions options = Tiny();
  options.training.consistency_weight = 0;
  auto session = Session::Create(options);
  PhantomSource cases(2, kSize, 3, 1);
  cases.DropLabelsFrom(0);
  EXPECT_THROW(session->Run(cases, {.steps = 1}, nullptr, nullptr), std::invalid_argument);
}

TEST(SessionTest, StopEndsTheRunAtTheNextStep) {
  auto session = Session::Create(Tiny());
  PhantomSource cases(2, kSize, 3, 1);
  std::atomic<bool> stop = false;
  const RunResult result = session->Run(
      cases, {.steps = 50, .seed = 1}, [&](const StepReport& step) { stop = step.step == 2; },
      &stop);
  EXPECT_EQ(result.steps_done, 2);
}

TEST(SessionTest, ImportThatDoesNotFitChangesNothing) {
  auto session = Session::Create(Tiny());
  const auto before = session->ExportWeights();
  auto bad = before;
  bad[0].values[0] += 1;
  bad.back().shape = {7};
  EXPECT_THROW(session->ImportWeights(bad), std::invalid_argument);
  EXPECT_TRUE(Equal(before, session->ExportWeights()));
}

TEST(SessionTest, NotANumberInACaseIsRefusedAndTheWeightsStay) {
  auto session = Session::Create(Tiny());
  PhantomSource cases(1, kSize, 3, 1);
  cases.at(0).image[77] = std::numeric_limits<float>::quiet_NaN();
  const auto before = session->ExportWeights();
  EXPECT_THROW(session->Run(cases, {.steps = 1}, nullptr, nullptr), std::invalid_argument);
  EXPECT_TRUE(Equal(before, session->ExportWeights()));
  EXPECT_THROW(session->Predict(cases.at(0), nullptr), std::invalid_argument);
}

TEST(SessionTest, WeightsThatOverflowEndInAnError) {
  auto session = Session::Create(Tiny());
  auto weights = session->ExportWeights();
  for (float& v : weights.back().values) v = 3e38f;
  for (float& v : weights[weights.size() - 2].values) v = 3e38f;
  session->ImportWeights(weights);
  PhantomSource cases(1, kSize, 3, 1);
  EXPECT_THROW(session->Run(cases, {.steps = 1}, nullptr, nullptr), std::runtime_error);
}

TEST(SessionTest, PredictionHasTheVolumesSizeAndSumsToOne) {
  auto session = Session::Create(Tiny());
  Case volume = MakePhantom({9, 30, 17}, 3, 5);
  volume.label.clear();
  double progress = 0;
  const std::vector<float> p = session->Predict(volume, [&](double done) { progress = done; });
  const size_t voxels = 9 * 30 * 17;
  ASSERT_EQ(p.size(), 3 * voxels);
  for (size_t i = 0; i < voxels; i += 101) {
    EXPECT_NEAR(p[i] + p[voxels + i] + p[2 * voxels + i], 1.0, 1e-4);
  }
  EXPECT_EQ(progress, 1.0);
}

TEST(SessionTest, BadConfigurationsAreRefused) {
  std::vector<SessionOptions> bad(9, Tiny());
  bad[0].network.in_channels = -1;
  bad[1].network.classes = 0;
  bad[2].training.patch = {16, 15, 16};
  bad[3].training.batch = 0;
  bad[4].training.learning_rate = std::numeric_limits<double>::quiet_NaN();
  bad[5].training.foreground_fraction = 2;
  bad[6].device = "tpu";
  bad[7].threads = -1;
  bad[8].training.patch = {2, 2, 2};
  for (const SessionOptions& options : bad) {
    EXPECT_THROW(Session::Create(options), std::invalid_argument);
  }
}

}  // namespace
}  // namespace consilium::training
