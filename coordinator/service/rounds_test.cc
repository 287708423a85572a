// What administrators see of a round that is under way, and what keeps one from going wrong: over real
// mutual TLS.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/retry.h"

namespace consilium::coordinator {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RoundsTest : public ::testing::Test {
 protected:
  // All sites have reported their data; somebody has yet to make the first weights.
  void Prepare(const std::vector<std::string>& names, const std::string& study) {
    for (const std::string& name : names) sites_.push_back(federation_.AddSite(name));
    federation_.CreateAndStart(study);
    for (auto& site : sites_) {
      ASSERT_TRUE(site->Prepare(site->Await(v1::Task::PREPARE), 10, 10, 0).ok());
    }
  }
  // Each site has its task of round 1, and the quorum is 2.
  void OpenRound(const std::vector<std::string>& names) {
    Prepare(names, TestStudy(static_cast<int>(names.size()), 1));
    MakeFirstWeights(sites_, 0.0f);
    for (auto& site : sites_) tasks_.push_back(site->Await(v1::Task::TRAIN));
  }
  void RestartWithFloor(uint64_t bytes) {
    federation_.Stop();
    federation_.options().disk_floor_bytes = bytes;
    federation_.Start();
    for (auto& site : sites_) site->Connect(federation_.address());
  }
  v1::Site Site(const std::string& name) {
    grpc::ClientContext context;
    v1::ListSitesRequest request;
    request.set_name(name);
    v1::ListSitesReply reply;
    EXPECT_TRUE(federation_.admin().ListSites(&context, request, &reply).ok());
    return reply.sites_size() == 1 ? reply.sites(0) : v1::Site();
  }
  v1::Contribution Part(const std::string& site, int64_t round = 1) {
    const v1::Round found = federation_.Round("hippo", round);
    for (const v1::Contribution& part : found.contributions()) {
      if (part.site() == site) return part;
    }
    return {};
  }

  TestFederation federation_;
  std::vector<std::unique_ptr<TestSite>> sites_;
  std::vector<v1::Task> tasks_;
};

TEST_F(RoundsTest, CountersOfATaskAreShownWhereARoundASiteAndAStudyAre) {
  OpenRound({"amc", "umc"});
  v1::ProgressReport report;
  report.set_task_id(tasks_[0].task_id());
  report.set_phase("train");
  report.set_done(120);
  report.set_total(200);
  report.set_advances(7);
  v1::ProgressReply reply;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(sites_[0]->stub().ReportProgress(&context, report, &reply).ok());
  }
  EXPECT_EQ(Part("amc").progress(), "step 120 of 200");
  EXPECT_EQ(Part("umc").progress(), "") << "it said nothing yet";
  EXPECT_EQ(Site("amc").working_on(), "hippo: step 120 of 200");
  EXPECT_GT(Site("amc").advanced_unix(), 0);
  const v1::Study study = federation_.Study("hippo");
  for (const v1::StudySite& site : study.sites()) {
    EXPECT_EQ(site.counters(), site.name() == "amc" ? "step 120 of 200" : "");
  }
  {  // an agent of before: its progress is shown, but it is not judged by it
    report.set_task_id(tasks_[1].task_id());
    report.set_advances(0);
    grpc::ClientContext context;
    ASSERT_TRUE(sites_[1]->stub().ReportProgress(&context, report, &reply).ok());
  }
  EXPECT_EQ(Site("umc").working_on(), "");
  EXPECT_TRUE(sites_[0]->Train(tasks_[0], 1.0f, 10).accepted());
  v1::Task none;
  ASSERT_TRUE(sites_[0]->NextTask(none).ok());
  EXPECT_EQ(Site("amc").working_on(), "") << "who asks for work has none";
}

TEST_F(RoundsTest, BelowTheFloorNoUploadBeginsAndTheLogSaysSoOnce) {
  OpenRound({"amc", "umc"});
  TestUpdate update = sites_[0]->MakeUpdate(tasks_[0], 1.0f, 10, 0);
  sites_[0]->Seal(tasks_[0], update);
  RestartWithFloor(uint64_t{1} << 60);
  v1::BeginUploadReply begun;
  const grpc::Status status = sites_[0]->Begin(update, begun);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(wire::RetryAfter(wire::FromGrpc(status)), absl::Seconds(10));
  Eventually([&] { return !federation_.Audit("disk.low").empty(); }, "the audit entry");
  EXPECT_THAT(federation_.Audit("disk.low"), SizeIs(1));
  RestartWithFloor(0);
  EXPECT_TRUE(sites_[0]->Submit(update).accepted()) << "it was kept at the site";
}

TEST_F(RoundsTest, BelowTheFloorNoRoundOpensAndTheStudySaysWhatItWaitsFor) {
  RestartWithFloor(uint64_t{1} << 60);
  Prepare({"amc", "umc"}, TestStudy(2, 1));
  Eventually(
      [&] {
        return absl::StrContains(federation_.Study("hippo").reason(),
                                 "waiting for room on the coordinator's disk");
      },
      "the reason");
  EXPECT_THAT(federation_.Audit("round.open"), IsEmpty());
  EXPECT_THAT(federation_.Audit("disk.low"), SizeIs(1));
  RestartWithFloor(0);
  MakeFirstWeights(sites_, 0.0f);
  for (auto& site : sites_) site->Await(v1::Task::TRAIN);
}

