#include "site_agent/round/site_round.h"

#include <variant>

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

using Delivery = SiteRound::Delivery;

TaskKey Train(int64_t round) {
  return {"task-" + std::to_string(round), TaskKind::kTrain, "hippo", round};
}

template <typename T>
bool LastIs(const std::vector<Effect>& effects) {
  return !effects.empty() && std::holds_alternative<T>(effects.back());
}

std::vector<std::string> Discarded(const std::vector<Effect>& effects) {
  std::vector<std::string> ids;
  for (const Effect& effect : effects) {
    if (const auto* discard = std::get_if<Discard>(&effect)) ids.push_back(discard->task_id);
  }
  return ids;
}

TEST(SiteRoundTest, ATaskIsDoneDeliveredAndDroppedWhenItHasEnded) {
  SiteRound round({});
  EXPECT_TRUE(LastIs<AskForTask>(round.Start()));
  EXPECT_TRUE(LastIs<Work>(round.OnTask(Train(1))));
  EXPECT_TRUE(LastIs<Deliver>(round.OnWorkDone()));
  EXPECT_EQ(round.SpooledTaskIds(), std::vector<std::string>{"task-1"});
  const auto effects = round.OnDelivered(Delivery::kHeld);
  EXPECT_TRUE(Discarded(effects).empty());
  EXPECT_TRUE(LastIs<AskForTask>(effects));
  EXPECT_EQ(Discarded(round.OnEnded({"task-1", "unknown"})), std::vector<std::string>{"task-1"});
  EXPECT_TRUE(round.SpooledTaskIds().empty());
  EXPECT_TRUE(LastIs<AskForTask>(round.OnNoTask()));
}

TEST(SiteRoundTest, WhatIsNotAnUpdateGoesWithItsDelivery) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  EXPECT_EQ(Discarded(round.OnDelivered(Delivery::kDone)), std::vector<std::string>{"task-1"});
}

TEST(SiteRoundTest, ADeliveredUpdateIsDeliveredAgainWhereTheCoordinatorLostIt) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  round.OnDelivered(Delivery::kHeld);
  EXPECT_TRUE(LastIs<Deliver>(round.OnTask(Train(1))));
  round.OnDelivered(Delivery::kHeld);
  // An asynchronous study has a task of the newer version before the older update is in one.
  EXPECT_TRUE(Discarded(round.OnTask(Train(2))).empty());
  EXPECT_EQ(round.SpooledTaskIds(), std::vector<std::string>{"task-1"});
}

TEST(SiteRoundTest, WhatWasDeliveredMakesRoomFirst) {
  std::vector<TaskKey> many;
  for (int i = 1; i < static_cast<int>(SiteRound::kSpooledMax); ++i) {
    many.push_back(Train(i));
    many.back().study = "study-" + std::to_string(i);
  }
  SiteRound round(many);
  round.Start();
  round.OnTask(Train(10));
  round.OnWorkDone();
  round.OnDelivered(Delivery::kHeld);
  TaskKey next = Train(11);
  next.study = "another";
  round.OnTask(next);
  EXPECT_EQ(Discarded(round.OnWorkDone()), std::vector<std::string>{"task-10"});
}

TEST(SiteRoundTest, RestartOffersTheSpooledResultAndDeliversInsteadOfWorking) {
  SiteRound round({Train(1)});
  round.Start();
  EXPECT_EQ(round.SpooledTaskIds(), std::vector<std::string>{"task-1"});
  EXPECT_TRUE(LastIs<Deliver>(round.OnTask(Train(1))));
}

TEST(SiteRoundTest, UnreachableCoordinatorKeepsTheResult) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  for (int i = 1; i < 50; ++i) {
    const auto effects = round.OnDeliveryFailed(CallFailure::kRetry);
    ASSERT_TRUE(LastIs<Wait>(effects));
    EXPECT_TRUE(Discarded(effects).empty());
    EXPECT_EQ(std::get<Wait>(effects.back()).failures, i);
    round.OnWaited();
    ASSERT_TRUE(LastIs<Deliver>(round.OnTask(Train(1))));
  }
}

