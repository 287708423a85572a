#include "coordinator/round/study_run.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kYaml = R"(name: hippo
task: {labels: {1: Anterior}}
aggregation: {min_sites: 2, unlabelled_after: 1}
rounds: {count: 2, deadline: 10m, quorum: 1, stall: 2m}
sites: {evaluators: [reader]}
)";

const NewModel kModel = {.sha256 = "aa", .bytes = 100, .parameters = 9, .layout_sha256 = "ll"};

// A study whose time and sites the test decides.
class StudyRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run = StudyRun::Create(kYaml, "run", now_);
    ASSERT_TRUE(run.ok()) << run.status();
    run_.emplace(*std::move(run));
    Step step;
    ASSERT_TRUE(run_->OnControl("start", "", now_, step).ok());
  }
  Step Tick(absl::Duration after = absl::ZeroDuration()) {
    now_ += after;
    Step step;
    run_->OnTime(sites_, now_, step);
    return step;
  }
  void Report(const std::string& site, int64_t cases, int64_t labelled, int64_t held_out = 0) {
    CohortRecord report;
    report.site = site;
    report.cases = cases;
    report.labelled_cases = labelled;
    report.held_out_cases = held_out;
    report.median_spacing_xyz_mm = {1, 1, 1};
    report.median_size_xyz = {40, 40, 40};
    Step step;
    const auto task = run_->TaskFor(site, now_);
    ASSERT_TRUE(task && task->kind == TaskKind::kPrepare);
    ASSERT_TRUE(run_->OnCohortReport(report, task->task_id, now_, step).ok());
    EXPECT_THAT(step.audit, SizeIs(1));
  }
  absl::Status Submit(const std::string& site, int64_t labelled = 5) {
    Step step;
    return run_->OnUpdateVerified(site,
                                  {.upload_id = site,
                                   .bytes = 1,
                                   .labelled_cases = labelled,
                                   .unlabelled_cases = 5,
                                   .weight_milli = 0,
                                   .summary = {}},
                                  now_, step);
  }
  void CommitModel() {
    Step step;
    ASSERT_TRUE(run_->OnModelReady(kModel, now_, step).ok());
    EXPECT_EQ(step.audit.front().action, "round.commit");
  }
  // Up to the first open round, with `a` labelled and `b` not.
  void OpenFirstRound(bool reader_reports = true) {
    Report("a", 10, 10, 2);
    Report("b", 10, 0);
    if (reader_reports) Report("reader", 4, 4, 4);
    Tick();
    Tick(kGrace * 2);
    Tick();
    ASSERT_TRUE(Submit("a").ok());
    CommitModel();
    Tick();
    ASSERT_EQ(run_->record().stage, Stage::kRound);
  }
  void ReachLastEvaluation(bool reader_reports = true) {
    OpenFirstRound(reader_reports);
    for (int round = 1; round <= 2; ++round) {
      ASSERT_TRUE(Submit("a").ok());
      if (round == 2) {
        ASSERT_TRUE(Submit("b", 0).ok());
      }
      CommitModel();
      Tick();
    }
    ASSERT_EQ(run_->record().stage, Stage::kEvaluating);
  }
  // The records as a restart would find them.
  void Restart() {
    auto study = Decode<StudyRecord>(Encode(run_->record()));
    std::optional<RoundRecord> round;
    if (run_->round()) round = Decode<RoundRecord>(Encode(run_->round()->record())).value();
    std::optional<EvaluationRecord> evaluation;
    if (run_->evaluation()) {
      evaluation = Decode<EvaluationRecord>(Encode(*run_->evaluation())).value();
    }
    auto again = StudyRun::FromRecords(*study, round, evaluation);
    ASSERT_TRUE(again.ok()) << again.status();
    run_.emplace(*std::move(again));
  }

  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  std::vector<SiteView> sites_ = {{"a", true, true}, {"b", true, true}, {"reader", true, true}};
  std::optional<StudyRun> run_;
};

TEST_F(StudyRunTest, PlanIsFixedWhenAllReported) {
  Report("a", 10, 10);
  EXPECT_FALSE(Tick().changed()) << "one trainer is less than min_sites";
  Report("b", 10, 0);
  EXPECT_FALSE(Tick().changed()) << "the reader has not reported and the grace is not over";
  Report("reader", 4, 4);
  EXPECT_TRUE(Tick().changed());
  EXPECT_EQ(run_->record().state, StudyState::kRunning);
  EXPECT_TRUE(wire::PlanFromJson(run_->record().plan_json).ok());
}

