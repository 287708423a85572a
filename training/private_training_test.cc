// Patient-level DP-SGD through the public contract, seen as its caller sees it: the sum that is to
// be noised, and the weights. No LibTorch in this file.
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <stdexcept>

#include "training/testing/small_session.h"

namespace consilium::training {
namespace {

constexpr double kHugeClip = 1e6;

std::vector<int64_t> OneCaseEach(int64_t patients) {
  std::vector<int64_t> numbers(static_cast<size_t>(patients));
  std::iota(numbers.begin(), numbers.end(), 100);
  return numbers;
}

// Counts loads: with one patch a batch, one for each patient drawn.
class CountingSource final : public CaseSource {
 public:
  explicit CountingSource(CaseSource& cases) : cases_(cases) {}
  int64_t size() const override { return cases_.size(); }
  bool labelled(int64_t index) const override { return cases_.labelled(index); }
  Case Load(int64_t index) override {
    ++loads;
    return cases_.Load(index);
  }
  int64_t loads = 0;

 private:
  CaseSource& cases_;
};

class PrivateTrainingTest : public testing::Test {
 protected:
  PrivateTrainingTest() : cases_(4, kSmallSize, 2, 1) {
    options_.training.learning_rate = 1.0;  // the weights then show the gradient in full
    start_ = Session::Create(options_)->ExportWeights();
  }

  // Everybody is drawn, nothing is noised, and each sum is kept.
  PrivateTraining Everyone(int64_t patients, double clip) {
    PrivateTraining rules;
    rules.clip = clip;
    rules.expected_patients = 1;
    rules.sampling_rate = 1;
    rules.patient_of_case = OneCaseEach(patients);
    rules.uniform = [] { return 0.5; };
    rules.add_noise = [this](std::span<float> sum, double) {
      sums_.emplace_back(sum.begin(), sum.end());
    };
    return rules;
  }

  std::vector<double> SumOf(CaseSource& cases, const PrivateTraining& rules,
                            const std::vector<int64_t>& usable = {}) {
    sums_.clear();
    TrainedFrom(options_, start_, cases,
                {.steps = 1, .seed = 5, .cases = usable, .private_training = rules});
    return sums_.at(0);
  }

