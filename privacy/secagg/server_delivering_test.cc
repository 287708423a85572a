#include "privacy/secagg/server_delivering.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::TestRound;
using Code = absl::StatusCode;

TEST(ServerDeliveringTest, PassesOnTheBoxesOfThoseWhoShared) {
  TestRound round(5);
  round.Share({2});
  const auto shares = round.server->SharesFor(round.names[0]);
  ASSERT_TRUE(shares.ok());
  ASSERT_EQ(shares->size(), 3u);
  EXPECT_EQ((*shares)[1].site, round.names[3]);
  EXPECT_EQ((*shares)[1].box, round.server->record().members[3].shares->boxes[0]);
  EXPECT_EQ(CodeOf(round.server->SharesFor(round.names[2])), Code::kNotFound);
  EXPECT_EQ(CodeOf(round.server->SharesFor("stranger")), Code::kNotFound);
}

TEST(ServerDeliveringTest, DeliveryIsForThoseWhoShared) {
  TestRound round(5);
  EXPECT_EQ(round.server->CheckDelivery(round.names[0]).code(), Code::kFailedPrecondition);
  round.Share({2});
  EXPECT_TRUE(round.server->CheckDelivery(round.names[0]).ok());
  EXPECT_EQ(round.server->CheckDelivery(round.names[2]).code(), Code::kNotFound);
}

TEST(ServerDeliveringTest, SurvivorsAreFixedOnce) {
  TestRound round(5);
  round.Share();
  round.FixWithout({1});
  EXPECT_EQ(round.server->survivors().Count(), 4u);
  EXPECT_FALSE(round.server->survivors().Has(1));
  EXPECT_EQ(round.server->FixSurvivors(round.names).code(), Code::kFailedPrecondition);
}

TEST(ServerDeliveringTest, ASiteNamedTwiceCountsOnce) {
  TestRound round(5);  // threshold 4
  round.Share();
  const std::vector<std::string> delivered = {round.names[0], round.names[0], round.names[1],
                                              round.names[2]};
  EXPECT_EQ(round.server->FixSurvivors(delivered).code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium::secagg