TEST_F(StudyRunTest, PlanIsFixedWithoutStragglersAfterTheGrace) {
  Report("a", 10, 10);
  Report("b", 10, 0);
  EXPECT_FALSE(Tick().changed());
  EXPECT_FALSE(Tick(kGrace - absl::Seconds(1)).changed());
  EXPECT_TRUE(Tick(absl::Seconds(2)).changed());
  const auto task = run_->TaskFor("reader", now_);
  ASSERT_TRUE(task && task->kind == TaskKind::kPrepare) << "it may still join";
  EXPECT_EQ(task->plan_json, run_->record().plan_json);
  EXPECT_TRUE(task->evaluator);
}

TEST_F(StudyRunTest, WrongCohortsAreRefused) {
  CohortRecord report;
  report.site = "a";
  report.cases = 5;
  report.labelled_cases = 6;
  Step step;
  const std::string task_id = run_->TaskFor("a", now_)->task_id;
  EXPECT_TRUE(absl::IsInvalidArgument(run_->OnCohortReport(report, task_id, now_, step)));
  EXPECT_TRUE(absl::IsFailedPrecondition(run_->OnCohortReport(report, "other", now_, step)));
  EXPECT_FALSE(step.changed());
}

TEST_F(StudyRunTest, SiteWithoutLabelsJoinsAfterTheWarmUp) {
  OpenFirstRound();
  EXPECT_EQ(run_->round()->Find("b")->outcome, Outcome::kSkipped);
  EXPECT_EQ(run_->round()->Find("reader"), nullptr);
  EXPECT_FALSE(run_->TaskFor("b", now_).has_value());
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  EXPECT_EQ(run_->record().round, 2);
  EXPECT_TRUE(run_->round()->Awaits("b"));
  EXPECT_EQ(run_->round()->Find("b")->weight_max_milli, 2000) << "10 unlabelled cases at 0.2";
}

TEST_F(StudyRunTest, TaskIdsAreTheSameAfterARestart) {
  OpenFirstRound();
  const auto before = run_->TaskFor("a", now_);
  Restart();
  const auto after = run_->TaskFor("a", now_);
  ASSERT_TRUE(before && after);
  EXPECT_EQ(after->task_id, before->task_id);
  EXPECT_EQ(after->model_sha256, "aa");
  ASSERT_TRUE(Submit("a").ok());
  Restart();
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  EXPECT_THAT(run_->Resume(), SizeIs(1)) << "aggregate again";
  CommitModel();
}

TEST_F(StudyRunTest, FailedRoundIsTriedOnceMoreThenTheStudyFails) {
  OpenFirstRound();
  Step step = Tick(absl::Minutes(11));
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kFailed);
  EXPECT_EQ(run_->record().state, StudyState::kRunning);
  ASSERT_THAT(step.effects, SizeIs(1));
  EXPECT_TRUE(std::holds_alternative<DropUploads>(step.effects[0]));
  Tick();
  EXPECT_EQ(run_->record().round, 2) << "under a fresh number";
  EXPECT_EQ(run_->round()->record().base_version, "hippo/0");
  Tick(absl::Minutes(11));
  EXPECT_EQ(run_->record().state, StudyState::kFailed);
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  Step resumed;
  ASSERT_TRUE(run_->OnControl("resume", "the network is back", now_, resumed).ok());
  Tick();
  EXPECT_EQ(run_->record().round, 3);
}

TEST_F(StudyRunTest, AnotherSiteMakesTheFirstWeightsIfOneDoesNot) {
  Report("a", 10, 10);
  Report("b", 10, 10);
  Report("reader", 4, 4);
  Tick();
  Tick();
  const std::string first = run_->round()->record().contributions[0].site;
  Tick(absl::Minutes(11));
  Tick();
  ASSERT_EQ(run_->record().stage, Stage::kInitialising);
  EXPECT_NE(run_->round()->record().contributions[0].site, first);
}

TEST_F(StudyRunTest, RoundWaitsForEnoughConnectedSites) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  sites_[1].connected = false;
  Tick(kGrace * 2);
  EXPECT_EQ(run_->record().stage, Stage::kBetweenRounds) << "min_sites is 2";
  sites_[1].connected = true;
  Tick();
  EXPECT_EQ(run_->record().stage, Stage::kRound);
}