TEST_F(RoundsTest, SecondProcessOfASiteTakesOverAndTheOlderIsToldWhatToDo) {
  sites_.push_back(federation_.AddSite("amc"));
  const auto hello = [&](const std::string& incarnation) {
    grpc::ClientContext context;
    context.AddMetadata(wire::kIncarnationMetadata, incarnation);
    v1::HelloRequest request;
    request.set_protocol_version(1);
    request.set_incarnation(incarnation);
    v1::HelloReply reply;
    return sites_[0]->stub().Hello(&context, request, &reply);
  };
  const auto ask = [&](const std::string& incarnation) {
    grpc::ClientContext context;
    context.AddMetadata(wire::kIncarnationMetadata, incarnation);
    v1::NextTaskReply reply;
    return sites_[0]->stub().NextTask(&context, v1::NextTaskRequest(), &reply);
  };
  EXPECT_TRUE(hello("one").ok());
  EXPECT_TRUE(ask("one").ok());
  EXPECT_TRUE(hello("two").ok()) << "a restart is normal";
  EXPECT_TRUE(ask("two").ok());
  EXPECT_THAT(federation_.Audit("site.duplicate"), IsEmpty());
  EXPECT_EQ(Site("amc").second_process_unix(), 0);
  for (const grpc::Status& status : {ask("one"), hello("one")}) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(status.error_message(), HasSubstr("Stop one of them"));
  }
  EXPECT_TRUE(ask("two").ok());
  EXPECT_THAT(federation_.Audit("site.duplicate"), SizeIs(1));
  EXPECT_GT(Site("amc").second_process_unix(), 0);
  EXPECT_TRUE(hello("three").ok()) << "the older one, restarted, takes over in its turn";
  EXPECT_EQ(ask("two").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  v1::Task none;
  EXPECT_TRUE(sites_[0]->NextTask(none).ok()) << "an agent of before does not say";
}

TEST_F(RoundsTest, RevokedSitesUpdateFailsARoundThatHasNoQuorumWithoutIt) {
  OpenRound({"amc", "umc"});
  EXPECT_TRUE(sites_[0]->Train(tasks_[0], 9.0f, 10).accepted());
  ASSERT_TRUE(federation_.SetState("amc", "revoked").ok());
  const v1::Round round = federation_.Round("hippo", 1);
  EXPECT_EQ(round.phase(), "failed");
  EXPECT_THAT(round.reason(), HasSubstr("quorum"));
  EXPECT_EQ(Part("amc").outcome(), "refused");
  EXPECT_EQ(Part("amc").reason(), "the site was revoked");
}

TEST_F(RoundsTest, CollectionKeepsTheBaseOfATaskThatIsManyVersionsOld) {
  federation_.Stop();
  federation_.options().retention_versions = 1;
  federation_.Start();
  Prepare({"amc", "slow", "umc"},
          "name: hippo\ntask: {labels: {1: Anterior, 2: Posterior}}\n"
          "aggregation: {min_sites: 3, unlabelled_after: 0, strategy: fedbuff, buffer: 2}\n"
          "rounds: {count: 6, deadline: 10m, quorum: 2}\n");
  MakeFirstWeights(sites_, 0.0f);
  const v1::Task slow = sites_[1]->Await(v1::Task::TRAIN);
  ASSERT_EQ(slow.model().version(), "hippo/0");
  for (int version = 1; version <= 3; ++version) {
    for (const size_t fast : {0u, 2u}) {
      EXPECT_TRUE(sites_[fast]->Train(sites_[fast]->Await(v1::Task::TRAIN), 1.0f, 10).accepted());
    }
    const std::string made = absl::StrCat("hippo/", version);
    Eventually([&] { return federation_.Study("hippo").latest_version() == made; }, made.c_str());
  }
  const auto collect = [&] {
    grpc::ClientContext context;
    v1::CollectGarbageReply reply;
    EXPECT_TRUE(federation_.admin().CollectGarbage(&context, {}, &reply).ok());
    return std::vector<std::string>(reply.versions().begin(), reply.versions().end());
  };
  EXPECT_THAT(collect(), ElementsAre("hippo/1", "hippo/2")) << "3 is the newest, 0 is trained from";
  EXPECT_TRUE(sites_[1]->Download(slow.model().sha256(), 0).ok());
  EXPECT_TRUE(sites_[1]->Train(slow, 1.0f, 10).accepted());
  EXPECT_TRUE(sites_[0]->Train(sites_[0]->Await(v1::Task::TRAIN), 1.0f, 10).accepted());
  Eventually([&] { return federation_.Study("hippo").latest_version() == "hippo/4"; }, "hippo/4");
  EXPECT_EQ(Part("slow", 4).outcome(), "folded");
  EXPECT_EQ(Part("slow", 4).staleness(), 3);
  EXPECT_THAT(collect(), Contains("hippo/0")) << "nobody trains from it any more";
}

}  // namespace
}  // namespace consilium::coordinator
