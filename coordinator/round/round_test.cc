#include "coordinator/round/round.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
const absl::Duration kDeadline = absl::Minutes(30);

Round MakeRound(int64_t quorum) {
  return Round::Open({.study = "hippo",
                      .number = 3,
                      .quorum = quorum,
                      .base_version = "hippo/2",
                      .base_sha256 = "ab",
                      .now = kStart,
                      .deadline = kDeadline},
                     {{"north", "t-north", 8000, ""},
                      {"south", "t-south", 4000, ""},
                      {"west", "t-west", 1000, ""},
                      {"east", "t-east", 1000, "not connected"}});
}

VerifiedUpdate Update(const char* id, int64_t weight = 1000) {
  return {.upload_id = id,
          .bytes = 10,
          .labelled_cases = 1,
          .unlabelled_cases = 0,
          .weight_milli = weight,
          .summary = {}};
}

template <typename E>
bool Has(const RoundEffects& effects) {
  for (const RoundEffect& effect : effects) {
    if (std::holds_alternative<E>(effect)) return true;
  }
  return false;
}

TEST(RoundTest, ACopyOfAnotherSitesUpdateIsNotTakenUnlessItIsEmpty) {
  Round round = MakeRound(2);
  VerifiedUpdate update = Update("u1"), copy = Update("u2");
  update.values_sha256 = copy.values_sha256 = "aa";
  ASSERT_TRUE(round.OnUpdateVerified("north", update, kStart).ok());
  EXPECT_EQ(round.OnUpdateVerified("south", copy, kStart).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(round.Awaits("south"));
  copy.all_zero = true;  // whoever learnt nothing is not a copier
  EXPECT_TRUE(round.OnUpdateVerified("south", copy, kStart).ok());
}

TEST(RoundTest, LastAwaitedUpdateStartsAggregation) {
  Round round = MakeRound(2);
  auto effects = round.OnUpdateVerified("north", Update("u1"), kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_THAT(*effects, IsEmpty());
  EXPECT_THAT(round.Accepted(), SizeIs(1));
  ASSERT_TRUE(round.OnUpdateVerified("south", Update("u2"), kStart).ok());
  effects = round.OnUpdateVerified("west", Update("u3"), kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_THAT(round.Accepted(), SizeIs(3));
  EXPECT_TRUE(Has<Aggregate>(*effects));
  EXPECT_EQ(round.phase(), RoundPhase::kAggregating);
  round.OnCommitted("hippo/3", kStart);
  EXPECT_EQ(round.Find("north")->outcome, Outcome::kFolded);
  EXPECT_EQ(round.Find("east")->outcome, Outcome::kSkipped);
}

TEST(RoundTest, WeightIsCappedByTheCohortReport) {
  Round round = MakeRound(1);
  auto effects = round.OnUpdateVerified("west", Update("u", 1'000'000), kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_EQ(round.Accepted().front().weight, 1000);
}

TEST(RoundTest, WeightsBeyondTheFoldsRangeAreScaledTogether) {
  Round round = Round::Open({.study = "s",
                             .number = 1,
                             .quorum = 1,
                             .base_version = "",
                             .base_sha256 = "",
                             .now = kStart,
                             .deadline = kDeadline},
                            {{"a", "ta", 30'000'000, ""}, {"b", "tb", 10'000'000, ""}});
  auto a = round.OnUpdateVerified("a", Update("u1", 30'000'000), kStart);
  auto b = round.OnUpdateVerified("b", Update("u2", 10'000'000), kStart);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(round.Accepted()[0].weight, 10'000'000);
  EXPECT_EQ(round.Accepted()[1].weight, 3'333'333);
}

TEST(RoundTest, SecondUpdateOfASiteIsAConflict) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(
      round.OnUpdateVerified("north", Update("u2"), kStart).status()));
  EXPECT_EQ(round.Find("north")->upload_id, "u1");
}

TEST(RoundTest, ForeignAndSkippedSitesAreNotPartOfIt) {
  Round round = MakeRound(2);
  EXPECT_TRUE(absl::IsNotFound(round.OnUpdateVerified("moon", Update("u"), kStart).status()));
  EXPECT_TRUE(absl::IsNotFound(round.OnUpdateVerified("east", Update("u"), kStart).status()));
  EXPECT_FALSE(round.Awaits("east"));
}

TEST(RoundTest, LateUpdateIsRefused) {
  Round round = MakeRound(2);
  const absl::Time late = kStart + kDeadline + absl::Seconds(1);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(round.OnUpdateVerified("north", Update("u"), late).status()));
}

TEST(RoundTest, DeadlineWithQuorumGoesOnWithoutTheStragglers) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  ASSERT_TRUE(round.OnUpdateVerified("south", Update("u2"), kStart).ok());
  EXPECT_THAT(round.OnTime(kStart + kDeadline), IsEmpty());
  EXPECT_TRUE(Has<Aggregate>(round.OnTime(kStart + kDeadline + absl::Seconds(1))));
  EXPECT_EQ(round.Find("west")->outcome, Outcome::kMissing);
}

