#include "privacy/transparency/witness.h"

#include <sys/stat.h>

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using testing::HasSubstr;

constexpr char kOrigin[] = "consilium.example/audit";
constexpr char kName[] = "consilium.example/site-a";
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

// A log that signs what it is told to.
class ScriptedLog {
 public:
  explicit ScriptedLog(const NoteSigner& signer) : signer_(signer) {}
  void Append(absl::string_view entry) {
    frontier_.Append(LeafHash(entry), [this](int level, uint64_t index, const Hash& hash) {
      nodes_[{level, index}] = hash;
    });
    roots_.push_back(frontier_.Root());
  }
  void AppendMany(int count) {
    for (int i = 0; i < count; ++i) Append(absl::StrCat("entry ", roots_.size()));
  }
  std::string Note(uint64_t size) const {
    return SignCheckpoint(
        {.origin = signer_.name(), .size = size, .root = size == 0 ? EmptyRoot() : roots_[size - 1]},
        signer_);
  }
  std::vector<Hash> Proof(uint64_t from, uint64_t to) const {
    if (from == 0) return {};
    return *ConsistencyProof(from, to, [this](int level, uint64_t index) -> absl::StatusOr<Hash> {
      return nodes_.at({level, index});
    });
  }

 private:
  const NoteSigner& signer_;
  Frontier frontier_;
  std::map<std::pair<int, uint64_t>, Hash> nodes_;
  std::vector<Hash> roots_;
};

class WitnessTest : public testing::Test {
 protected:
  Witness Open() {
    auto witness = Witness::Open(folder(), kName);
    EXPECT_TRUE(witness.ok()) << witness.status();
    return *std::move(witness);
  }
  Witness OpenPinned() {
    Witness witness = Open();
    EXPECT_TRUE(witness.Pin(signer_.verifier().ToString()).ok());
    return witness;
  }
  absl::StatusOr<std::string> Show(Witness& witness, const ScriptedLog& log, uint64_t size) {
    return witness.Consider(log.Note(size), log.Proof(witness.size(), size), kNow);
  }
  std::string folder() const { return JoinPath(dir_.path(), "witness"); }

  TempDir dir_ = *TempDir::Create("witness");
  NoteSigner signer_ = *NoteSigner::Generate(kOrigin, kNoteEd25519);
};

TEST_F(WitnessTest, CosignsALogThatGrows) {
  ScriptedLog log(signer_);
  log.AppendMany(20);
  Witness witness = OpenPinned();
  for (const uint64_t size : {0, 1, 1, 2, 5, 8, 8, 20}) {
    const auto line = Show(witness, log, size);
    ASSERT_TRUE(line.ok()) << line.status();
    const auto signature = NoteSignature::ParseLine(*line);
    ASSERT_TRUE(signature.ok()) << signature.status();
    const std::string text = SignedNote::Parse(log.Note(size))->text;
    EXPECT_EQ(*VerifyCosignature(text, *signature, witness.verifier()), kNow);
    EXPECT_EQ(witness.size(), size);
  }
}

