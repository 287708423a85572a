#include "privacy/secagg/consent_ledger.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"
#include "proto/base/file.h"

namespace consilium::secagg {
namespace {

using Code = absl::StatusCode;

std::string Folder(const TempDir& temp) { return JoinPath(temp.path(), "ledger"); }

std::unique_ptr<FileConsentLedger> Open(const TempDir& temp) {
  auto ledger = FileConsentLedger::Open(Folder(temp));
  EXPECT_TRUE(ledger.ok()) << ledger.status();
  return *std::move(ledger);
}

TEST(FileConsentLedgerTest, OneSurvivorSetForAJobRoundAndModelAlsoAfterARestart) {
  const auto temp = TempDir::Create("ledger");
  const Job job = testing::TestJob();
  Job next = job;
  next.round += 1;
  {
    const auto ledger = Open(*temp);
    EXPECT_TRUE(ledger->Record(job, "sid", "\x07").ok());
    EXPECT_TRUE(ledger->Record(job, "sid", "\x07").ok());
    EXPECT_EQ(ledger->Record(job, "sid", "\x0f").code(), Code::kFailedPrecondition);
    EXPECT_EQ(ledger->Record(job, "sid2", "\x07").code(), Code::kFailedPrecondition);
  }
  const auto ledger = Open(*temp);
  EXPECT_TRUE(ledger->Record(job, "sid", "\x07").ok());
  EXPECT_EQ(ledger->Record(job, "sid", "\x0f").code(), Code::kFailedPrecondition);
  EXPECT_TRUE(ledger->Record(next, "sid", "\x0f").ok());
}

TEST(FileConsentLedgerTest, ARecordCutShortIsDroppedAndOneDamagedIsNot) {
  const auto temp = TempDir::Create("ledger");
  const Job job = testing::TestJob();
  Job next = job;
  next.round += 1;
  {
    const auto ledger = Open(*temp);
    ASSERT_TRUE(ledger->Record(job, "sid", "\x07").ok());
    ASSERT_TRUE(ledger->Record(next, "sid", "\x07").ok());
  }
  const std::string path = JoinPath(Folder(*temp), "consents");
  const std::string whole = *ReadFile(path, 1000);
  ASSERT_EQ(whole.size(), 2 * 68u);
  for (size_t size = 68; size < whole.size(); ++size) {
    ASSERT_TRUE(ReplaceFile(path, whole.substr(0, size)).ok());
    const auto ledger = Open(*temp);
    EXPECT_EQ(ledger->Record(job, "sid", "\x0f").code(), Code::kFailedPrecondition);
    EXPECT_TRUE(ledger->Record(next, "sid", "\x0f").ok());
  }
  std::string damaged = whole;
  damaged[5] ^= 1;
  ASSERT_TRUE(ReplaceFile(path, damaged).ok());
  EXPECT_EQ(FileConsentLedger::Open(Folder(*temp)).status().code(), Code::kDataLoss);
}

}  // namespace
}  // namespace consilium::secagg