TEST(SiteRoundTest, GoneResultIsDroppedOnlyAfterSeveralAnswers) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  for (int i = 1; i < SiteRound::kGoneMax; ++i) {
    EXPECT_TRUE(Discarded(round.OnDeliveryFailed(CallFailure::kGone)).empty());
    round.OnWaited();
    round.OnTask(Train(1));
  }
  EXPECT_EQ(Discarded(round.OnDeliveryFailed(CallFailure::kGone)).size(), 1u);
}

TEST(SiteRoundTest, WrongResultIsDroppedAtOnce) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  EXPECT_EQ(Discarded(round.OnDeliveryFailed(CallFailure::kWrong)).size(), 1u);
  EXPECT_TRUE(round.SpooledTaskIds().empty());
}

TEST(SiteRoundTest, ResultThatIsRefusedAgainAndAgainWaitsLonger) {
  SiteRound round({});
  round.Start();
  for (int i = 1; i <= 3; ++i) {
    round.OnTask(Train(1));
    round.OnWorkDone();
    const auto effects = round.OnDeliveryFailed(CallFailure::kWrong);
    ASSERT_TRUE(LastIs<Wait>(effects));
    EXPECT_EQ(std::get<Wait>(effects.back()).refusals, i);
    round.OnWaited();
    EXPECT_EQ(std::get<Wait>(round.OnAskFailed().back()).refusals, 0);
    round.OnWaited();
  }
  round.OnTask(Train(2));
  round.OnWorkDone();
  round.OnDelivered(Delivery::kHeld);
  round.OnTask(Train(3));
  round.OnWorkDone();
  EXPECT_EQ(std::get<Wait>(round.OnDeliveryFailed(CallFailure::kWrong).back()).refusals, 1);
}

TEST(SiteRoundTest, LaterRoundOfTheSameStudyDropsEarlierResults) {
  TaskKey other = Train(1);
  other.task_id = "other-1";
  other.study = "liver";
  SiteRound round({Train(1), other});
  round.Start();
  const auto effects = round.OnTask(Train(2));
  EXPECT_EQ(Discarded(effects), std::vector<std::string>{"task-1"});
  EXPECT_TRUE(LastIs<Work>(effects));
  EXPECT_EQ(round.SpooledTaskIds(), std::vector<std::string>{"other-1"});
}

TEST(SiteRoundTest, SpoolIsBounded) {
  std::vector<TaskKey> many;
  for (int i = 1; i <= 10; ++i) many.push_back(Train(i));
  SiteRound round(many);
  EXPECT_EQ(Discarded(round.Start()).size(), 10 - SiteRound::kSpooledMax);
  EXPECT_EQ(round.SpooledTaskIds().size(), SiteRound::kSpooledMax);
  EXPECT_EQ(round.SpooledTaskIds().back(), "task-10");
}

// A masked update is needed until its sum is open; what opens it must not push it out.
TEST(SiteRoundTest, ResultsWithoutAnUpdateNeverCostAnUpdateItsPlace) {
  SiteRound round({});
  round.Start();
  std::vector<std::string> updates;
  for (size_t i = 0; i < SiteRound::kSpooledMax; ++i) {
    const std::string study = "study-" + std::to_string(i);
    updates.push_back(study);
    round.OnTask({study, TaskKind::kTrain, study, 1});
    round.OnWorkDone();
    round.OnDelivered(Delivery::kHeld);
  }
  for (const TaskKind kind : {TaskKind::kConsent, TaskKind::kReveal}) {
    EXPECT_TRUE(LastIs<Work>(round.OnTask({TaskKindName(kind), kind, "study-0", 1})));
    EXPECT_TRUE(Discarded(round.OnWorkDone()).empty());
    EXPECT_EQ(Discarded(round.OnDelivered(Delivery::kDone)),
              std::vector<std::string>{TaskKindName(kind)});
  }
  EXPECT_EQ(round.SpooledTaskIds(), updates);
}

TEST(SiteRoundTest, OpeningARoundKeepsItsUpdateAndALaterRoundDropsWhatWasNotDelivered) {
  SiteRound round({});
  round.Start();
  round.OnTask(Train(1));
  round.OnWorkDone();
  round.OnDeliveryFailed(CallFailure::kRetry);
  round.OnWaited();
  EXPECT_TRUE(Discarded(round.OnTask({"consent-1", TaskKind::kConsent, "hippo", 1})).empty());
  round.OnWorkDone();
  round.OnDeliveryFailed(CallFailure::kRetry);
  round.OnWaited();
  EXPECT_EQ(Discarded(round.OnTask(Train(2))), (std::vector<std::string>{"task-1", "consent-1"}));
}

