#include "site_agent/round/masking/masking_terms.h"

#include <functional>

#include "gtest/gtest.h"
#include "site_agent/round/masking/metrics.h"
#include "site_agent/round/masking/test_round.h"

namespace consilium::agent {
namespace {

TEST(MaskingTermsTest, TermsThatFollowThePlanAreTheJob) {
  const TestStudy study;
  const auto terms = CheckMaskingTerms(study.TrainTask("site-a"), kTestFederation);
  ASSERT_TRUE(terms.ok()) << terms.status();
  EXPECT_EQ(terms->job.job, "fed/hippo");
  EXPECT_EQ(terms->job.round, 1u);
  EXPECT_EQ(terms->job.model_digest, std::string(32, '\xaa'));
  EXPECT_EQ(terms->job.words, study.quantiser.Words(study.parameters));
  EXPECT_EQ(terms->quantiser, study.quantiser);
}

TEST(MaskingTermsTest, TermsThatDifferFromThePlanAreRefused) {
  const TestStudy study;
  const std::vector<std::function<void(SiteTask&)>> faults = {
      [](SiteTask& t) { t.masking.reset(); },
      [](SiteTask& t) { t.plan.protection.kind = "sealed"; },
      [](SiteTask& t) { t.masking->job = "fed/liver"; },
      [](SiteTask& t) { t.masking->job = "other/hippo"; },
      [](SiteTask& t) { t.masking->bits = 16; },
      [](SiteTask& t) { t.plan.protection.clip = 0.25; },
      [](SiteTask& t) { t.masking->min_cohort = 2; },
      [](SiteTask& t) { t.masking->min_cohort = 4; },
      [](SiteTask& t) { t.masking->words = 0; },
      [](SiteTask& t) { t.masking->words = secagg::kWordsMax + 1; },
      [](SiteTask& t) { t.masking->quantiser = "clip=0.5"; },
      [](SiteTask& t) { t.masking->quantiser = "clip=0.5;D=5000;lanes=6;metrics=patient"; },
      [](SiteTask& t) { t.masking->weight_max = 0; },
      [](SiteTask& t) { t.masking->weight_max = -1; },
      [](SiteTask& t) { t.masking->weight_max = 5001; },  // more than D
      [](SiteTask& t) { t.masking->weight_unit_milli = 0; },
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    SiteTask task = study.TrainTask("site-a");
    faults[i](task);
    EXPECT_TRUE(absl::IsInvalidArgument(CheckMaskingTerms(task, kTestFederation).status())) << i;
  }
}

TEST(MaskingTermsTest, TheWordsAreThoseOfTheModel) {
  const TestStudy study;
  const auto terms = CheckMaskingTerms(study.TrainTask("site-a"), kTestFederation);
  EXPECT_TRUE(CheckWords(*terms, study.parameters).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckWords(*terms, study.parameters + 1)));
}

TEST(MaskingTermsTest, AGroupIsNotTheWholeFederation) {
  wire::PlanProtection plan;
  EXPECT_TRUE(CheckGroup(plan, 200).ok());
  plan.group = 4;
  EXPECT_TRUE(CheckGroup(plan, 7).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckGroup(plan, 8)));
}

TEST(MaskingTermsTest, TheWeightIsInProportionToWhatWasTrainedOn) {
  MaskingTerms terms;
  terms.weight_max = 1000;
  EXPECT_EQ(UpdateWeight(terms, 8, 8), 1000u);
  EXPECT_EQ(UpdateWeight(terms, 6, 8), 750u);
  EXPECT_EQ(UpdateWeight(terms, 0, 8), 1u);
  EXPECT_EQ(UpdateWeight(terms, 9, 8), 1000u);
  EXPECT_EQ(UpdateWeight(terms, 0, 0), 1000u);
}

TEST(MetricsTest, ALaneHoldsWhatItCan) {
  UpdateFacts facts;
  facts.labelled_cases = 70'000;
  facts.summary.mean_loss = std::numeric_limits<double>::quiet_NaN();
  facts.summary.teacher_certainty = -1;
  facts.saturated = 0.25;
  EXPECT_EQ(MetricValues({"saturated", "loss", "teacher_certainty", "labelled_cases"}, facts),
            (std::vector<double>{0.25, 0, 0, secagg::kMetricMax}));
  EXPECT_FALSE(IsMetric("dice"));
}

}  // namespace
}  // namespace consilium::agent
