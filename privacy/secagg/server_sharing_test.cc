#include "privacy/secagg/server_sharing.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

ShareMessage SharesOf(TestRound& round, size_t i) {
  return *round.sites[i].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
}

TEST(ServerSharingTest, TheSameSharesAgainAreFineAndOthersAreNot) {
  TestRound round(4);
  round.Announce();
  const ShareMessage message = SharesOf(round, 0);
  EXPECT_TRUE(round.server->OnShares(round.names[0], message).ok());
  EXPECT_TRUE(round.server->OnShares(round.names[0], message).ok());
  ShareMessage other = message;
  other.commitment[0] ^= 1;
  EXPECT_EQ(round.server->OnShares(round.names[0], other).code(), Code::kAlreadyExists);
  for (const size_t i : {1, 2}) {
    ASSERT_TRUE(round.server->OnShares(round.names[i], SharesOf(round, i)).ok());
  }
  ASSERT_TRUE(round.server->CloseSharing().ok());
  EXPECT_TRUE(round.server->OnShares(round.names[0], message).ok());
  EXPECT_EQ(round.server->OnShares(round.names[0], other).code(), Code::kAlreadyExists);
  EXPECT_EQ(round.server->OnShares(round.names[3], SharesOf(round, 3)).code(),
            Code::kFailedPrecondition);
}

TEST(ServerSharingTest, MalformedSharesAreRefused) {
  TestRound round(4);
  round.Announce();
  const ShareMessage honest = SharesOf(round, 0);
  std::vector<ShareMessage> hostile(5, honest);
  hostile[0].commitment.clear();
  hostile[1].boxes.pop_back();
  hostile[2].boxes.emplace_back(kBoxBytes, 'x');
  hostile[3].boxes[1].push_back('x');
  hostile[4].boxes[0] = std::string(kBoxBytes, 'x');
  for (const ShareMessage& message : hostile) {
    EXPECT_EQ(round.server->OnShares(round.names[0], message).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(round.server->OnShares("stranger", honest).code(), Code::kNotFound);
}

TEST(ServerSharingTest, FewerThanTheThresholdDoNotGoOn) {
  TestRound round(5);  // threshold 4
  round.Announce();
  for (const size_t i : {0, 1, 2}) {
    ASSERT_TRUE(round.server->OnShares(round.names[i], SharesOf(round, i)).ok());
  }
  EXPECT_EQ(round.server->CloseSharing().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(round.server->OnShares(round.names[4], SharesOf(round, 4)).ok());
  EXPECT_TRUE(round.server->CloseSharing().ok());
}

}  // namespace
}  // namespace consilium::secagg
