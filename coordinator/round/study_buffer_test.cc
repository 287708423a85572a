#include "coordinator/round/staleness.h"
#include "coordinator/round/study_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kYaml = R"(name: hippo
task: {labels: {1: Anterior}}
aggregation: {strategy: fedbuff, buffer: 2, min_sites: 3, staleness_max: 1, unlabelled_after: 0}
rounds: {count: 4, deadline: 10m, quorum: 1}
)";

// Three sites that can train; time and deliveries are the test's.
class StudyBufferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto run = StudyRun::Create(kYaml, "run", now_);
    ASSERT_TRUE(run.ok()) << run.status();
    run_.emplace(*std::move(run));
    Step step;
    ASSERT_TRUE(run_->OnControl("start", "", now_, step).ok());
    for (const SiteView& site : sites_) {
      CohortRecord report;
      report.site = site.name;
      report.cases = report.labelled_cases = 10;
      report.median_spacing_xyz_mm = {1, 1, 1};
      report.median_size_xyz = {40, 40, 40};
      ASSERT_TRUE(run_->OnCohortReport(report, run_->TaskFor(site.name, now_)->task_id, now_, step)
                      .ok());
    }
    Tick();
    Tick();
    const std::string maker = run_->round()->record().contributions[0].site;
    ASSERT_TRUE(Submit(maker, maker).ok());
    Commit("m0");
  }
  Step Tick(absl::Duration after = absl::ZeroDuration()) {
    now_ += after;
    for (SiteView& site : sites_) site.heard = now_;
    Step step;
    run_->OnTime(sites_, now_, step);
    return step;
  }
  std::string Task(const std::string& site) {
    const auto task = run_->TaskFor(site, now_);
    return task ? task->task_id : "";
  }
  absl::Status Submit(const std::string& site, const std::string& id) {
    Step step;
    return run_->OnUpdateVerified(site,
                                  {.upload_id = id, .bytes = 1, .labelled_cases = 10,
                                   .unlabelled_cases = 0, .weight_milli = 0, .summary = {}},
                                  now_, step);
  }
  void Commit(const std::string& sha256) {
    ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
    Step step;
    ASSERT_TRUE(run_->OnModelReady({sha256, 100, 9, "ll"}, now_, step).ok());
    Tick();
  }
  void Restart() {
    auto study = Decode<StudyRecord>(Encode(run_->record()));
    auto round = Decode<RoundRecord>(Encode(run_->round()->record()));
    ASSERT_TRUE(study.ok() && round.ok());
    auto again = StudyRun::FromRecords(*study, *round, std::nullopt);
    ASSERT_TRUE(again.ok()) << again.status();
    run_.emplace(*std::move(again));
    run_->OnRestart(now_);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  std::vector<SiteView> sites_ = {{"a", true, true}, {"b", true, true}, {"c", true, true}};
  std::optional<StudyRun> run_;
};

TEST(StalenessTest, DiscountIsThePapersPolynomial) {
  EXPECT_EQ(StalenessDiscount(0, 0.5), 1);
  EXPECT_EQ(StalenessDiscount(3, 0.5), 0.5);
  EXPECT_EQ(StalenessDiscount(1, 0.5), 0.707107);
  EXPECT_EQ(StalenessDiscount(7, 0), 1);
}

TEST_F(StudyBufferTest, FullBufferMakesAVersionAndTheSlowSiteGoesOn) {
  const std::string slow = Task("c");
  ASSERT_TRUE(Submit("a", "ua").ok());
  EXPECT_EQ(Task("a"), "") << "once for each version";
  ASSERT_TRUE(Submit("b", "ub").ok());
  Commit("m1");
  ASSERT_EQ(run_->record().latest_version, "hippo/1");
  EXPECT_EQ(Task("c"), slow) << "the same task, from the same base";
  EXPECT_EQ(run_->TaskFor("c", now_)->model_version, "hippo/0");
  EXPECT_EQ(run_->TaskFor("c", now_)->round, 1);
  EXPECT_EQ(run_->TaskFor("a", now_)->model_version, "hippo/1");
  ASSERT_TRUE(run_->CheckOffer({"c", slow, 1, "m0"}, now_).ok());
  ASSERT_TRUE(Submit("c", "uc").ok());
  const ContributionRecord& late = *run_->round()->FindTask(slow);
  EXPECT_EQ(late.staleness, 1);
  EXPECT_EQ(late.weight_full_milli, 10000);
  EXPECT_EQ(late.weight_milli, 7071);
  EXPECT_TRUE(absl::IsAlreadyExists(run_->CheckOffer({"c", slow, 1, "m0"}, now_)));
  Tick();
  EXPECT_EQ(run_->TaskFor("c", now_)->model_version, "hippo/1") << "and again, from the newest";
  ASSERT_TRUE(Submit("c", "uc2").ok());
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating) << "both of them count";
}

