// Accepted updates whose staged bytes do not last: their sites have them still and are asked again.
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class LostUpdateTest : public testing::Test {
 protected:
  // Round 1 of three sites, each with an update of its own value in hand; two of them submitted.
  void SetUp() override {
    for (const char* name : {"north", "south", "west"}) sites_.push_back(federation_.AddSite(name));
    federation_.CreateAndStart(TestStudy(3, 1));
    for (const auto& site : sites_) {
      ASSERT_TRUE(site->Prepare(site->Await(v1::Task::PREPARE), 10, 10, 0).ok());
    }
    MakeFirstWeights(sites_, 0.0f);
    for (size_t i = 0; i < sites_.size(); ++i) {
      tasks_.push_back(sites_[i]->Await(v1::Task::TRAIN));
      updates_.push_back(sites_[i]->MakeUpdate(tasks_[i], static_cast<float>(i + 1), 10, 0));
      sites_[i]->Seal(tasks_[i], updates_[i]);
    }
    for (size_t i = 0; i < 2; ++i) ASSERT_TRUE(sites_[i]->Submit(updates_[i]).accepted());
  }

  std::string Staged(size_t site) const {
    const std::string id = privacy::Sha256Hex(
        absl::StrCat(tasks_[site].task_id(), "\n", updates_[site].announcement.sha256()));
    return absl::StrCat(federation_.home(), "/staging/hippo/1/", id);
  }

  std::vector<std::string> Ended(size_t site) {
    grpc::ClientContext context;
    v1::NextTaskRequest request;
    request.add_spooled_task_ids(tasks_[site].task_id());
    v1::NextTaskReply reply;
    EXPECT_TRUE(sites_[site]->stub().NextTask(&context, request, &reply).ok());
    return {reply.ended_task_ids().begin(), reply.ended_task_ids().end()};
  }

  void ExpectTheMeanOfAll() {
    Eventually([&] { return federation_.Study("hippo").latest_version() == "hippo/1"; },
               "version 1");
    EXPECT_THAT(federation_.Model("hippo/1").values, Each(::testing::FloatNear(2.0f, 1e-6f)));
    const v1::Round round = federation_.Round("hippo", 1);
    for (const v1::Contribution& c : round.contributions()) {
      EXPECT_EQ(c.outcome(), "folded") << c.site();
    }
  }

  TestFederation federation_;
  std::vector<std::unique_ptr<TestSite>> sites_;
  std::vector<v1::Task> tasks_;
  std::vector<TestUpdate> updates_;
};

TEST_F(LostUpdateTest, ASiteKeepsItsUpdateUntilTheRoundHasEnded) {
  EXPECT_THAT(Ended(0), testing::IsEmpty()) << "accepted, and not in a version yet";
  ASSERT_TRUE(sites_[2]->Submit(updates_[2]).accepted());
  ExpectTheMeanOfAll();
  EXPECT_THAT(Ended(0), ElementsAre(tasks_[0].task_id()));
}

TEST_F(LostUpdateTest, DamageIsFoundWhenTheModelIsMadeAndTheSiteIsAskedAgain) {
  auto bytes = ReadFile(Staged(0), 1 << 20);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  (*bytes)[bytes->size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(Staged(0), *bytes).ok());
  ASSERT_TRUE(sites_[2]->Submit(updates_[2]).accepted());

  const v1::Task again = sites_[0]->Await(v1::Task::TRAIN);
  EXPECT_EQ(again.task_id(), tasks_[0].task_id());
  EXPECT_EQ(federation_.Round("hippo", 1).phase(), "collecting");
  const std::vector<std::string> lost = federation_.Audit("update.lost");
  ASSERT_THAT(lost, SizeIs(1));
  EXPECT_THAT(lost[0], HasSubstr("north"));
  EXPECT_TRUE(sites_[0]->Submit(updates_[0]).accepted()) << "the same bytes under the same id";
  ExpectTheMeanOfAll();
}

TEST_F(LostUpdateTest, WhatAPowerCutTookIsMissedAtTheStart) {
  federation_.Stop();
  std::filesystem::resize_file(Staged(0), 0);  // a name without its bytes
  std::filesystem::remove(Staged(1));
  federation_.Start();
  for (const auto& site : sites_) site->Connect(federation_.address());
  EXPECT_THAT(federation_.Audit("update.lost"), SizeIs(2));
  for (size_t i = 0; i < sites_.size(); ++i) {
    EXPECT_EQ(sites_[i]->Await(v1::Task::TRAIN).task_id(), tasks_[i].task_id());
    EXPECT_THAT(Ended(i), testing::IsEmpty());
    EXPECT_TRUE(sites_[i]->Submit(updates_[i]).accepted());
  }
  ExpectTheMeanOfAll();
}

}  // namespace
}  // namespace consilium::coordinator
