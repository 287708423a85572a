#include "privacy/secagg/site_sharing.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

TEST(SiteSharingTest, SealsABoxForEachPeerAndNoneForItself) {
  TestRound round(4);
  round.Announce();
  const auto message =
      round.sites[2].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
  ASSERT_TRUE(message.ok());
  EXPECT_TRUE(CheckShareMessage(*message, 2, 4).ok());
  EXPECT_FALSE(CheckShareMessage(*message, 1, 4).ok());
  EXPECT_TRUE(message->boxes[2].empty());
  EXPECT_NE(message->boxes[0], message->boxes[1]);
}

TEST(SiteSharingTest, TheSameRosterAgainGetsTheSameSharesAndAnotherNone) {
  TestRound round(4);
  round.Announce();
  const std::vector<KeyAnnouncement> roster = round.server->Announcements();
  const auto first = round.sites[0].OnRoster(round.server->params(), roster, Genuine);
  const auto second = round.sites[0].OnRoster(round.server->params(), roster, Genuine);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  const std::vector<KeyAnnouncement> three(roster.begin(), roster.begin() + 3);
  EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, three, Genuine)),
            Code::kFailedPrecondition);
}

TEST(SiteSharingTest, TooFewSharesAreRefused) {
  TestRound round(5);  // threshold 4
  round.Share();
  auto shares = *round.server->SharesFor(round.names[0]);
  shares.resize(2);
  EXPECT_EQ(round.sites[0].OnShares(shares).code(), Code::kInvalidArgument);
  EXPECT_EQ(round.sites[0].phase(), SiteSession::Phase::kSharing);
}

TEST(SiteSharingTest, SharesOfStrangersOfItselfOrTwiceAreRefused) {
  TestRound round(4);
  round.Share();
  const auto honest = *round.server->SharesFor(round.names[0]);
  auto stranger = honest;
  stranger[0].site = "stranger";
  auto own = honest;
  own[0].site = round.names[0];
  auto twice = honest;
  twice[1] = twice[0];
  for (const auto& shares : {stranger, own, twice}) {
    EXPECT_EQ(round.sites[0].OnShares(shares).code(), Code::kInvalidArgument);
  }
}

TEST(SiteSharingTest, ABoxThatWasChangedNamesItsSender) {
  TestRound round(4);
  round.Share();
  auto shares = *round.server->SharesFor(round.names[0]);
  for (const size_t byte : {size_t{0}, size_t{40}, kBoxBytes - 1}) {
    auto changed = shares;
    changed[1].box[byte] ^= 1;
    const absl::Status status = round.sites[0].OnShares(changed);
    EXPECT_EQ(status.code(), Code::kPermissionDenied);
    EXPECT_NE(status.message().find(shares[1].site), std::string::npos);
  }
  auto cut = shares;
  cut[1].box.pop_back();
  EXPECT_EQ(round.sites[0].OnShares(cut).code(), Code::kPermissionDenied);
}

}  // namespace
}  // namespace consilium::secagg
