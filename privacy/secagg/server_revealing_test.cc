#include "privacy/secagg/server_revealing.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::TestRound;
using Code = absl::StatusCode;

RevealMessage RevealOf(TestRound& round, size_t i) {
  return *round.sites[i].OnConsents(round.server->Consents());
}

TEST(ServerRevealingTest, SumComesOutWithEveryNumberOfDropsUpToTheThreshold) {
  for (const auto& dropped :
       {std::vector<size_t>{}, std::vector<size_t>{0}, std::vector<size_t>{3},
        std::vector<size_t>{6}, std::vector<size_t>{0, 6}, std::vector<size_t>{2, 3}}) {
    TestRound round(7);  // threshold 5
    round.Reveal(dropped);
    const auto unmasker = round.server->Unmask(nullptr);
    ASSERT_TRUE(unmasker.ok()) << unmasker.status();
    const size_t survivors = 7 - dropped.size();
    EXPECT_EQ(unmasker->keystreams(), survivors + survivors * dropped.size());
    std::vector<uint32_t> sum = round.MaskedSum();
    unmasker->Remove(0, absl::MakeSpan(sum));
    EXPECT_EQ(sum, round.TrueSum());
  }
}

TEST(ServerRevealingTest, NothingOpensBeforeTheThreshold) {
  TestRound round(5);  // threshold 4
  round.AgreeOn();
  for (const size_t i : {0, 1, 2}) {
    ASSERT_TRUE(round.server->OnReveal(round.names[i], RevealOf(round, i)).ok());
    EXPECT_FALSE(round.server->CanUnmask());
    EXPECT_EQ(CodeOf(round.server->Unmask(nullptr)), Code::kFailedPrecondition);
  }
  ASSERT_TRUE(round.server->OnReveal(round.names[4], RevealOf(round, 4)).ok());
  EXPECT_TRUE(round.server->CanUnmask());
  EXPECT_TRUE(round.server->Unmask(nullptr).ok());
}

TEST(ServerRevealingTest, TheSameSharesAgainAreFineAndOthersAreNot) {
  TestRound round(5);
  round.AgreeOn({4});
  const RevealMessage message = RevealOf(round, 0);
  EXPECT_TRUE(round.server->OnReveal(round.names[0], message).ok());
  EXPECT_TRUE(round.server->OnReveal(round.names[0], message).ok());
  RevealMessage other = message;
  other.shares[2][0] ^= 1;
  EXPECT_EQ(round.server->OnReveal(round.names[0], other).code(), Code::kAlreadyExists);
  EXPECT_EQ(round.server->OnReveal(round.names[4], message).code(), Code::kNotFound);
  EXPECT_EQ(round.server->OnReveal("stranger", message).code(), Code::kNotFound);
}

TEST(ServerRevealingTest, MalformedSharesAreRefused) {
  TestRound round(6);  // threshold 5
  round.Mask({5});
  round.FixWithout({});
  for (size_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(round.server
                    ->OnConsent(*round.sites[i].OnSurvivors(round.server->survivors().bytes(),
                                                            round.identities[i], *round.ledgers[i]))
                    .ok());
  }
  const RevealMessage honest = RevealOf(round, 0);
  std::vector<RevealMessage> hostile(4, honest);
  hostile[0].shares.clear();
  hostile[1].shares[1].clear();
  hostile[2].shares[5] = std::string(kKeyBytes, 'x');  // of a site that did not share
  hostile[3].shares[0].push_back('x');
  for (const RevealMessage& message : hostile) {
    EXPECT_EQ(round.server->OnReveal(round.names[0], message).code(), Code::kInvalidArgument);
  }
}

TEST(ServerRevealingTest, OneMoreRevealHelpsAfterAWrongShare) {
  TestRound round(5);  // threshold 4
  round.AgreeOn();
  for (const size_t i : {0, 1, 2, 3}) {
    RevealMessage message = RevealOf(round, i);
    if (i == 3) message.shares[0][0] ^= 1;
    ASSERT_TRUE(round.server->OnReveal(round.names[i], message).ok());
  }
  EXPECT_EQ(CodeOf(round.server->Unmask(nullptr)), Code::kDataLoss);
  ASSERT_TRUE(round.server->OnReveal(round.names[4], RevealOf(round, 4)).ok());
  std::vector<WrongShare> wrong;
  EXPECT_TRUE(round.server->Unmask(&wrong).ok());
  EXPECT_EQ(wrong, (std::vector<WrongShare>{{.holder = round.names[3], .owner = round.names[0]}}));
}

}  // namespace
}  // namespace consilium::secagg
