#include "privacy/secagg/server_consenting.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::TestRound;
using Code = absl::StatusCode;

Consent ConsentOf(TestRound& round, size_t i) {
  return *round.sites[i].OnSurvivors(round.server->survivors().bytes(), round.identities[i],
                                     *round.ledgers[i]);
}

TEST(ServerConsentingTest, GoesOnWithTheThresholdAndTakesTheRestLater) {
  TestRound round(5);  // threshold 4
  round.Mask();
  round.FixWithout({});
  for (const size_t i : {0, 1, 2}) {
    ASSERT_TRUE(round.server->OnConsent(ConsentOf(round, i)).ok());
  }
  EXPECT_FALSE(round.server->HasConsents());
  EXPECT_EQ(round.server->OnReveal(round.names[0], {}).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(round.server->OnConsent(ConsentOf(round, 3)).ok());
  EXPECT_TRUE(round.server->HasConsents());
  ASSERT_TRUE(round.server->OnConsent(ConsentOf(round, 4)).ok());
  EXPECT_EQ(round.server->Consents().size(), 5u);
}

TEST(ServerConsentingTest, TheSameConsentAgainIsFineAndAnotherIsNot) {
  TestRound round(5);
  round.Mask();
  round.FixWithout({});
  const Consent consent = ConsentOf(round, 0);
  EXPECT_TRUE(round.server->OnConsent(consent).ok());
  EXPECT_TRUE(round.server->OnConsent(consent).ok());
  EXPECT_EQ(round.server->Consents().size(), 1u);
  Consent other = consent;
  other.signature[0] ^= 1;
  EXPECT_EQ(round.server->OnConsent(other).code(), Code::kAlreadyExists);
}

TEST(ServerConsentingTest, ForgedForeignAndDroppedConsentsAreRefused) {
  TestRound round(5);
  round.Mask();
  round.FixWithout({4});
  Consent forged = ConsentOf(round, 0);
  forged.signature[63] ^= 1;
  EXPECT_EQ(round.server->OnConsent(forged).code(), Code::kPermissionDenied);
  Consent dropped{
      .site = round.names[4], .survivors = round.server->survivors().bytes(), .signature = {}};
  dropped.signature =
      round.identities[4].Sign(ConsentBytes(round.server->session_id(), dropped.survivors));
  EXPECT_EQ(round.server->OnConsent(dropped).code(), Code::kInvalidArgument);
  Consent other_set = ConsentOf(round, 1);
  other_set.survivors[0] ^= 1;
  EXPECT_EQ(round.server->OnConsent(other_set).code(), Code::kInvalidArgument);
  EXPECT_TRUE(round.server->Consents().empty());
}

}  // namespace
}  // namespace consilium::secagg