TEST_F(StudyBufferTest, TooStaleAnUpdateIsRefusedAndTheSiteGetsANewTask) {
  const std::string slow = Task("c");
  for (const char* model : {"m1", "m2"}) {
    ASSERT_TRUE(Submit("a", absl::StrCat("a", model)).ok());
    ASSERT_TRUE(Submit("b", absl::StrCat("b", model)).ok());
    Commit(model);
  }
  EXPECT_FALSE(run_->Awaits("c", slow, now_));
  const absl::Status refused = run_->CheckOffer({"c", slow, 1, "m0"}, now_);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), testing::HasSubstr("2 versions old"));
  EXPECT_NE(Task("c"), slow);
  EXPECT_EQ(run_->TaskFor("c", now_)->model_version, "hippo/2");
}

TEST_F(StudyBufferTest, DeadlineClosesABufferThatHasTheQuorum) {
  ASSERT_TRUE(Submit("a", "ua").ok());
  Tick(absl::Minutes(11));
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  EXPECT_EQ(run_->round()->record().reason, "closed at its deadline with 1 of 2 updates");
  Commit("m1");
  EXPECT_NE(Task("b"), "");
}

TEST_F(StudyBufferTest, FailedBufferKeepsWhatIsBeingTrained) {
  const std::string task = Task("a");
  Tick(absl::Minutes(11));
  EXPECT_EQ(run_->record().failures_in_row, 1);
  EXPECT_TRUE(run_->Awaits("a", task, now_));
  Tick();
  EXPECT_EQ(run_->record().round, 2);
  EXPECT_EQ(Task("a"), task);
  EXPECT_TRUE(run_->CheckOffer({"a", task, 1, "m0"}, now_).ok());
}

TEST_F(StudyBufferTest, BetweenTwoBuffersAnUpdateIsAskedToWait) {
  const std::string slow = Task("c");
  ASSERT_TRUE(Submit("a", "ua").ok());
  ASSERT_TRUE(Submit("b", "ub").ok());
  EXPECT_TRUE(absl::IsUnavailable(run_->CheckOffer({"c", slow, 1, "m0"}, now_)));
  EXPECT_TRUE(run_->Awaits("c", slow, now_)) << "no reason to give the work up";
  EXPECT_EQ(run_->StagedRounds(), std::set<int64_t>{1});
}

TEST_F(StudyBufferTest, RestartKeepsTasksAndStaleness) {
  const std::string slow = Task("c");
  ASSERT_TRUE(Submit("a", "ua").ok());
  ASSERT_TRUE(Submit("b", "ub").ok());
  Restart();
  EXPECT_EQ(run_->round()->Accepted().size(), 2u);
  EXPECT_EQ(run_->Resume().size(), 1u) << "aggregate";
  Commit("m1");
  Restart();
  Tick();
  EXPECT_EQ(Task("c"), slow);
  EXPECT_EQ(run_->StagedRounds(), (std::set<int64_t>{1, 2}));
  ASSERT_TRUE(Submit("c", "uc").ok());
  EXPECT_EQ(run_->round()->FindTask(slow)->staleness, 1);
}

TEST_F(StudyBufferTest, BufferThatNobodyCanFillClosesWithTheQuorum) {
  ASSERT_TRUE(Submit("a", "ua").ok());
  Step step;
  run_->OnSiteGone("b", "the site was revoked", now_, step);
  ASSERT_TRUE(run_->OnDeclined("c", Task("c"), "no space left", now_, step).ok());
  sites_[1].approved = false;
  Tick();
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  EXPECT_EQ(run_->round()->record().reason, "closed early: no site has more to give");
}

}  // namespace
}  // namespace consilium::coordinator
