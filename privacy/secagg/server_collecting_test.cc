#include "privacy/secagg/server_collecting.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

TEST(ServerCollectingTest, InvitationsBeyondTheLimitsAreRefused) {
  const Job job = testing::TestJob();
  EXPECT_EQ(CodeOf(ServerCollecting::Create(job, {"a", "b"})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(ServerCollecting::Create(job, {"a", "b", "b"})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(ServerCollecting::Create(job, {"a", "b", ""})), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(ServerCollecting::Create(job, {"a", "b", "new\nline"})), Code::kInvalidArgument);
  std::vector<std::string> many;
  for (int i = 0; i < 256; ++i) many.push_back(absl::StrCat("site", i));
  EXPECT_EQ(CodeOf(ServerCollecting::Create(job, many)), Code::kInvalidArgument);
  many.pop_back();
  EXPECT_TRUE(ServerCollecting::Create(job, many).ok());
  Job large = job;
  large.min_cohort = 4;
  EXPECT_EQ(CodeOf(ServerCollecting::Create(large, {"a", "b", "c"})), Code::kInvalidArgument);
}

TEST(ServerCollectingTest, RosterAndThresholdAreOfThoseWhoAnnounced) {
  TestRound round(6);
  for (const size_t i : {4, 0, 2, 5, 3}) {
    ASSERT_TRUE(round.server->OnKeys(round.sites[i].announcement(), Genuine).ok());
  }
  ASSERT_TRUE(round.server->CloseKeys().ok());
  EXPECT_EQ(round.server->roster().size(), 5u);
  EXPECT_EQ(round.server->roster()[1].site, round.names[2]);
  EXPECT_EQ(round.server->params().threshold, 4u);
}

TEST(ServerCollectingTest, TooFewKeysDoNotMakeARoster) {
  TestRound round(4);
  for (const size_t i : {0, 1}) {
    ASSERT_TRUE(round.server->OnKeys(round.sites[i].announcement(), Genuine).ok());
  }
  EXPECT_EQ(round.server->CloseKeys().code(), Code::kFailedPrecondition);
  EXPECT_EQ(round.server->phase(), ServerPhase::kCollecting);
}

TEST(ServerCollectingTest, TheSameKeysAgainAreFineAndOthersAreNot) {
  TestRound round(4);
  const TestRound other(4);
  const KeyAnnouncement keys = round.sites[0].announcement();
  EXPECT_TRUE(round.server->OnKeys(keys, Genuine).ok());
  EXPECT_TRUE(round.server->OnKeys(keys, Genuine).ok());
  EXPECT_EQ(round.server->OnKeys(other.sites[0].announcement(), Genuine).code(),
            Code::kAlreadyExists);
  for (const size_t i : {1, 2, 3}) {
    ASSERT_TRUE(round.server->OnKeys(round.sites[i].announcement(), Genuine).ok());
  }
  ASSERT_TRUE(round.server->CloseKeys().ok());
  EXPECT_TRUE(round.server->OnKeys(keys, Genuine).ok());
  EXPECT_EQ(round.server->OnKeys(other.sites[0].announcement(), Genuine).code(),
            Code::kAlreadyExists);
}

TEST(ServerCollectingTest, UninvitedForeignAndMalformedKeysAreRefused) {
  TestRound round(4);
  Job next = round.job;
  next.round += 1;
  const TestRound later(4, next);
  const TestRound larger(5);
  EXPECT_EQ(round.server->OnKeys(larger.sites[4].announcement(), Genuine).code(), Code::kNotFound);
  EXPECT_EQ(round.server->OnKeys(later.sites[0].announcement(), Genuine).code(),
            Code::kPermissionDenied);  // a replay from another round
  KeyAnnouncement keys = round.sites[0].announcement();
  keys.certificate_pem = std::string(kCertificateBytesMax + 1, 'x');
  EXPECT_EQ(round.server->OnKeys(keys, Genuine).code(), Code::kInvalidArgument);
  keys = round.sites[0].announcement();
  keys.mask_key.push_back('x');
  EXPECT_EQ(round.server->OnKeys(keys, Genuine).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::secagg