TEST(RoundTest, DeadlineWithoutQuorumFails) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_TRUE(Has<RoundFailed>(round.OnTime(kStart + kDeadline + absl::Seconds(1))));
  EXPECT_EQ(round.phase(), RoundPhase::kFailed);
  EXPECT_THAT(round.OnTime(kStart + 2 * kDeadline), IsEmpty());
}

TEST(RoundTest, FailsAsSoonAsTheQuorumIsOutOfReach) {
  Round round = MakeRound(2);
  EXPECT_THAT(round.OnSiteGone("north", "the site was revoked", kStart), IsEmpty());
  auto effects = round.OnUpdateRefused("south", "a value is NaN", kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_TRUE(Has<RoundFailed>(*effects));
  EXPECT_EQ(round.Find("south")->reason, "a value is NaN");
}

TEST(RoundTest, RefusedSiteIsNoLongerAwaited) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateRefused("west", "wrong", kStart).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      round.OnUpdateVerified("west", Update("u"), kStart).status()));
}

TEST(RoundTest, SuspensionAfterAcceptanceKeepsTheUpdate) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_THAT(round.OnSiteGone("north", "suspended", kStart), IsEmpty());
  EXPECT_EQ(round.Find("north")->outcome, Outcome::kAccepted);
}

TEST(RoundTest, RevocationTakesAnAcceptedUpdateOutAndTheQuorumIsReckonedAgain) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_THAT(round.OnRevoked("south", "revoked", kStart).parts, IsEmpty()) << "gave nothing";
  const Round::Withdrawal withdrawal = round.OnRevoked("north", "the site was revoked", kStart);
  ASSERT_THAT(withdrawal.parts, SizeIs(1));
  EXPECT_EQ(withdrawal.parts[0].upload_id, "u1");
  EXPECT_THAT(withdrawal.effects, IsEmpty()) << "south and west are enough";
  EXPECT_EQ(round.Find("north")->outcome, Outcome::kRefused);
  EXPECT_EQ(round.Find("north")->reason, "the site was revoked");
  EXPECT_THAT(round.Accepted(), IsEmpty());
  ASSERT_TRUE(round.OnUpdateVerified("south", Update("u2"), kStart).ok());
  EXPECT_TRUE(Has<RoundFailed>(round.OnRevoked("south", "revoked", kStart).effects))
      << "west alone is less than the quorum";
}

TEST(RoundTest, RevocationWhileItAggregatesStartsThatAnewOrFailsTheRound) {
  Round round = MakeRound(2);
  for (const char* site : {"north", "south", "west"}) {
    ASSERT_TRUE(round.OnUpdateVerified(site, Update(site), kStart).ok());
  }
  ASSERT_EQ(round.phase(), RoundPhase::kAggregating);
  EXPECT_TRUE(Has<Aggregate>(round.OnRevoked("north", "revoked", kStart).effects));
  EXPECT_THAT(round.Accepted(), SizeIs(2));
  EXPECT_TRUE(Has<RoundFailed>(round.OnRevoked("west", "revoked", kStart).effects));
  EXPECT_EQ(round.phase(), RoundPhase::kFailed);
}

TEST(RoundTest, RestartFromPersistedBytesKnowsWhatWasAccepted) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  auto record = Decode<RoundRecord>(Encode(round.record()));
  ASSERT_TRUE(record.ok()) << record.status();
  Round again(*record);
  EXPECT_EQ(Encode(again.record()), Encode(round.record()));
  EXPECT_THAT(again.Accepted(), SizeIs(1));
  EXPECT_TRUE(again.Awaits("south"));
  EXPECT_FALSE(again.Awaits("north"));
  ASSERT_TRUE(again.OnUpdateVerified("south", Update("u2"), kStart).ok());
  ASSERT_TRUE(again.OnUpdateVerified("west", Update("u3"), kStart).ok());
  const Round closed(again.record());
  EXPECT_THAT(closed.Accepted(), SizeIs(3));
  EXPECT_EQ(closed.phase(), RoundPhase::kAggregating);
}