TEST(DeclineReasonTest, OnlyWordsOfOurOwnTravel) {
  const absl::Status status = absl::FailedPreconditionError("/home/patients/x.dcm");
  EXPECT_EQ(DeclineReason(status), "no case of this site fits the study");
  EXPECT_EQ(DeclineReason(WithDeclineReason(status, "min_cohort: 5 wanted")),
            "min_cohort: 5 wanted");
  EXPECT_EQ(DeclineReason(WithDeclineReason(status, std::string(500, 'x'))),
            std::string(kDeclineTextBytesMax, 'x'));
}

TEST(SiteRoundTest, FailuresInARowCountUntilSomethingSucceeds) {
  SiteRound round({});
  round.Start();
  round.OnAskFailed();
  round.OnWaited();
  EXPECT_EQ(std::get<Wait>(round.OnAskFailed().back()).failures, 2);
  round.OnWaited();
  round.OnNoTask();
  EXPECT_EQ(std::get<Wait>(round.OnAskFailed().back()).failures, 1);
}

TEST(SiteRoundTest, TaskThatKeepsFailingWaitsLonger) {
  SiteRound round({});
  round.Start();
  for (int i = 1; i <= 3; ++i) {
    round.OnTask(Train(1));
    EXPECT_EQ(std::get<Wait>(round.OnWorkFailed().back()).failures, i);
    round.OnWaited();
  }
}

TEST(SiteRoundTest, EvaluationDoesNotDropAnUpdateThatIsStillAwaited) {
  SiteRound round({Train(1)});
  round.Start();
  const TaskKey evaluate = {"evaluate-2", TaskKind::kEvaluate, "hippo", 2};
  EXPECT_TRUE(Discarded(round.OnTask(evaluate)).empty());
  round.OnWorkDone();
  round.OnDelivered(Delivery::kDone);
  EXPECT_TRUE(LastIs<Deliver>(round.OnTask(Train(1))));
}

TEST(SiteRoundTest, TroubleWithAnotherTaskCountsAnew) {
  SiteRound round({});
  round.Start();
  for (int i = 1; i < SiteRound::kWorkTriesMax; ++i) {
    round.OnTask(Train(1));
    EXPECT_TRUE(LastIs<Wait>(round.OnWorkFailed(WorkFailure::kTrouble)));
    round.OnWaited();
  }
  round.OnTask(Train(2));
  EXPECT_TRUE(LastIs<Wait>(round.OnWorkFailed(WorkFailure::kTrouble)));
  round.OnWaited();
  round.OnTask(Train(2));
  EXPECT_TRUE(LastIs<Decline>(round.OnWorkFailed(WorkFailure::kHopeless)));
  EXPECT_TRUE(LastIs<AskForTask>(round.OnDeclined()));
}

TEST(SiteRoundTest, AbandonedWorkIsNoFailure) {
  SiteRound round({});
  round.Start();
  for (int i = 0; i < 5; ++i) {
    round.OnTask(Train(i));
    EXPECT_EQ(std::get<Wait>(round.OnWorkFailed(WorkFailure::kAbandoned).back()).failures, 1);
    round.OnWaited();
  }
}

TEST(SiteRoundDeathTest, EventOutOfPhaseEndsTheProcess) {
  SiteRound round({});
  EXPECT_DEATH(round.OnWorkDone(), "");
}

TEST(ClassifyFailureTest, OnlyAnswersAboutTheResultDropIt) {
  EXPECT_EQ(ClassifyFailure(absl::UnavailableError("")), CallFailure::kRetry);
  EXPECT_EQ(ClassifyFailure(absl::PermissionDeniedError("")), CallFailure::kRetry);
  EXPECT_EQ(ClassifyFailure(absl::DataLossError("")), CallFailure::kRetry);
  EXPECT_EQ(ClassifyFailure(absl::FailedPreconditionError("")), CallFailure::kGone);
  EXPECT_EQ(ClassifyFailure(absl::InvalidArgumentError("")), CallFailure::kWrong);
}

}  // namespace
}  // namespace consilium::agent
