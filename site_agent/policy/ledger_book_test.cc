#include "site_agent/policy/ledger_book.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "site_agent/policy/ledger_entry.h"
#include "site_agent/policy/spent_epsilon.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

// steps / sigma^2 summed: additive as a Renyi divergence is, and easy to do by hand.
double Compose(const std::vector<BudgetPart>& parts, double) {
  double sum = 0;
  for (const BudgetPart& part : parts) {
    sum += part.sampling_rate * static_cast<double>(part.steps) /
           (part.noise_multiplier * part.noise_multiplier);
  }
  return sum;
}

std::string Tag(char c) { return std::string(kPatientTagBytes, c); }
BudgetPart Steps(int64_t steps) { return {Mechanism::kGaussian, 1, 1, steps}; }
Charge ChargeOf(const std::string& study, int64_t steps) {
  return {study, 1, "train/1", Steps(steps), 1e-5};
}

class LedgerBookTest : public testing::Test {
 protected:
  LedgerBookTest() {
    // a b | b c: b is in both.
    EXPECT_TRUE(book_.AddCohort("ab", {Tag('b'), Tag('a'), Tag('a')}).ok());
    EXPECT_TRUE(book_.AddCohort("bc", {Tag('b'), Tag('c')}).ok());
    EXPECT_TRUE(book_.AddReservation(1, "ab", ChargeOf("liver", 10)).ok());
    EXPECT_TRUE(book_.AddReservation(2, "bc", ChargeOf("heart", 5)).ok());
  }
  double Worst(const std::vector<std::string>& tags,
               std::optional<BudgetPart> more = std::nullopt) const {
    return book_.WorstOf(tags, more, 1e-5, Compose);
  }
  LedgerBook book_;
};

TEST_F(LedgerBookTest, APatientSpendsInEveryCohortThatItIsIn) {
  EXPECT_EQ(Worst({Tag('a')}), 10);
  EXPECT_EQ(Worst({Tag('b')}), 15);
  EXPECT_EQ(Worst({Tag('c')}), 5);
  EXPECT_EQ(Worst({Tag('z')}), 0);
  EXPECT_EQ(Worst({Tag('a'), Tag('c'), Tag('z')}), 10);
  EXPECT_EQ(Worst({}), 0);
  EXPECT_EQ(Worst({Tag('z')}, Steps(3)), 3);
  EXPECT_EQ(Worst({Tag('b'), Tag('z')}, Steps(3)), 18);
  EXPECT_THAT(book_.SpentBy({Tag('z'), Tag('b'), Tag('a')}, std::nullopt, 1e-5, Compose),
              ElementsAre(0, 15, 10));
}

TEST_F(LedgerBookTest, SettlingGivesBackWhatWasNotSpentAndNoMore) {
  EXPECT_TRUE(absl::IsInvalidArgument(book_.Settle(1, 11)));
  EXPECT_TRUE(absl::IsInvalidArgument(book_.Settle(1, -1)));
  EXPECT_TRUE(absl::IsNotFound(book_.Settle(3, 1)));
  EXPECT_EQ(Worst({Tag('b')}), 15);
  ASSERT_TRUE(book_.Settle(1, 4).ok());
  EXPECT_EQ(Worst({Tag('b')}), 9);
  EXPECT_TRUE(book_.Settle(1, 4).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(book_.Settle(1, 0)));
  ASSERT_TRUE(book_.Settle(2, 0).ok());
  EXPECT_EQ(Worst({Tag('c')}), 0);
}

TEST_F(LedgerBookTest, StepsOfEqualKindAreComposedAsOnePart) {
  ASSERT_TRUE(book_.AddReservation(3, "bc", ChargeOf("heart", 7)).ok());
  Charge other = ChargeOf("heart", 1);
  other.part.noise_multiplier = 2;
  ASSERT_TRUE(book_.AddReservation(4, "bc", other).ok());
  std::vector<BudgetPart> seen;
  book_.WorstOf({Tag('b')}, Steps(1), 1e-5, [&](const std::vector<BudgetPart>& parts, double) {
    seen = parts;
    return 1.0;
  });
  EXPECT_THAT(seen, ElementsAre(Steps(23), other.part));
}