TEST(RoundTest, ALostUpdateIsAwaitedAgainAndTheOthersStay) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  ASSERT_TRUE(round.OnUpdateVerified("south", Update("u2"), kStart).ok());
  EXPECT_TRUE(Has<Aggregate>(round.OnSilence({{"west", "silent for 1m"}}, kStart)));
  round.OnUpdatesLost({"t-south"});
  EXPECT_TRUE(round.open());
  EXPECT_EQ(round.record().reason, "") << "it is not closed early any more";
  EXPECT_TRUE(round.Awaits("south"));
  EXPECT_EQ(round.Find("south")->upload_id, "");
  EXPECT_EQ(round.Find("north")->outcome, Outcome::kAccepted);
  EXPECT_EQ(round.Find("west")->outcome, Outcome::kMissing);
  const auto again = round.OnUpdateVerified("south", Update("u2"), kStart);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(Has<Aggregate>(*again));
  EXPECT_THAT(round.Accepted(), SizeIs(2));
}

TEST(RoundTest, PauseMovesTheDeadline) {
  Round round = MakeRound(2);
  round.Extend(absl::Hours(5));
  EXPECT_THAT(round.OnTime(kStart + absl::Hours(5)), IsEmpty());
  EXPECT_EQ(round.deadline(), kStart + absl::Hours(5) + kDeadline);
}

TEST(RoundTest, QuorumDoesNotWaitForSitesThatAreAllSilent) {
  Round round = MakeRound(2);
  const Round::Idle west = {"west", "silent for 1m"};
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_THAT(round.OnSilence({west, {"south", ""}}, kStart), IsEmpty()) << "no quorum";
  ASSERT_TRUE(round.OnUpdateVerified("south", Update("u2"), kStart).ok());
  EXPECT_THAT(round.OnSilence({}, kStart), IsEmpty()) << "west is working";
  EXPECT_TRUE(Has<Aggregate>(round.OnSilence({west}, kStart)));
  EXPECT_EQ(round.Find("west")->outcome, Outcome::kMissing);
  EXPECT_EQ(round.Find("west")->reason, "silent for 1m");
  EXPECT_EQ(round.record().reason, "closed early: west silent for 1m");
  EXPECT_TRUE(absl::IsFailedPrecondition(
      round.OnUpdateVerified("west", Update("u3"), kStart).status()));
}

TEST(RoundTest, SilentSiteThatComesBackBeforeTheEndIsTaken) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_THAT(round.OnSilence({{"south", "silent"}, {"west", "silent"}}, kStart), IsEmpty());
  ASSERT_TRUE(round.OnUpdateVerified("west", Update("u2"), kStart).ok());
  EXPECT_TRUE(Has<Aggregate>(round.OnSilence({{"south", "silent"}}, kStart)));
  EXPECT_EQ(round.Find("west")->outcome, Outcome::kAccepted);
}

TEST(RoundTest, SiteThatDeclinesCountsAsMissingWithItsReason) {
  Round round = MakeRound(2);
  ASSERT_TRUE(round.OnDeclined("west", "no space left", kStart).ok());
  EXPECT_FALSE(round.Awaits("west"));
  EXPECT_EQ(round.Find("west")->reason, "no space left");
  auto effects = round.OnDeclined("south", "no GPU", kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_TRUE(Has<RoundFailed>(*effects)) << "one site is left where the quorum is two";
}

Round RequiringWest() {
  return Round::Open({.study = "hippo",
                      .number = 1,
                      .quorum = 1,
                      .base_version = "hippo/0",
                      .base_sha256 = "ab",
                      .now = kStart,
                      .deadline = kDeadline,
                      .required = {"west"}},
                     {{"north", "t-north", 8000, ""}, {"west", "t-west", 1000, ""}});
}

TEST(RoundTest, RequiredSiteIsWaitedForAndItsAbsenceFailsTheRound) {
  Round round = RequiringWest();
  ASSERT_TRUE(round.OnUpdateVerified("north", Update("u1"), kStart).ok());
  EXPECT_THAT(round.OnSilence({{"west", "silent"}}, kStart), IsEmpty());
  EXPECT_TRUE(Has<RoundFailed>(round.OnTime(kStart + kDeadline + absl::Seconds(1))));
  EXPECT_EQ(round.record().reason, "the study requires west (no update before the deadline)");
  EXPECT_EQ(round.Find("north")->reason, "dropped with the failed round");
}

TEST(RoundTest, RequiredSiteThatDeclinesFailsTheRoundAtOnce) {
  Round round = RequiringWest();
  auto effects = round.OnDeclined("west", "no space left", kStart);
  ASSERT_TRUE(effects.ok());
  EXPECT_TRUE(Has<RoundFailed>(*effects));
}

}  // namespace
}  // namespace consilium::coordinator
