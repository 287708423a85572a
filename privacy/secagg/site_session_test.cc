#include "privacy/secagg/site_session.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

SiteSession Restarted(const SiteSession& session) {
  auto restored = SiteSession::Restore(session.Serialize().view());
  EXPECT_TRUE(restored.ok()) << restored.status();
  return *std::move(restored);
}

// A round of four sites, each restarted after every step, and the server as well.
TEST(SiteSessionTest, RoundGoesOnAfterRestartsInEveryPhase) {
  TestRound round(4);
  const auto restart = [&round] {
    for (SiteSession& site : round.sites) {
      const SiteSession::Phase phase = site.phase();
      site = Restarted(site);
      EXPECT_EQ(site.phase(), phase);
    }
    auto server = ServerSession::FromRecord(round.server->record());
    ASSERT_TRUE(server.ok()) << server.status();
    *round.server = *server;
  };
  restart();
  round.Announce();
  restart();
  for (size_t i = 0; i < 4; ++i) {
    const auto message =
        round.sites[i].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
    ASSERT_TRUE(round.server->OnShares(round.names[i], *message).ok());
  }
  restart();
  ASSERT_TRUE(round.server->CloseSharing().ok());
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(round.sites[i].OnShares(*round.server->SharesFor(round.names[i])).ok());
  }
  restart();
  for (size_t i = 0; i < 4; ++i) {
    round.payloads.push_back(round.Payload(i));
    round.sites[i].MaskerFor(round.PayloadDigest(i))->Apply(0, absl::MakeSpan(round.payloads[i]));
  }
  restart();
  round.FixWithout({1});
  for (const size_t i : {0, 2, 3}) {
    const auto consent = round.sites[i].OnSurvivors(round.server->survivors().bytes(),
                                                    round.identities[i], *round.ledgers[i]);
    ASSERT_TRUE(round.server->OnConsent(*consent).ok());
    restart();
  }
  for (const size_t i : {0, 2, 3}) {
    const auto message = round.sites[i].OnConsents(round.server->Consents());
    ASSERT_TRUE(round.server->OnReveal(round.names[i], *message).ok());
    restart();
  }
  const auto unmasker = round.server->Unmask(nullptr);
  ASSERT_TRUE(unmasker.ok()) << unmasker.status();
  std::vector<uint32_t> sum = round.MaskedSum();
  unmasker->Remove(0, absl::MakeSpan(sum));
  EXPECT_EQ(sum, round.TrueSum());
  EXPECT_EQ(*round.sites[0].OnConsents({}), *round.server->record().members[0].reveal);
}

TEST(SiteSessionTest, CallsOutOfOrderAreRefused) {
  TestRound round(4);
  SiteSession& site = round.sites[0];
  EXPECT_EQ(site.OnShares({}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(site.MaskerFor(round.PayloadDigest(0))), Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(site.OnSurvivors("\x0f", round.identities[0], *round.ledgers[0])),
            Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(site.OnConsents({})), Code::kFailedPrecondition);
  round.AgreeOn();
  EXPECT_EQ(CodeOf(site.OnRoster(round.server->params(), round.server->Announcements(), Genuine)),
            Code::kFailedPrecondition);
  EXPECT_EQ(site.OnShares(*round.server->SharesFor(round.names[0])).code(),
            Code::kFailedPrecondition);
}

TEST(SiteSessionTest, StoredBytesThatAreCutOrChangedNeverCrash) {
  TestRound round(4);
  std::vector<std::string> stored;
  stored.emplace_back(round.sites[0].Serialize().view());
  round.Share();
  stored.emplace_back(round.sites[0].Serialize().view());
  ASSERT_TRUE(round.sites[0].OnShares(*round.server->SharesFor(round.names[0])).ok());
  stored.emplace_back(round.sites[0].Serialize().view());
  for (const std::string& whole : stored) {
    ASSERT_TRUE(SiteSession::Restore(whole).ok());
    EXPECT_EQ(CodeOf(SiteSession::Restore(whole + "x")), Code::kDataLoss);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(CodeOf(SiteSession::Restore(absl::string_view(whole).substr(0, size))),
                Code::kDataLoss);
    }
    for (size_t byte = 0; byte < whole.size(); byte += 3) {
      std::string changed = whole;
      changed[byte] ^= 0x55;
      const auto restored = SiteSession::Restore(changed);  // a changed secret still reads
      if (!restored.ok()) continue;
      EXPECT_EQ(restored->Serialize().view(), changed);
    }
  }
}

TEST(SiteSessionTest, PublicAndSecretBytesAreThereWhileTheyCount) {
  TestRound round(4);
  EXPECT_EQ(round.sites[0].session_id(), "");
  const std::string rounding(round.sites[0].rounding_seed());
  EXPECT_EQ(rounding.size(), kKeyBytes);
  EXPECT_NE(rounding, round.sites[1].rounding_seed());
  round.AgreeOn();
  EXPECT_EQ(round.sites[0].session_id(), round.server->session_id());
  EXPECT_EQ(round.sites[0].sites(), 4u);
  EXPECT_EQ(round.sites[0].rounding_seed(), "");
}

}  // namespace
}  // namespace consilium::secagg
