#include "privacy/secagg/site_masking.h"

#include <array>

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::TestRound;
using Code = absl::StatusCode;

std::vector<uint32_t> Masked(SiteSession& site, absl::string_view digest,
                             std::vector<uint32_t> words) {
  const auto masker = site.MaskerFor(digest);
  EXPECT_TRUE(masker.ok()) << masker.status();
  masker->Apply(0, absl::MakeSpan(words));
  return words;
}

TEST(SiteMaskingTest, ARetryGivesTheSamePayloadAndAnotherInputNone) {
  TestRound round(4);
  round.Mask();
  EXPECT_EQ(Masked(round.sites[1], round.PayloadDigest(1), round.Payload(1)), round.payloads[1]);
  EXPECT_EQ(CodeOf(round.sites[1].MaskerFor(privacy::Sha256("another payload"))),
            Code::kFailedPrecondition);
  EXPECT_EQ(CodeOf(round.sites[1].MaskerFor("")), Code::kInvalidArgument);
}

TEST(SiteMaskingTest, ARestartGivesTheSamePayloadAndAnotherInputNone) {
  TestRound round(4);
  round.Mask();
  auto restored = SiteSession::Restore(round.sites[1].Serialize().view());
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(CodeOf(restored->MaskerFor(privacy::Sha256("another payload"))),
            Code::kFailedPrecondition);
  EXPECT_EQ(Masked(*restored, round.PayloadDigest(1), round.Payload(1)), round.payloads[1]);
}

TEST(SiteMaskingTest, MasksCancelInTheSumOnly) {
  TestRound round(4);
  round.Reveal();
  const auto unmasker = round.server->Unmask(nullptr);
  ASSERT_TRUE(unmasker.ok()) << unmasker.status();
  EXPECT_EQ(unmasker->keystreams(), 4u);
  std::vector<uint32_t> sum = round.MaskedSum();
  EXPECT_NE(sum, round.TrueSum());
  unmasker->Remove(0, absl::MakeSpan(sum));
  EXPECT_EQ(sum, round.TrueSum());
}

TEST(SiteMaskingTest, SaidToHaveDeliveredWhatItNeverMasked) {
  TestRound round(4);
  round.Share();
  ASSERT_TRUE(round.sites[0].OnShares(*round.server->SharesFor(round.names[0])).ok());
  SiteSet all(4);
  for (size_t i = 0; i < 4; ++i) all.Add(i);
  EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(all.bytes(), round.identities[0], *round.ledgers[0])),
            Code::kFailedPrecondition);
}

TEST(SiteMaskingTest, SurvivorsThatAreNoSetOfTheRosterAreRefused) {
  TestRound round(4);
  round.Mask();
  for (const std::string& bytes :
       {std::string(), std::string("\x1f", 1), std::string("\x0f\0", 2), std::string("\xff", 1)}) {
    EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(bytes, round.identities[0], *round.ledgers[0])),
              Code::kInvalidArgument);
  }
}

class FailingLedger : public ConsentLedger {
 public:
  absl::Status Record(const Job&, absl::string_view, absl::string_view) override {
    return absl::ResourceExhaustedError("disk full");
  }
};

TEST(SiteMaskingTest, NothingIsSignedThatTheLedgerDidNotRecord) {
  TestRound round(4);
  round.Mask();
  round.FixWithout({});
  FailingLedger ledger;
  EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(round.server->survivors().bytes(),
                                              round.identities[0], ledger)),
            Code::kResourceExhausted);
  EXPECT_EQ(round.sites[0].phase(), SiteSession::Phase::kMasking);
}

TEST(SiteMaskingTest, NoMasksAfterConsent) {
  TestRound round(4);
  round.AgreeOn();
  EXPECT_EQ(CodeOf(round.sites[0].MaskerFor(round.PayloadDigest(0))), Code::kFailedPrecondition);
}

// Pearson's chi-square over byte values; 255 degrees of freedom. 380 is beyond the 1 - 10^-6
// quantile and 160 below the 10^-6 one, so that a rare draw does not fail a build.
double ChiSquare(const std::vector<uint32_t>& words) {
  std::array<uint64_t, 256> counts{};
  for (const uint32_t word : words) {
    for (int shift = 0; shift < 32; shift += 8) ++counts[word >> shift & 0xff];
  }
  const double expected = static_cast<double>(words.size()) * 4 / 256;
  double sum = 0;
  for (const uint64_t count : counts) {
    const double difference = static_cast<double>(count) - expected;
    sum += difference * difference / expected;
  }
  return sum;
}

std::vector<uint32_t> Difference(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  std::vector<uint32_t> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

TEST(SiteMaskingStatisticsTest, PayloadsAndTheirDifferencesAreUniform) {
  const Job job = testing::TestJob(200'000);
  TestRound first(3, job);
  TestRound second(3, job);
  first.Mask();
  second.Mask();
  EXPECT_GT(ChiSquare(first.Payload(0)), 1e6);  // the input is nothing like it
  const std::vector<std::vector<uint32_t>> samples = {
      first.payloads[0], first.payloads[1], second.payloads[0],
      Difference(first.payloads[0], second.payloads[0]),  // equal input in two sessions
      Difference(first.payloads[0], first.payloads[1])};  // two sites of one session
  for (const std::vector<uint32_t>& sample : samples) {
    EXPECT_LT(ChiSquare(sample), 380);
    EXPECT_GT(ChiSquare(sample), 160);
  }
}

}  // namespace
}  // namespace consilium::secagg