TEST_F(StudyRunTest, PauseStopsTheDeadlineButTakesWhatIsOnItsWay) {
  OpenFirstRound();
  Step step;
  ASSERT_TRUE(run_->OnControl("pause", "maintenance", now_, step).ok());
  EXPECT_FALSE(Tick(absl::Hours(5)).changed());
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  ASSERT_TRUE(run_->OnControl("resume", "", now_, step).ok());
  EXPECT_FALSE(Tick().changed());
  EXPECT_TRUE(run_->TaskFor("a", now_).has_value());
  const std::string task_id = run_->TaskFor("a", now_)->task_id;
  ASSERT_TRUE(run_->OnControl("pause", "once more", now_, step).ok());
  Tick(absl::Hours(5));
  EXPECT_TRUE(run_->Awaits("a", task_id, now_));
  EXPECT_FALSE(run_->Awaits("a", "other", now_));
  ASSERT_TRUE(Submit("a").ok()) << "it was on its way";
  EXPECT_FALSE(run_->Awaits("a", task_id, now_));
}

TEST_F(StudyRunTest, RoundDoesNotWaitForASiteThatIsNoLongerApproved) {
  OpenFirstRound();
  sites_[0].approved = false;
  EXPECT_TRUE(Tick().changed());
  EXPECT_EQ(run_->round()->Find("a")->outcome, Outcome::kMissing);
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kFailed);
}

TEST_F(StudyRunTest, DowntimeLeavesAnOpenRoundSomeTime) {
  OpenFirstRound();
  now_ += absl::Hours(5);
  Restart();
  run_->OnRestart(now_);
  EXPECT_FALSE(Tick(absl::Minutes(9)).changed());
  EXPECT_TRUE(run_->round()->Awaits("a"));
  EXPECT_TRUE(Tick(absl::Minutes(2)).changed());
}

