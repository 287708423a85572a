#include "privacy/secagg/server_session.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

TEST(ServerSessionTest, CopiesGoTheirOwnWay) {
  TestRound round(4);
  ServerSession before = *round.server;
  round.Announce();
  EXPECT_EQ(before.phase(), ServerPhase::kCollecting);
  EXPECT_EQ(round.server->phase(), ServerPhase::kSharing);
  EXPECT_TRUE(before.roster().empty());
  EXPECT_EQ(before.params().threshold, 0u);
}

TEST(ServerSessionTest, CallsOutOfOrderAreRefused) {
  TestRound round(4);
  ServerSession& server = *round.server;
  EXPECT_EQ(server.CloseSharing().code(), Code::kFailedPrecondition);
  EXPECT_EQ(server.OnShares(round.names[0], {}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(server.SharesFor(round.names[0])), Code::kFailedPrecondition);
  EXPECT_EQ(server.FixSurvivors(round.names).code(), Code::kFailedPrecondition);
  EXPECT_EQ(server.OnConsent({}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(server.OnReveal(round.names[0], {}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(server.Unmask(nullptr)), Code::kFailedPrecondition);
  round.Announce();
  EXPECT_EQ(server.CloseKeys().code(), Code::kFailedPrecondition);
}

TEST(ServerSessionTest, RecordsThatNoSessionGivesAreRefused) {
  TestRound round(5);
  round.Reveal({4});
  const ServerRecord honest = round.server->record();
  ASSERT_TRUE(ServerSession::FromRecord(honest).ok());
  std::vector<ServerRecord> damaged(11, honest);
  damaged[0].threshold = 3;
  damaged[1].phase = ServerPhase::kDelivering;  // with consents and survivors
  damaged[2].members.pop_back();
  damaged[3].members[1].keys = nullptr;
  damaged[4].members[1].shares = nullptr;  // a survivor's
  damaged[5].members[0].consent = damaged[5].members[1].consent;
  damaged[6].survivors = std::string("\x03", 1);
  damaged[7].sharing = std::string("\x0f", 1);
  damaged[8].job.bits = 16;  // nothing was signed for that
  for (size_t i = 0; i < 3; ++i) damaged[9].members[i].consent = nullptr;
  damaged[10].members[4].reveal = damaged[10].members[0].reveal;  // of a site that dropped
  for (size_t i = 0; i < damaged.size(); ++i) {
    EXPECT_EQ(CodeOf(ServerSession::FromRecord(damaged[i])), Code::kDataLoss) << i;
  }
}

TEST(ServerSessionTest, RecordOfEachPhaseGivesTheSessionBack) {
  TestRound round(4);
  const auto check = [&round](ServerPhase phase) {
    const auto restored = ServerSession::FromRecord(round.server->record());
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->phase(), phase);
    EXPECT_EQ(restored->session_id(), round.server->session_id());
    EXPECT_EQ(restored->survivors(), round.server->survivors());
    EXPECT_EQ(restored->Consents(), round.server->Consents());
  };
  check(ServerPhase::kCollecting);
  round.Reveal({3});
  check(ServerPhase::kRevealing);
}

}  // namespace
}  // namespace consilium::secagg