TEST_F(WitnessTest, RemembersOverARestartAndNamesItselfTheSame) {
  ScriptedLog log(signer_);
  log.AppendMany(9);
  Witness first = OpenPinned();
  ASSERT_TRUE(Show(first, log, 5).ok());
  Witness again = Open();
  EXPECT_EQ(again.verifier(), first.verifier());
  EXPECT_EQ(again.size(), 5u);
  EXPECT_EQ(again.last_note(), log.Note(5));
  EXPECT_TRUE(Show(again, log, 9).ok());
  struct stat info;
  ASSERT_EQ(::stat(JoinPath(folder(), "witness.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(WitnessTest, IsOnDiskBeforeTheCosignatureIsGivenOut) {
  ScriptedLog log(signer_);
  log.AppendMany(3);
  Witness witness = OpenPinned();
  ASSERT_TRUE(Show(witness, log, 1).ok());
  ASSERT_EQ(std::rename(folder().c_str(), (folder() + "-away").c_str()), 0);
  EXPECT_FALSE(Show(witness, log, 3).ok());  // nowhere to write to
  EXPECT_EQ(witness.size(), 1u);
  ASSERT_EQ(std::rename((folder() + "-away").c_str(), folder().c_str()), 0);
  EXPECT_TRUE(Show(witness, log, 3).ok());
  EXPECT_EQ(Open().size(), 3u);
}

TEST_F(WitnessTest, ARolledBackLogIsRefusedWithBothSizes) {
  ScriptedLog log(signer_);
  log.AppendMany(7);
  Witness witness = OpenPinned();
  ASSERT_TRUE(Show(witness, log, 7).ok());
  const absl::Status status = witness.Consider(log.Note(4), {}, kNow).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 entries where 7"));
  EXPECT_FALSE(witness.Evidence().has_value());
  EXPECT_TRUE(Show(witness, log, 7).ok());
}

class ForkTest : public WitnessTest {
 protected:
  // The witness saw seven entries; the fork has another seventh one.
  ForkTest() : log_(signer_), fork_(signer_) {
    log_.AppendMany(12);
    fork_.AppendMany(6);
    fork_.Append("rewritten");
    fork_.AppendMany(5);
  }
  void ExpectFork(Witness& witness, uint64_t size) {
    const absl::Status status = Show(witness, fork_, size).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    ASSERT_EQ(witness.Evidence(), "fork-1.txt");
    const auto evidence = ReadFile(JoinPath(folder(), "fork-1.txt"), 1 << 20);
    ASSERT_TRUE(evidence.ok());
    EXPECT_THAT(*evidence, HasSubstr(log_.Note(7)));
    EXPECT_THAT(*evidence, HasSubstr(fork_.Note(size)));
  }
  ScriptedLog log_;
  ScriptedLog fork_;
};

TEST_F(ForkTest, TheSameSizeWithAnotherRootIsAFork) {
  Witness witness = OpenPinned();
  ASSERT_TRUE(Show(witness, log_, 7).ok());
  ExpectFork(witness, 7);
}

TEST_F(ForkTest, ALargerLogThatDoesNotContinueIsAFork) {
  Witness witness = OpenPinned();
  ASSERT_TRUE(Show(witness, log_, 7).ok());
  ExpectFork(witness, 12);
}

TEST_F(ForkTest, NothingIsCosignedUntilTheEvidenceIsRemoved) {
  Witness witness = OpenPinned();
  ASSERT_TRUE(Show(witness, log_, 7).ok());
  ExpectFork(witness, 12);
  EXPECT_EQ(Show(witness, log_, 12).status().code(), absl::StatusCode::kFailedPrecondition);
  Witness restarted = OpenPinned();
  const absl::Status status = Show(restarted, log_, 12).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("fork-1.txt"));
  EXPECT_EQ(restarted.size(), 7u);
  ASSERT_EQ(std::remove(JoinPath(folder(), "fork-1.txt").c_str()), 0);
  EXPECT_TRUE(Show(restarted, log_, 12).ok());
}

TEST_F(WitnessTest, AProofOfTheWrongLengthIsNoEvidence) {
  ScriptedLog log(signer_);
  log.AppendMany(7);
  Witness witness = OpenPinned();
  EXPECT_EQ(witness.Consider(log.Note(3), {EmptyRoot()}, kNow).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Show(witness, log, 3).ok());
  EXPECT_EQ(witness.Consider(log.Note(7), {}, kNow).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(witness.Evidence().has_value());
  EXPECT_TRUE(Show(witness, log, 7).ok());
}

TEST_F(WitnessTest, OnlyThePinnedLogIsCosigned) {
  ScriptedLog log(signer_);
  log.AppendMany(2);
  Witness witness = Open();
  EXPECT_EQ(Show(witness, log, 1).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(witness.Pin(signer_.verifier().ToString()).ok());

  const NoteSigner thief = *NoteSigner::Generate(kOrigin, kNoteEd25519);
  EXPECT_EQ(witness.Pin(thief.verifier().ToString()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Open().Pin(thief.verifier().ToString()).code(),
            absl::StatusCode::kFailedPrecondition);
  ScriptedLog stolen(thief);
  stolen.AppendMany(2);
  EXPECT_EQ(Show(witness, stolen, 1).status().code(), absl::StatusCode::kNotFound);
  SignedNote forged = *SignedNote::Parse(log.Note(1));
  forged.signatures[0].bytes[0] ^= 1;
  EXPECT_EQ(witness.Consider(forged.ToString(), {}, kNow).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(witness.Consider("rubbish", {}, kNow).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(witness.Pin("rubbish").ok());
  EXPECT_FALSE(witness.Pin(witness.verifier().ToString()).ok());
  EXPECT_EQ(witness.size(), 0u);
  EXPECT_TRUE(Show(witness, log, 1).ok());
}

TEST_F(WitnessTest, ADamagedStateSaysWhatToDo) {
  ScriptedLog log(signer_);
  log.AppendMany(2);
  {
    Witness witness = OpenPinned();
    ASSERT_TRUE(Show(witness, log, 2).ok());
  }
  const std::string path = JoinPath(folder(), "state.txt");
  const std::string good = *ReadFile(path, 1 << 20);
  for (size_t i = 0; i <= good.size(); i += 7) {
    std::string cut = good.substr(0, i);
    ASSERT_TRUE(WriteFileAtomic(path, cut).ok());
    if (i < good.size()) {
      const absl::Status status = Witness::Open(folder(), kName).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << i;
      EXPECT_THAT(std::string(status.message()), HasSubstr("restore it from a backup"));
    }
    if (i == good.size()) break;
    std::string flipped = good;
    flipped[i] ^= 4;
    ASSERT_TRUE(WriteFileAtomic(path, flipped).ok());
    EXPECT_EQ(Witness::Open(folder(), kName).status().code(), absl::StatusCode::kDataLoss) << i;
  }
  ASSERT_TRUE(WriteFileAtomic(path, good).ok());
  EXPECT_EQ(Open().size(), 2u);
}

}  // namespace
}  // namespace consilium::privacy