TEST_F(StudyRunTest, CohortWithoutACaseIsStoredCleanAndAskedForAgain) {
  CohortRecord report;
  report.site = "a";
  const std::string task_id = run_->TaskFor("a", now_)->task_id;
  Step step;
  report.median_spacing_xyz_mm.assign(3, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(absl::IsInvalidArgument(run_->OnCohortReport(report, task_id, now_, step)));
  report.median_spacing_xyz_mm.assign(3, 0);
  ASSERT_TRUE(run_->OnCohortReport(report, task_id, now_, step).ok());
  EXPECT_THAT(run_->Cohort("a")->median_spacing_xyz_mm, IsEmpty());
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  EXPECT_TRUE(run_->Awaits("a", task_id, now_));
  now_ += kPrepareAgain;
  Report("a", 10, 10);
  EXPECT_EQ(run_->Cohort("a")->cases, 10);
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
}

TEST_F(StudyRunTest, CohortMayBeReplacedUntilThePlanIsFixed) {
  Report("a", 10, 10);
  CohortRecord better = *run_->Cohort("a");
  better.cases = 12;
  const std::string task_id = run_->TaskId(TaskKind::kPrepare, 0, "a");
  Step step;
  ASSERT_TRUE(run_->OnCohortReport(better, task_id, now_, step).ok());
  EXPECT_EQ(run_->Cohort("a")->cases, 12);
  Report("b", 10, 0);
  Report("reader", 4, 4);
  Tick();
  better.cases = 20;
  ASSERT_TRUE(run_->OnCohortReport(better, task_id, now_, step).ok());
  EXPECT_EQ(run_->Cohort("a")->cases, 12);
}

TEST_F(StudyRunTest, SitesThatCannotTrainDoNotCount) {
  Report("a", 10, 10);
  Report("b", 3, 3, 3);
  Report("reader", 4, 4);
  EXPECT_FALSE(Tick(kGrace * 2).changed());
  EXPECT_EQ(run_->record().state, StudyState::kPreparing);
  EXPECT_THAT(run_->waiting(), testing::HasSubstr("1 of 2"));
}

TEST_F(StudyRunTest, StopEndsTheRoundAndALateModelIsNotCommitted) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  Step step;
  ASSERT_TRUE(run_->OnControl("stop", "enough", now_, step).ok());
  EXPECT_EQ(run_->record().state, StudyState::kStopped);
  EXPECT_TRUE(absl::IsFailedPrecondition(run_->OnModelReady(kModel, now_, step).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(run_->OnControl("resume", "", now_, step)));
}

TEST_F(StudyRunTest, EvaluationIsCheckedAndEndsTheStudy) {
  ReachLastEvaluation();
  const auto task = run_->TaskFor("a", now_);
  ASSERT_TRUE(task && task->kind == TaskKind::kEvaluate);
  EXPECT_EQ(task->model_version, "hippo/2");
  Step step;
  const auto report = [&](std::vector<CaseDiceRecord> cases) {
    return run_->OnEvaluationReport("a", task->task_id, std::move(cases), now_, step);
  };
  EXPECT_TRUE(report({{"p", {0.5}}, {"q", {1.0}}, {"r", {0.75}}}).ok())
      << "it reported two held-out cases; data grows";
  EXPECT_TRUE(report({{"p", {0.1}}}).ok()) << "a repeat; the first one stands";
  EXPECT_EQ(run_->evaluation()->sites[0].mean_dice, std::vector<double>{0.75});
  EXPECT_FALSE(run_->TaskFor("b", now_).has_value()) << "it holds nothing out";
  Tick(absl::Minutes(11));
  EXPECT_EQ(run_->record().state, StudyState::kFinished);
  EXPECT_EQ(run_->evaluation()->sites[1].state, ReportState::kMissing);
  EXPECT_EQ(run_->evaluation()->sites[1].reason, "no report before the deadline");
  Restart();
}

TEST_F(StudyRunTest, WrongEvaluationEndsTheSitesPart) {
  ReachLastEvaluation();
  const auto task = run_->TaskFor("a", now_);
  ASSERT_TRUE(task.has_value());
  Step step;
  EXPECT_TRUE(absl::IsInvalidArgument(
      run_->OnEvaluationReport("a", task->task_id, {{"p", {1.5}}}, now_, step)));
  EXPECT_TRUE(step.changed());
  EXPECT_EQ(run_->evaluation()->sites[0].state, ReportState::kMissing);
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  EXPECT_FALSE(run_->Awaits("a", task->task_id, now_));
}

TEST_F(StudyRunTest, EvaluationDoesNotWaitForASiteThatIsNoLongerApproved) {
  ReachLastEvaluation();
  sites_[0].approved = sites_[2].approved = false;
  EXPECT_TRUE(Tick().changed());
  EXPECT_EQ(run_->record().state, StudyState::kFinished);
  EXPECT_EQ(run_->evaluation()->sites[0].reason, "not approved");
}

TEST_F(StudyRunTest, LastEvaluationWaitsForAnEvaluatorThatIsStillPreparing) {
  ReachLastEvaluation(/*reader_reports=*/false);
  const SiteEvaluationRecord& entry = run_->evaluation()->sites[1];
  EXPECT_EQ(entry.site, "reader");
  EXPECT_EQ(entry.state, ReportState::kAwaited);
  Report("reader", 4, 4);
  const auto task = run_->TaskFor("reader", now_);
  ASSERT_TRUE(task && task->kind == TaskKind::kEvaluate);
  EXPECT_EQ(task->task_id, entry.task_id);
}

TEST_F(StudyRunTest, AbsentEvaluatorIsRecordedAsMissing) {
  sites_[2].connected = false;
  ReachLastEvaluation(/*reader_reports=*/false);
  EXPECT_EQ(run_->evaluation()->sites[1].state, ReportState::kMissing);
  EXPECT_EQ(run_->evaluation()->sites[1].reason, "has not reported its data");
}

TEST_F(StudyRunTest, UpdateOfNoCaseIsRefused) {
  OpenFirstRound();
  EXPECT_TRUE(absl::IsInvalidArgument(Submit("a", 0)));
  EXPECT_TRUE(run_->round()->Awaits("a"));
}

TEST_F(StudyRunTest, SilentSiteCostsTheRoundItsLeaseAndNoMore) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  ASSERT_TRUE(run_->round()->Awaits("b"));
  ASSERT_TRUE(Submit("a").ok()) << "the quorum is 1";
  sites_[1].heard = now_ + absl::Seconds(5);  // b: its last sign of life
  EXPECT_FALSE(Tick(absl::Seconds(65)).changed());
  const Step step = Tick(absl::Seconds(1));
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  ASSERT_THAT(step.audit, SizeIs(2));
  EXPECT_EQ(step.audit[0].reason, "silent for 1m");
  EXPECT_EQ(step.audit[0].site, "b");
}