  SessionOptions options_ = SmallOptions();
  PhantomSource cases_;
  std::vector<NamedArray> start_;
  std::vector<std::vector<double>> sums_;
};

TEST_F(PrivateTrainingTest, WithoutNoiseTheStepIsTheSumOfPlainGradientsOverL) {
  std::vector<double> sum(FlatOf(start_).size(), 0.0);
  for (int64_t i = 0; i < 4; ++i) {
    const auto after = TrainedFrom(options_, start_, cases_, {.steps = 1, .cases = {i}});
    const std::vector<double> gradient = Sum(FlatOf(start_), FlatOf(after), -1.0);
    ASSERT_LT(Norm(gradient), 12.0);  // where a plain run would clip
    sum = Sum(sum, gradient);
  }
  PrivateTraining rules = Everyone(4, kHugeClip);
  rules.expected_patients = 7;  // public, so not the 4 there are
  const auto after = TrainedFrom(options_, start_, cases_, {.steps = 1, .private_training = rules});
  EXPECT_LT(LargestDifference(sums_.at(0), sum), 2e-5);
  EXPECT_LT(LargestDifference(FlatOf(after), Sum(FlatOf(start_), sum, -1.0 / 7)), 2e-6);
}

TEST_F(PrivateTrainingTest, APatientCountsForTheClipAndNoMore) {
  for (int64_t i = 0; i < 4; ++i) {
    PrivateTraining rules = Everyone(4, 1e-3);
    EXPECT_NEAR(Norm(SumOf(cases_, rules, {i})) / 1e-3, 1.0, 1e-6);
  }
  // Three volumes, several patches and augmentations of one patient are still one contribution.
  options_.training.batch = 4;
  PrivateTraining rules = Everyone(4, 1e-3);
  rules.patient_of_case = {9, 9, 8, 9};
  rules.augmentations_averaged = 2;
  EXPECT_NEAR(Norm(SumOf(cases_, rules, {0, 1, 3})) / 1e-3, 1.0, 1e-6);
}

// With everything on that could carry something from one patient to another.
TEST_F(PrivateTrainingTest, OnePatientMoreMovesTheSumByItsContributionAlone) {
  options_.training.augment = true;
  options_.training.batch = 2;
  options_.training.consistency_weight = 0.5;
  options_.training.consistency_rampup_steps = 0;
  cases_.DropLabelsFrom(3);
  const double clip = 0.05;
  for (double grid : {0.0, std::ldexp(1.0, -20)}) {
    for (int64_t extra : {int64_t{0}, int64_t{2}, int64_t{3}}) {
      PrivateTraining rules = Everyone(4, clip);
      rules.grid = grid;
      std::vector<int64_t> others = {0, 1, 2, 3};
      others.erase(others.begin() + extra);
      const std::vector<double> with = SumOf(cases_, rules), without = SumOf(cases_, rules, others);
      const std::vector<double> moved = Sum(with, without, -1.0);
      EXPECT_LE(Norm(moved), grid > 0 ? clip : clip * (1 + 1e-6));
      EXPECT_LT(LargestDifference(moved, SumOf(cases_, rules, {extra})), grid > 0 ? 1e-15 : 1e-7);
      EXPECT_GT(Norm(moved), 1e-4);
    }
  }
}

TEST_F(PrivateTrainingTest, AveragedAugmentationsOfOnePatchAreThatPatch) {
  PrivateTraining rules = Everyone(4, kHugeClip);
  const std::vector<double> once = SumOf(cases_, rules);
  rules.augmentations_averaged = 3;
  EXPECT_LT(LargestDifference(SumOf(cases_, rules), once), 1e-5);
  options_.training.augment = true;
  EXPECT_GT(LargestDifference(SumOf(cases_, rules), once), 1e-3);
}

TEST_F(PrivateTrainingTest, PatientsAreDrawnEachByItsOwnDraw) {
  constexpr int64_t kPatients = 12, kSteps = 40;
  constexpr double kRate = 0.3;
  PhantomSource many(kPatients, kSmallSize, 2, 2);
  CountingSource cases(many);
  std::mt19937_64 random(4);
  int64_t calls = 0, below = 0;
  PrivateTraining rules = Everyone(kPatients, 1e-3);
  rules.sampling_rate = kRate;
  rules.uniform = [&] {
    ++calls;
    const double draw = std::generate_canonical<double, 53>(random);
    if (draw < kRate) ++below;
    return draw;
  };
  TrainedFrom(options_, start_, cases, {.steps = kSteps, .private_training = rules});
  EXPECT_EQ(calls, kPatients * kSteps);
  EXPECT_EQ(cases.loads, below);
  const double expected = kRate * kPatients * kSteps;
  EXPECT_NEAR(static_cast<double>(cases.loads), expected, 4 * std::sqrt(expected * (1 - kRate)));
  EXPECT_EQ(sums_.size(), static_cast<size_t>(kSteps));
}

TEST_F(PrivateTrainingTest, AnEmptyDrawStillTakesANoisedStep) {
  PrivateTraining rules = Everyone(4, 2.0);
  rules.sampling_rate = 0.25;
  rules.noise_multiplier = 1.5;
  rules.expected_patients = 8;
  rules.add_noise = [](std::span<float> sum, double deviation) {
    EXPECT_EQ(deviation, 3.0);
    for (float& v : sum) {
      EXPECT_EQ(v, 0.0f);
      v += 0.5f;
    }
  };
  RunResult result;
  const auto after =
      TrainedFrom(options_, start_, cases_, {.steps = 1, .private_training = rules}, &result);
  EXPECT_EQ(result.steps_done, 1);
  const std::vector<double> noise(FlatOf(start_).size(), 0.5);
  EXPECT_LT(LargestDifference(FlatOf(after), Sum(FlatOf(start_), noise, -1.0 / 8)), 1e-6);
}

TEST_F(PrivateTrainingTest, TheBudgetStopsTheRunBeforeAnybodyIsDrawn) {
  PrivateTraining rules = Everyone(4, 1.0);
  int64_t asked = 0, draws = 0;
  rules.should_stop_before_step = [&] { return ++asked > 2; };
  rules.uniform = [&] {
    ++draws;
    return 0.5;
  };
  RunResult result;
  TrainedFrom(options_, start_, cases_, {.steps = 9, .private_training = rules}, &result);
  EXPECT_EQ(result.steps_done, 2);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(draws, 8);
  EXPECT_EQ(sums_.size(), 2u);
}

TEST_F(PrivateTrainingTest, NoLossOfAPrivateRunIsReported) {
  options_.training.consistency_weight = 0.5;
  cases_.DropLabelsFrom(2);
  auto session = Session::Create(options_);
  int64_t reports = 0;
  const RunResult result = session->Run(
      cases_, {.steps = 2, .private_training = Everyone(4, 1.0)},
      [&](const StepReport& step) {
        ++reports;
        EXPECT_EQ(step.loss, 0);
        EXPECT_EQ(step.supervised_loss, 0);
        EXPECT_EQ(step.consistency_loss, 0);
      },
      nullptr);
  EXPECT_EQ(reports, 2);
  EXPECT_TRUE(result.losses_withheld);
  for (double value : {result.mean_loss, result.mean_supervised_loss, result.mean_consistency_loss,
                       result.teacher_certainty, result.pseudo_foreground_fraction}) {
    EXPECT_EQ(value, 0);
  }
  const RunResult plain = session->Run(cases_, {.steps = 1}, nullptr, nullptr);
  EXPECT_FALSE(plain.losses_withheld);
  EXPECT_GT(plain.mean_loss, 0);
}

TEST_F(PrivateTrainingTest, APatientWithoutALossContributesZero) {
  cases_.DropLabelsFrom(1);
  const PrivateTraining rules = Everyone(4, 1.0);
  EXPECT_EQ(SumOf(cases_, rules), SumOf(cases_, rules, {0}));
  EXPECT_THROW(SumOf(cases_, rules, {1, 2}), std::invalid_argument);
  options_.training.consistency_weight = 1;
  options_.training.consistency_rampup_steps = 0;
  EXPECT_GT(Norm(SumOf(cases_, rules, {1, 2})), 0);
}

// The site's kind decides the rate, not the cases: one labelled patient must not change the step.
TEST_F(PrivateTrainingTest, TheRateIsChosenByThePublicFact) {
  options_.training.consistency_weight = 1;
  options_.training.consistency_rampup_steps = 0;
  options_.training.unlabelled_rate = 0.25;
  for (const std::vector<int64_t>& usable : {std::vector<int64_t>{0}, {1}}) {
    cases_.DropLabelsFrom(1);
    PrivateTraining rules = Everyone(4, kHugeClip);
    for (double rate : {1.0, 0.25}) {
      rules.site_has_labels = rate == 1.0;
      sums_.clear();
      const auto after = TrainedFrom(options_, start_, cases_,
                                     {.steps = 1, .cases = usable, .private_training = rules});
      EXPECT_LT(LargestDifference(FlatOf(after), Sum(FlatOf(start_), sums_.at(0), -rate)), 1e-6);
      EXPECT_GT(Norm(sums_.at(0)), 0);
    }
  }
}

TEST_F(PrivateTrainingTest, WorksWithAdamWAndCorrections) {
  options_.training.learning_rate = 0.01;
  PrivateTraining rules = Everyone(4, 1.0);
  RunResult result;
  TrainedFrom(options_, start_, cases_,
              {.steps = 2, .scaffold = ScaffoldControls{}, .private_training = rules}, &result);
  EXPECT_EQ(result.scaffold_control.size(), start_.size());
  options_.training.optimiser = TrainingConfig::Optimiser::kAdamW;
  options_.training.proximal_mu = 0.1;
  const auto after =
      TrainedFrom(options_, start_, cases_, {.steps = 2, .private_training = rules}, &result);
  EXPECT_EQ(result.steps_done, 2);
  EXPECT_GT(LargestDifference(FlatOf(after), FlatOf(start_)), 0);
}

TEST_F(PrivateTrainingTest, AGradientThatIsNotFiniteEndsTheRunUnnoised) {
  auto weights = start_;
  for (NamedArray* array : {&weights[weights.size() - 1], &weights[weights.size() - 2]}) {
    for (float& v : array->values) v = 3e38f;
  }
  auto session = Session::Create(options_);
  session->ImportWeights(weights);
  EXPECT_THROW(
      session->Run(cases_, {.steps = 1, .private_training = Everyone(4, 1.0)}, nullptr, nullptr),
      std::runtime_error);
  EXPECT_TRUE(sums_.empty());
  EXPECT_EQ(FlatOf(session->ExportWeights()), FlatOf(weights));
}

TEST_F(PrivateTrainingTest, CallbacksThatMisbehaveEndTheRun) {
  auto session = Session::Create(options_);
  PrivateTraining rules = Everyone(4, 1.0);
  for (double draw : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    rules.uniform = [draw] { return draw; };
    EXPECT_THROW(session->Run(cases_, {.steps = 1, .private_training = rules}, nullptr, nullptr),
                 std::runtime_error);
  }
  rules = Everyone(4, 1.0);
  rules.add_noise = [](std::span<float> sum, double) {
    sum[1] = std::numeric_limits<float>::infinity();
  };
  EXPECT_THROW(session->Run(cases_, {.steps = 1, .private_training = rules}, nullptr, nullptr),
               std::runtime_error);
  EXPECT_EQ(FlatOf(session->ExportWeights()), FlatOf(start_));
}

TEST_F(PrivateTrainingTest, RulesThatPromiseNothingAreRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<PrivateTraining> bad(15, Everyone(4, 1.0));
  bad[0].clip = 0;
  bad[1].clip = nan;
  bad[2].noise_multiplier = -1;
  bad[3].noise_multiplier = nan;
  bad[4].expected_patients = 0;
  bad[5].sampling_rate = 0;
  bad[6].sampling_rate = 1.5;
  bad[7].patient_of_case.pop_back();
  bad[8].augmentations_averaged = 0;
  bad[9].uniform = nullptr;
  bad[10].add_noise = nullptr;
  bad[11].grid = 0.3;
  bad[12].grid = 0.25;  // coarser than the contributions
  bad[13].grid = -0.5;
  bad[14].expected_patients = std::numeric_limits<double>::infinity();
  auto session = Session::Create(options_);
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_THROW(session->Run(cases_, {.steps = 1, .private_training = bad[i]}, nullptr, nullptr),
                 std::invalid_argument)
        << i;
  }
  EXPECT_THROW(
      session->Run(cases_, {.steps = 1, .cases = {4}, .private_training = Everyone(4, 1.0)},
                   nullptr, nullptr),
      std::invalid_argument);
}

}  // namespace
}  // namespace consilium::training
