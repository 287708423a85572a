#include "privacy/secagg/site_consenting.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::TestRound;
using Code = absl::StatusCode;

TEST(SiteConsentingTest, TheSameSurvivorsAgainGetTheSameConsent) {
  TestRound round(4);
  round.Mask();
  round.FixWithout({});
  const std::string survivors = round.server->survivors().bytes();
  const auto first = round.sites[0].OnSurvivors(survivors, round.identities[0], *round.ledgers[0]);
  const auto second = round.sites[0].OnSurvivors(survivors, round.identities[0], *round.ledgers[0]);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
}

TEST(SiteConsentingTest, RevealsOneShareOfEachSiteThatShared) {
  TestRound round(6);  // threshold 5
  round.Mask({5});
  round.FixWithout({});
  for (size_t i = 0; i < 5; ++i) {
    const auto consent = round.sites[i].OnSurvivors(round.server->survivors().bytes(),
                                                    round.identities[i], *round.ledgers[i]);
    ASSERT_TRUE(round.server->OnConsent(*consent).ok());
  }
  const auto message = round.sites[0].OnConsents(round.server->Consents());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(CheckReveal(*message, round.server->sharing()).ok());
  EXPECT_TRUE(message->shares[5].empty());
}

TEST(SiteConsentingTest, NothingIsRevealedBeforeTheSiteItselfConsented) {
  TestRound round(4);
  round.AgreeOn({3});  // site 3 delivered nothing, and was not asked
  EXPECT_EQ(CodeOf(round.sites[3].OnConsents(round.server->Consents())), Code::kFailedPrecondition);
}

TEST(SiteConsentingTest, ThresholdOfConsentsIsEnough) {
  TestRound round(7);  // threshold 5
  round.AgreeOn();
  std::vector<Consent> consents = round.server->Consents();
  consents.erase(consents.begin(), consents.begin() + 2);
  EXPECT_TRUE(round.sites[0].OnConsents(consents).ok());
  EXPECT_EQ(round.sites[0].phase(), SiteSession::Phase::kRevealed);
}

TEST(SiteConsentingTest, ConsentOfASiteThatDroppedDoesNotCount) {
  TestRound round(7);
  round.AgreeOn({5, 6});
  std::vector<Consent> consents = round.server->Consents();
  ASSERT_EQ(consents.size(), 5u);
  Consent dropped = consents[4];
  dropped.site = round.names[6];
  dropped.signature =
      round.identities[6].Sign(ConsentBytes(round.server->session_id(), dropped.survivors));
  consents[4] = dropped;
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(consents)), Code::kInvalidArgument);
}

}  // namespace
}  // namespace consilium::secagg