TEST_F(StudyRunTest, StalledSiteIsLeftOutWithWhereItStandsAndTakenUpWhenItAdvances) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  const auto advances = [&] {
    sites_[1].heard = now_ + absl::Minutes(3);  // heartbeats go on
    sites_[1].advanced = now_;
    sites_[1].counters = "step 120 of 200";
  };
  advances();
  EXPECT_FALSE(Tick(absl::Seconds(121)).changed()) << "the quorum is not there";
  EXPECT_TRUE(run_->IsStalled("b", now_));
  EXPECT_TRUE(run_->TaskFor("b", now_).has_value()) << "stalled is not out";
  advances();
  Tick();
  EXPECT_FALSE(run_->IsStalled("b", now_)) << "it advances again";
  ASSERT_TRUE(Submit("a").ok()) << "the quorum is 1";
  EXPECT_FALSE(Tick(absl::Minutes(2)).changed());
  const Step step = Tick(absl::Seconds(1));
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  ASSERT_THAT(step.audit, SizeIs(2));
  EXPECT_EQ(step.audit[0].reason, "made no progress for 2m (step 120 of 200)");
  EXPECT_EQ(run_->round()->record().reason,
            "closed early: b made no progress for 2m (step 120 of 200)");
}

TEST_F(StudyRunTest, SiteWithoutCountersIsJudgedByItsHeartbeatAlone) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  ASSERT_TRUE(Submit("a").ok());
  for (int minute = 0; minute < 9; ++minute) {
    sites_[1].heard = now_;
    EXPECT_FALSE(Tick(absl::Seconds(59)).changed());
  }
}

TEST_F(StudyRunTest, RoundOpensByItselfWhenThereIsRoomForIt) {
  Report("a", 10, 10, 2);
  Report("b", 10, 10);
  Report("reader", 4, 4, 4);
  Tick();
  run_->NoteRoom(0);  // below the floor
  Tick(kGrace * 2);
  EXPECT_NE(run_->record().stage, Stage::kInitialising);
  EXPECT_THAT(run_->waiting(), testing::HasSubstr("room on the coordinator's disk"));
  run_->NoteRoom(1);  // the model's size is not known yet: the floor is what counts
  Tick();
  ASSERT_EQ(run_->record().stage, Stage::kInitialising);
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();  // 100 bytes
  run_->NoteRoom(299);
  Step step = Tick();
  ASSERT_EQ(run_->record().stage, Stage::kBetweenRounds);
  EXPECT_THAT(run_->waiting(), testing::HasSubstr("may write 300 (2 updates and a version)"));
  ASSERT_THAT(step.audit, SizeIs(1));
  EXPECT_EQ(step.audit[0].action, "disk.low");
  EXPECT_FALSE(Tick(absl::Minutes(1)).changed()) << "once, not each tick";
  EXPECT_EQ(run_->BytesAhead(), 0u);
  run_->NoteRoom(300);
  Tick();
  EXPECT_EQ(run_->record().stage, Stage::kRound);
  EXPECT_EQ(run_->BytesAhead(), 300u) << "for the rounds of other studies to leave alone";
  EXPECT_EQ(run_->waiting(), "");
}

TEST_F(StudyRunTest, RevokedSitesUpdateIsOutAlsoInAPause) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  ASSERT_TRUE(Submit("a").ok());
  Step step;
  ASSERT_TRUE(run_->OnControl("pause", "", now_, step).ok());
  sites_[0].approved = false;
  sites_[0].state = Name(SiteState::kSuspended);
  EXPECT_FALSE(Tick().changed()) << "a suspension is not for good";
  sites_[0].state = Name(SiteState::kRevoked);
  step = Tick();
  EXPECT_EQ(run_->round()->Find("a")->outcome, Outcome::kRefused);
  EXPECT_THAT(run_->round()->Accepted(), IsEmpty());
  ASSERT_THAT(step.audit, SizeIs(1));
  EXPECT_EQ(step.audit[0].action, "update.drop");
  ASSERT_THAT(step.effects, SizeIs(1));
  const auto& drop = std::get<DropUploads>(step.effects[0]);
  EXPECT_EQ(drop.what, DropUploads::What::kTasks);
  EXPECT_EQ(drop.tasks.at(0).upload_id, "a");
  EXPECT_FALSE(Tick().changed());
}

TEST_F(StudyRunTest, RestartGivesEverySiteAWholeLease) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  Tick();
  ASSERT_TRUE(Submit("a").ok());
  Tick(absl::Seconds(59));
  Restart();
  run_->OnRestart(now_);
  EXPECT_FALSE(Tick(absl::Seconds(59)).changed());
  EXPECT_TRUE(Tick(absl::Seconds(2)).changed());
}