TEST_F(LedgerBookTest, TrainingWithoutNoiseBoundsNothing) {
  Charge naked{"pilot", 1, "train/9", {Mechanism::kNone, 1, 0, 1}, 0};
  ASSERT_TRUE(book_.AddReservation(3, "bc", naked).ok());
  EXPECT_EQ(Worst({Tag('b')}), std::numeric_limits<double>::infinity());
  EXPECT_EQ(Worst({Tag('a')}), 10);
  ASSERT_TRUE(book_.Settle(3, 0).ok());  // not one step was taken
  EXPECT_EQ(Worst({Tag('b')}), 15);
}

TEST_F(LedgerBookTest, WhatCannotBeComposedIsNoGuarantee) {
  for (const double bad : {std::nan(""), -1.0}) {
    EXPECT_TRUE(std::isinf(
        book_.WorstOf({Tag('a')}, std::nullopt, 1e-5, [&](const auto&, double) { return bad; })));
  }
}

TEST_F(LedgerBookTest, StudiesAreCountedEachByItself) {
  ASSERT_TRUE(book_.AddReservation(3, "bc", ChargeOf("liver", 1)).ok());
  ASSERT_TRUE(book_.Settle(3, 1).ok());
  const auto studies = book_.Studies(1e-5, Compose);
  ASSERT_THAT(studies, SizeIs(2));
  EXPECT_EQ(studies[0].study, "heart");
  EXPECT_EQ(studies[0].patients, 2);
  EXPECT_EQ(studies[0].epsilon, 5);
  EXPECT_EQ(studies[0].unsettled, 1);
  EXPECT_EQ(studies[1].study, "liver");
  EXPECT_EQ(studies[1].trainings, 2);
  EXPECT_EQ(studies[1].patients, 3);
  EXPECT_EQ(studies[1].epsilon, 11);  // b
  EXPECT_EQ(studies[1].unsettled, 1);
}

TEST_F(LedgerBookTest, WhatDoesNotHoldTogetherIsNotTaken) {
  EXPECT_FALSE(book_.AddCohort("x", {}).ok());
  EXPECT_FALSE(book_.AddCohort("x", {"short"}).ok());
  EXPECT_FALSE(book_.AddCohort("ab", {Tag('a')}).ok());
  EXPECT_TRUE(book_.AddCohort("ab", {Tag('a'), Tag('b')}).ok());
  EXPECT_FALSE(book_.AddReservation(1, "ab", ChargeOf("liver", 1)).ok());
  EXPECT_FALSE(book_.AddReservation(9, "nobody", ChargeOf("liver", 1)).ok());
}

TEST(SpentEpsilonTest, IsThatOfTheAccountantAndNoGuaranteeWhereItRefuses) {
  // Gaussian, sigma 4, one step, delta 1e-6: exactly 1.0607 (data/crypto/dp_vectors.json); by Renyi
  // divergence a little above.
  const double once = SpentEpsilonOf({{Mechanism::kGaussian, 1, 4, 1}}, 1e-6);
  EXPECT_GE(once, 1.0607);
  EXPECT_LE(once, 1.0607 * 1.25);
  EXPECT_GT(SpentEpsilonOf({{Mechanism::kGaussian, 1, 4, 2}}, 1e-6), once);
  EXPECT_LT(SpentEpsilonOf({{Mechanism::kGaussian, 0.1, 4, 1}}, 1e-6), once);
  EXPECT_TRUE(std::isnan(SpentEpsilonOf({{Mechanism::kGaussian, 1, 4, 1}}, 0)));
  LedgerBook book;
  ASSERT_TRUE(book.AddCohort("a", {Tag('a')}).ok());
  ASSERT_TRUE(book.AddReservation(1, "a", ChargeOf("liver", 1)).ok());
  EXPECT_TRUE(std::isinf(book.WorstOf({Tag('a')}, std::nullopt, 0, SpentEpsilonOf)));
}

