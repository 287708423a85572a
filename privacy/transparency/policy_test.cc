#include "privacy/transparency/policy.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/proof.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kOrigin[] = "consilium.example/audit";

// A log with one entry, and three witnesses.
class PolicyTest : public testing::Test {
 protected:
  PolicyTest() {
    for (const char* name : {"w1", "w2", "w3"}) {
      witnesses_.push_back(*NoteSigner::Generate(name, kCosignatureEd25519));
    }
  }

  std::string Lines() const {
    std::string text = absl::StrCat("log ", log_.verifier().ToString(), "\n");
    for (const NoteSigner& witness : witnesses_) {
      absl::StrAppend(&text, "witness ", witness.name(), " ", witness.verifier().ToString(), "\n");
    }
    return text;
  }
  Policy PolicyWith(const std::string& rest) const {
    const auto policy = Policy::Parse(Lines() + rest);
    EXPECT_TRUE(policy.ok()) << policy.status();
    return *policy;
  }
  // The checkpoint of the log with only "entry", cosigned by the first `count` witnesses.
  std::string Note(size_t count) const {
    SignedNote note = *SignedNote::Parse(
        SignCheckpoint({.origin = kOrigin, .size = 1, .root = LeafHash("entry")}, log_));
    for (size_t i = 0; i < count; ++i) {
      note.signatures.push_back(Cosign(note.text, witnesses_[i], absl::FromUnixSeconds(100)));
    }
    return note.ToString();
  }

  NoteSigner log_ = *NoteSigner::Generate(kOrigin, kNoteEd25519);
  std::vector<NoteSigner> witnesses_;
};

TEST_F(PolicyTest, AQuorumOfTwoOfThreeNeedsTwo) {
  const Policy policy = PolicyWith("group sites 2 w1 w2 w3\nquorum sites\n");
  const auto verdict = CheckPolicy(Note(2), policy);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->checkpoint.size, 1u);
  EXPECT_EQ(verdict->log, log_.verifier());
  ASSERT_EQ(verdict->cosigned.size(), 2u);
  EXPECT_EQ(verdict->cosigned[1].name, "w2");
  EXPECT_EQ(verdict->cosigned[1].time, absl::FromUnixSeconds(100));
  EXPECT_THAT(verdict->absent, ElementsAre("w3"));
  const absl::Status few = CheckPolicy(Note(1), policy).status();
  EXPECT_EQ(few.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(few.message()), HasSubstr("cosigned by w1; not by w2, w3"));
}

TEST_F(PolicyTest, NestedGroupsAnyAllAndNone) {
  const Policy nested =
      PolicyWith("group a any w1 w2\ngroup b all w3\n group  both\tall a b \nquorum both\n");
  EXPECT_FALSE(CheckPolicy(Note(2), nested).ok());
  EXPECT_TRUE(CheckPolicy(Note(3), nested).ok());
  EXPECT_TRUE(CheckPolicy(Note(0), PolicyWith("quorum none\n")).ok());
  EXPECT_TRUE(CheckPolicy(Note(1), PolicyWith("quorum w1\n")).ok());
  EXPECT_FALSE(CheckPolicy(Note(1), PolicyWith("quorum w2\n")).ok());
}

TEST_F(PolicyTest, ParsesWhatItWrites) {
  Policy policy = PolicyWith("# comment\n\ngroup sites 2 w1 w2 w3\nquorum sites");
  policy.logs[0].url = "https://log.example";
  const auto again = Policy::Parse(policy.ToString());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToString(), policy.ToString());
  EXPECT_EQ(again->logs[0].url, "https://log.example");
}

TEST_F(PolicyTest, WhatTheFormatForbidsIsRefusedWithItsLine) {
  const std::string log = log_.verifier().ToString(), w1 = witnesses_[0].verifier().ToString();
  for (const std::string& bad : {
           std::string(), std::string("quorum"), std::string("quorum w9\n"),
           std::string("quorum none\nquorum none\n"), std::string("group g 2 w1\nquorum g\n"),
           std::string("group g 0 w1\nquorum g\n"), std::string("group g 01 w1\nquorum g\n"),
           std::string("group g -1 w1\nquorum g\n"), std::string("group g any\nquorum g\n"),
           std::string("group g any none\nquorum g\n"), std::string("group none any w1\nquorum none\n"),
           std::string("group w1 any w2\nquorum w1\n"), std::string("group g any w1 w1\nquorum g\n"),
           std::string("group g any g\nquorum g\n"),
           std::string("group g any w1\ngroup h any w1\nquorum h\n"),
           std::string("quorum none\rx\n"), std::string("quorum none\x7f\n"),
           std::string("logs x\nquorum none\n"), absl::StrCat("log ", log, "\nquorum none\n"),
           absl::StrCat("log ", w1, "\nquorum none\n"), absl::StrCat("witness x ", log, "\nquorum x\n"),
           absl::StrCat("witness x ", w1, "\nquorum x\n"), std::string("log a b c d\nquorum none\n"),
           std::string("witness x\nquorum none\n")}) {
    const absl::Status status = Policy::Parse(Lines() + bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), HasSubstr("policy")) << bad;
  }
}