TEST_F(StudyRunTest, SilentMakerOfTheFirstWeightsIsReplaced) {
  Report("a", 10, 10);
  Report("b", 10, 10);
  Report("reader", 4, 4);
  Tick();
  Tick();
  const std::string first = run_->round()->record().contributions[0].site;
  for (SiteView& site : sites_) {
    if (site.name != first) site.heard = now_ + absl::Minutes(2);
  }
  Tick(absl::Seconds(62));
  Tick();
  ASSERT_EQ(run_->record().stage, Stage::kInitialising);
  EXPECT_NE(run_->round()->record().contributions[0].site, first);
}

TEST_F(StudyRunTest, DeclinedTaskIsNotAskedForAgain) {
  OpenFirstRound();
  const std::string task = run_->TaskFor("a", now_)->task_id;
  Step step;
  EXPECT_TRUE(absl::IsInvalidArgument(
      run_->OnDeclined("a", task, std::string(201, 'x'), now_, step)));
  EXPECT_TRUE(absl::IsInvalidArgument(run_->OnDeclined("a", task, "two\nlines", now_, step)));
  EXPECT_TRUE(absl::IsFailedPrecondition(run_->OnDeclined("a", "other", "why", now_, step)));
  EXPECT_TRUE(absl::IsFailedPrecondition(run_->OnDeclined("b", task, "why", now_, step)));
  EXPECT_FALSE(step.changed());
  ASSERT_TRUE(run_->OnDeclined("a", task, "no space left", now_, step).ok());
  EXPECT_EQ(step.audit[0].action, "task.decline");
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kFailed) << "nobody else was asked";
  EXPECT_EQ(run_->round()->Find("a")->outcome, Outcome::kDeclined);
  Step again;
  EXPECT_TRUE(run_->OnDeclined("a", task, "no space left", now_, again).ok()) << "idempotent";
  EXPECT_FALSE(again.changed());
  Tick();
  EXPECT_TRUE(run_->TaskFor("a", now_).has_value()) << "the next round asks anew";
}

TEST_F(StudyRunTest, DeclinedPreparationIsAskedForAgainAfterAWhile) {
  const std::string task = run_->TaskFor("a", now_)->task_id;
  Step step;
  ASSERT_TRUE(run_->OnDeclined("a", task, "the archive is being moved", now_, step).ok());
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  now_ += kPrepareAgain;
  EXPECT_TRUE(run_->TaskFor("a", now_).has_value());
}

TEST_F(StudyRunTest, SiteWhoseSoftwareCannotIsSkippedWithTheRemedy) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  sites_[1].capabilities = kCanSeal | kCanUnet;
  Tick();
  EXPECT_EQ(run_->record().stage, Stage::kBetweenRounds) << "min_sites is 2";
  sites_.insert(sites_.begin() + 2, {"c", true, true});
  Tick();
  Report("c", 3, 3);
  Tick();
  ASSERT_EQ(run_->record().stage, Stage::kRound);
  EXPECT_EQ(run_->round()->Find("b")->outcome, Outcome::kSkipped);
  EXPECT_EQ(run_->round()->Find("b")->reason,
            "its software cannot: mean_teacher; upgrade the agent");
  EXPECT_FALSE(run_->TaskFor("b", now_).has_value());
}

TEST_F(StudyRunTest, SitesLeaveJoinAndReturnBetweenRounds) {
  OpenFirstRound();
  ASSERT_TRUE(Submit("a").ok());
  CommitModel();
  sites_[0].connected = false;  // a leaves, c joins
  sites_.insert(sites_.begin() + 2, {"c", true, true});
  Tick();
  Report("c", 3, 3);
  Tick();
  Tick(kGrace * 2);
  ASSERT_EQ(run_->record().stage, Stage::kRound);
  EXPECT_EQ(run_->round()->Find("a")->reason, "not connected");
  EXPECT_TRUE(run_->round()->Awaits("b") && run_->round()->Awaits("c"));
  EXPECT_FALSE(run_->TaskFor("a", now_).has_value());
  ASSERT_TRUE(Submit("b", 0).ok());
  ASSERT_TRUE(Submit("c", 3).ok());
  CommitModel();
  EXPECT_EQ(run_->record().rounds_committed, 2);
  sites_[0].connected = true;
  Tick();
  const auto task = run_->TaskFor("a", now_);
  ASSERT_TRUE(task && task->kind == TaskKind::kEvaluate) << "it is back";
}

}  // namespace
}  // namespace consilium::coordinator
