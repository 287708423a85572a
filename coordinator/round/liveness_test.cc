#include "coordinator/round/liveness.h"

#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

SiteProgress Step(int64_t done, uint64_t advances) {
  SiteProgress progress;
  progress.phase = "train";
  progress.task_id = "train-1-a";
  progress.done = done;
  progress.total = 200;
  progress.advances = advances;
  return progress;
}

SiteView ViewOf(const Liveness& liveness) {
  std::vector<SiteView> sites = {{"amc", true, true}};
  liveness.Fill(sites);
  return sites[0];
}

TEST(LivenessTest, HeartbeatsWithTheSameCountersAreHeardButDoNotAdvance) {
  Liveness liveness;
  EXPECT_EQ(liveness.Report("amc", "hippo", Step(120, 7), kStart), kStart);
  EXPECT_EQ(liveness.Report("amc", "hippo", Step(120, 7), kStart + absl::Minutes(1)), kStart);
  EXPECT_EQ(ViewOf(liveness).heard, kStart + absl::Minutes(1));
  EXPECT_EQ(ViewOf(liveness).advanced, kStart);
  EXPECT_EQ(ViewOf(liveness).counters, "step 120 of 200");
  // Work without numbers of its own counts too.
  EXPECT_EQ(liveness.Report("amc", "hippo", Step(120, 8), kStart + absl::Minutes(2)),
            kStart + absl::Minutes(2));
}

TEST(LivenessTest, AgentThatDoesNotCountIsJudgedByItsHeartbeatAlone) {
  Liveness liveness;
  liveness.Report("amc", "hippo", Step(120, 0), kStart);
  EXPECT_EQ(ViewOf(liveness).heard, kStart);
  EXPECT_EQ(ViewOf(liveness).advanced, absl::InfiniteFuture());
  EXPECT_FALSE(liveness.WorkOf("amc").has_value());
}

TEST(LivenessTest, SiteThatAsksForWorkHasNoneThatCouldStandStill) {
  Liveness liveness;
  liveness.Report("amc", "hippo", Step(120, 7), kStart);
  EXPECT_EQ(liveness.WorkOf("amc")->study, "hippo");
  liveness.Rests("amc");
  EXPECT_EQ(ViewOf(liveness).advanced, absl::InfiniteFuture());
}

TEST(LivenessTest, BytesThatArriveAreProgress) {
  Liveness liveness;
  liveness.Moved("amc", kStart);
  EXPECT_EQ(ViewOf(liveness).advanced, absl::InfiniteFuture()) << "it did not say that it counts";
  liveness.Report("amc", "hippo", Step(120, 7), kStart);
  liveness.Moved("amc", kStart + absl::Minutes(1));
  EXPECT_EQ(ViewOf(liveness).advanced, kStart + absl::Minutes(1));
}

TEST(LivenessTest, CountersSayWhatTheyCount) {
  SiteProgress progress = Step(3, 1);
  progress.phase = "prepare";
  EXPECT_EQ(CountersText(progress), "prepare, case 3 of 200");
  progress.phase = "upload";
  EXPECT_EQ(CountersText(progress), "upload, 3 of 200 bytes");
  progress.total = 0;
  EXPECT_EQ(CountersText(progress), "in phase upload");
}

}  // namespace
}  // namespace consilium::coordinator