TEST_F(PolicyTest, SizesAreBounded) {
  EXPECT_EQ(Policy::Parse(std::string(kPolicyBytesMax + 1, '#')).status().code(),
            absl::StatusCode::kResourceExhausted);
  std::string many = Lines();
  std::string before = "w1";
  for (size_t i = 0; i < kPolicyNamesMax; ++i) {
    absl::StrAppend(&many, "group g", i, " any ", before, "\n");
    before = absl::StrCat("g", i);
  }
  EXPECT_EQ(Policy::Parse(many + "quorum none\n").status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(PolicyTest, ABadOrForeignLogSignatureIsDenied) {
  const Policy policy = PolicyWith("quorum none\n");
  const NoteSigner other = *NoteSigner::Generate(kOrigin, kNoteEd25519);
  EXPECT_EQ(CheckPolicy(SignCheckpoint({.origin = kOrigin, .size = 0, .root = EmptyRoot()}, other),
                        policy)
                .status()
                .code(),
            absl::StatusCode::kPermissionDenied);
  SignedNote note = *SignedNote::Parse(Note(3));
  note.signatures[2].bytes[20] ^= 1;  // one rotten cosignature spoils the note
  EXPECT_EQ(CheckPolicy(note.ToString(), policy).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CheckPolicy(Note(0), *Policy::Parse("quorum none\n")).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(PolicyTest, AWitnessOfAnUnknownAlgorithmNeverCounts) {
  const std::string vkey = absl::StrCat("pq+01020304+", Base64Encode("\x06" "key"));
  const Policy policy =
      PolicyWith(absl::StrCat("witness pq ", vkey, "\ngroup g any pq\nquorum g\n"));
  SignedNote note = *SignedNote::Parse(Note(3));
  note.signatures.push_back({.name = "pq", .key_id = 0x01020304, .bytes = "signature"});
  const absl::Status status = CheckPolicy(note.ToString(), policy).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("unknown here: pq"));
}

class LogProofTest : public PolicyTest {
 protected:
  // Entry 1 of the log of "a", "b", "c".
  LogProof Proof() const {
    const Hash left = LeafHash("a"), right = LeafHash("c");
    const Hash root = NodeHash(NodeHash(left, LeafHash("b")), right);
    SignedNote note = *SignedNote::Parse(
        SignCheckpoint({.origin = kOrigin, .size = 3, .root = root}, log_));
    note.signatures.push_back(Cosign(note.text, witnesses_[0], absl::FromUnixSeconds(100)));
    return {.extra = "b", .index = 1, .hashes = {left, right}, .checkpoint = note.ToString()};
  }
};

TEST_F(LogProofTest, HoldsForItsEntryOnly) {
  const auto proof = ParseLogProof(EncodeLogProof(Proof()));
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->extra, "b");
  EXPECT_EQ(EncodeLogProof(*proof), EncodeLogProof(Proof()));
  const Policy policy = PolicyWith("quorum w1\n");
  const auto verdict = VerifyLogProof(*proof, "b", policy);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->checkpoint.size, 3u);
  EXPECT_FALSE(VerifyLogProof(*proof, "B", policy).ok());
  LogProof moved = *proof;
  moved.index = 0;
  EXPECT_FALSE(VerifyLogProof(moved, "b", policy).ok());
  EXPECT_EQ(VerifyLogProof(*proof, "b", PolicyWith("quorum w2\n")).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(LogProofTest, CutAndDamagedTextsAreRefused) {
  const std::string text = EncodeLogProof(Proof());
  for (size_t size = 0; size < text.size(); ++size) {
    const auto proof = ParseLogProof(text.substr(0, size));
    // A note may lose whole signature lines and still be a note; that is for the policy to see.
    if (proof.ok()) {
      EXPECT_FALSE(VerifyLogProof(*proof, "b", PolicyWith("quorum w1\n")).ok());
    }
  }
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"@v1", "@v2"}, {"extra ", "extra  "}, {"extra Yg==", "extra "}, {"index 1", "index 01"},
           {"index 1", "index -1"}, {"index 1\n", ""}, {"index 1\n", "index 1\nAAAA\n"}}) {
    std::string bad = text;
    bad.replace(bad.find(from), from.size(), to);
    EXPECT_FALSE(ParseLogProof(bad).ok()) << from << " -> " << to;
  }
}

TEST_F(LogProofTest, LengthsAreBounded) {
  LogProof proof = Proof();
  proof.hashes.assign(kProofHashesMax + 1, EmptyRoot());
  EXPECT_EQ(ParseLogProof(EncodeLogProof(proof)).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ParseLogProof(std::string(kLogProofBytesMax + 1, 'x')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace consilium::privacy