TEST(CheckChargeTest, OnlyWhatCanBeAccountedFor) {
  const Charge good = ChargeOf("liver", 1);
  EXPECT_TRUE(CheckCharge(good).ok());
  const auto bad = [&](auto change) {
    Charge charge = good;
    change(charge);
    EXPECT_TRUE(absl::IsInvalidArgument(CheckCharge(charge)));
  };
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  bad([](Charge& c) { c.study = "Not A Name"; });
  bad([](Charge& c) { c.task_id = ""; });
  bad([](Charge& c) { c.round = -1; });
  bad([](Charge& c) { c.part.steps = 0; });
  bad([](Charge& c) { c.part.steps = kChargeStepsMax + 1; });
  for (const double x : {nan, 0.0, -1.0, 1.1}) bad([x](Charge& c) { c.part.sampling_rate = x; });
  for (const double x : {nan, 0.0, -1.0, inf}) bad([x](Charge& c) { c.part.noise_multiplier = x; });
  for (const double x : {nan, 1.0, -1.0}) bad([x](Charge& c) { c.delta = x; });
  bad([](Charge& c) { c.part.mechanism = Mechanism::kNone; });  // with noise
}

TEST(LedgerEntryTest, ReadsBackExactly) {
  const absl::Time time = absl::FromUnixMicros(1234567);
  Charge charge = ChargeOf("liver", 12345);
  charge.part.sampling_rate = 1.0 / 3;
  charge.part.noise_multiplier = 0.1 + 0.2;
  charge.delta = 1e-300;
  const std::string json = LedgerEntryToJson(ReserveEntry{"ab", charge, time}, 7);
  const auto read = LedgerEntryFromJson(json, 7);
  ASSERT_TRUE(read.ok()) << read.status() << json;
  EXPECT_EQ(std::get<ReserveEntry>(*read).charge, charge);
  EXPECT_EQ(std::get<ReserveEntry>(*read).time, time);
  EXPECT_EQ(LedgerEntryToJson(*read, 7), json);

  const CohortEntry cohort{"ab", 1, 2, {Tag('a'), Tag('\xff')}};
  const auto again = LedgerEntryFromJson(LedgerEntryToJson(cohort, 3), 3);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(std::get<CohortEntry>(*again).tags, cohort.tags);
  EXPECT_TRUE(LedgerEntryFromJson(LedgerEntryToJson(SettleEntry{5, 2, time}, 0), 0).ok());
}

TEST(LedgerEntryTest, WhatIsNoEntryIsDataLoss) {
  const std::string good = LedgerEntryToJson(SettleEntry{5, 2, absl::UnixEpoch()}, 0);
  EXPECT_TRUE(absl::IsDataLoss(LedgerEntryFromJson(good, 1).status()));
  for (std::string text :
       {R"({})", R"([1])", R"(x)", R"({"index":0,"type":"settle","v":1})",
        R"({"index":0,"reserve":-5,"steps":2,"time_us":0,"type":"settle","v":1})",
        R"({"index":0,"reserve":5,"steps":2.5,"time_us":0,"type":"settle","v":1})",
        R"({"index":0,"more":1,"reserve":5,"steps":2,"time_us":0,"type":"settle","v":1})",
        R"({"index":0,"reserve":5,"steps":2,"time_us":0,"type":"settle","v":2})",
        R"({"index":0,"reserve":5,"steps":2,"time_us":0,"type":"unsettle","v":1})"}) {
    EXPECT_TRUE(absl::IsDataLoss(LedgerEntryFromJson(text, 0).status())) << text;
  }
}

}  // namespace
}  // namespace consilium::agent
