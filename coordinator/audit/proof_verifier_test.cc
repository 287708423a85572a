#include "coordinator/audit/proof_verifier.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/proof.h"
#include "tests/support/signed_log.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using testing::SignedLog;

class ProofFileTest : public ::testing::Test {
 protected:
  ProofFileTest() { log_.Fill(300); }
  std::string Proof(uint64_t index, const std::string& entry) {
    return privacy::EncodeLogProof({.extra = entry,
                                    .index = index,
                                    .hashes = *privacy::InclusionProof(index, 300, log_.Nodes()),
                                    .checkpoint = log_.Checkpoint()});
  }
  AuditReport Verify(const std::string& text, const std::string& held = "") {
    return *VerifyProofFile(text, *privacy::Policy::Parse(log_.Policy(2)), held);
  }
  SignedLog log_;
};

TEST_F(ProofFileTest, GoodOneShowsTheEntry) {
  const std::string text = Proof(123, log_.entries()[123]);
  EXPECT_EQ(KindOfAuditFile(text), AuditFileKind::kProof);
  const AuditReport report = Verify(text);
  EXPECT_TRUE(report.ok()) << FormatReport(report);
  EXPECT_EQ(report.index, 123u);
  EXPECT_EQ(report.entry, log_.entries()[123]);
}

TEST_F(ProofFileTest, AnotherEntryOrPlaceIsNamed) {
  for (const std::string& text :
       {Proof(123, log_.entries()[124]), Proof(123, log_.entries()[123] + " "), Proof(122, "{}")}) {
    const AuditReport report = Verify(text);
    ASSERT_FALSE(report.ok());
    EXPECT_TRUE(report.FirstFault()->index.has_value());
  }
}

TEST_F(ProofFileTest, WhatIsNoProofIsInvalid) {
  const auto policy = privacy::Policy::Parse(log_.Policy(2));
  EXPECT_FALSE(VerifyProofFile("c2sp.org/tlog-proof@v1\nindex x\n\n", *policy, "").ok());
  EXPECT_EQ(KindOfAuditFile("%PDF-1.3"), AuditFileKind::kUnknown);
}

TEST_F(ProofFileTest, HeldCheckpointOfAnotherSizeCannotBeCompared) {
  SignedLog shorter;
  shorter.Fill(299);
  const AuditReport report = Verify(Proof(7, log_.entries()[7]), shorter.Checkpoint());
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("cannot show"));
}

// Two checkpoints of 513 entries, both validly signed by the log and three sites.
TEST(ForkVectorTest, BothSignedCheckpointsOfOneSizeAreEvidence) {
  std::ifstream file(std::string(CONSILIUM_SHARED_DIR) + "/data/merkle_vectors.json");
  if (!file) GTEST_SKIP() << "no shared test vectors";
  const auto vectors = nlohmann::json::parse(file);
  std::string policy_text;
  std::map<std::string, std::string> notes;
  for (const auto& vector : vectors["note"]) {
    const std::string id = vector["id"];
    if (id == "note/log-513" || id == "note/log-513-fork") {
      notes[id] = vector["text"];
      if (id == "note/log-513") {
        policy_text += absl::StrCat("log ", vector["vkey"].get<std::string>(), "\n");
      }
    }
    for (const char* site : {"0", "1", "2"}) {
      if (id == absl::StrCat("note/cosig-513-site", site)) {
        policy_text +=
            absl::StrCat("witness s", site, " ", vector["vkey"].get<std::string>(), "\n");
      }
    }
  }
  ASSERT_EQ(notes.size(), 2u);
  const auto policy =
      privacy::Policy::Parse(policy_text + "group sites 2 s0 s1 s2\nquorum sites\n");
  ASSERT_TRUE(policy.ok()) << policy.status();
  const auto& note = notes["note/log-513"];
  EXPECT_EQ(KindOfAuditFile(note), AuditFileKind::kCheckpoint);
  EXPECT_TRUE(VerifyCheckpointFile(note, *policy, "")->ok());
  EXPECT_TRUE(VerifyCheckpointFile(notes["note/log-513-fork"], *policy, "")->ok());
  const auto report = VerifyCheckpointFile(note, *policy, notes["note/log-513-fork"]);
  ASSERT_TRUE(report.ok());
  ASSERT_FALSE(report->ok());
  EXPECT_THAT(report->FirstFault()->what, HasSubstr("FORK"));
  EXPECT_EQ(nlohmann::json::parse(ReportJson(*report))["ok"], false);
}

}  // namespace
}  // namespace consilium::coordinator
