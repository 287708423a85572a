#include "privacy/transparency/note.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/utf8.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using testing::HasSubstr;

// The example of C2SP signed-note and golang.org/x/mod/sumdb/note.
constexpr char kVkey[] =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
constexpr char kNote[] =
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
constexpr char kOrigin[] = "consilium.example/audit";

NoteSigner LogSigner() { return *NoteSigner::Generate(kOrigin, kNoteEd25519); }

Checkpoint SomeCheckpoint() {
  return Checkpoint{.origin = kOrigin, .size = 7, .root = LeafHash("root")};
}

TEST(VerifierKeyTest, ThePublishedKeyVerifiesThePublishedNote) {
  const auto key = VerifierKey::Parse(kVkey);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->ToString(), kVkey);
  const auto note = SignedNote::Parse(kNote);
  ASSERT_TRUE(note.ok()) << note.status();
  EXPECT_TRUE(VerifyNote(*note, *key).ok());
  EXPECT_EQ(note->ToString(), kNote);
}

TEST(VerifierKeyTest, DamagedKeysAreRefused) {
  const std::string vkey = kVkey;
  for (const std::string& bad :
       {std::string(), std::string("a"), std::string("a+b+c"), "x" + vkey, vkey + "AAAA",
        vkey.substr(0, vkey.size() - 4), "a b" + vkey, std::string("+530d903a+AekyeRrm56hApGFk"),
        std::string("n+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"),
        std::string(kVerifierKeyBytesMax + 1, 'x')}) {
    EXPECT_FALSE(VerifierKey::Parse(bad).ok()) << bad;
  }
}

TEST(VerifierKeyTest, AnUnknownAlgorithmIsKeptAndNeverAccepted) {
  const std::string vkey = absl::StrCat("pq.example+0a0b0c0d+", Base64Encode("\x06" "any length"));
  const auto key = VerifierKey::Parse(vkey);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_FALSE(key->known());
  EXPECT_EQ(key->id(), 0x0a0b0c0du);
  EXPECT_EQ(key->ToString(), vkey);
  SignedNote note = *SignedNote::Parse(kNote);
  note.signatures.push_back({.name = "pq.example", .key_id = 0x0a0b0c0d, .bytes = "long"});
  const auto again = SignedNote::Parse(note.ToString());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->signatures, note.signatures);
  EXPECT_EQ(VerifyNote(*again, *key).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(FindCosignature(*again, *key).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(VerifyNote(*again, *VerifierKey::Parse(kVkey)).ok());
  EXPECT_FALSE(NoteSigner::Generate("pq.example", 0x06).ok());
}

TEST(SignedNoteTest, WhatIsNotANoteIsRefused) {
  const std::string note = kNote;
  const std::string line = note.substr(note.find("\u2014"));
  for (const std::string& bad :
       {std::string(), std::string("\n"), std::string("\n\n"), std::string("text\n\n"),
        std::string("text\n"), "text\n" + line, note.substr(0, note.size() - 1), note + "\n",
        note + "x\n", "a\tb\n\n" + line, "\xff\n\n" + line,
        std::string("text\n\n\u2014 name\n"), std::string("text\n\n\u2014 name AAAA\n"),
        std::string("text\n\n\u2014 na+me AAAAAAA=\n"), std::string("text\n\n- name AAAAAAA=\n"),
        std::string("text\n\n\u2014  name AAAAAAA=\n"), std::string("text\n\n\u2014 name AAAAAAB=\n"),
        std::string("text\n\n\u2014 name AAAAAAA\n"), std::string("text\n\n\u2014 name AAAA AAA=\n"),
        std::string("text\n\n\u2014 na\u3000me AAAAAAA=\n")}) {
    EXPECT_EQ(SignedNote::Parse(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(SignedNoteTest, TheTextEndsAtTheLastEmptyLine) {
  const auto note = SignedNote::Parse("a\n\nb\n\n\u2014 n AAAAAAA=\n");
  ASSERT_TRUE(note.ok()) << note.status();
  EXPECT_EQ(note->text, "a\n\nb\n");
}

TEST(SignedNoteTest, SizeAndSignaturesAreBounded) {
  std::string note = "text\n\n";
  for (size_t i = 0; i < kNoteSignaturesMax; ++i) note.append("\u2014 n AAAAAAA=\n");
  EXPECT_TRUE(SignedNote::Parse(note).ok());
  note.append("\u2014 n AAAAAAA=\n");
  EXPECT_EQ(SignedNote::Parse(note).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(SignedNote::Parse(std::string(kNoteBytesMax + 1, 'x')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(SignedNoteTest, OneBadSignatureOfAKnownKeySpoilsTheNote) {
  const NoteSigner signer = LogSigner();
  SignedNote note{.text = "text\n", .signatures = {signer.Sign("text\n")}};
  EXPECT_TRUE(VerifyNote(note, signer.verifier()).ok());
  note.signatures.push_back(signer.Sign("other\n"));
  EXPECT_EQ(VerifyNote(note, signer.verifier()).code(), absl::StatusCode::kPermissionDenied);
  note.signatures.clear();
  EXPECT_EQ(VerifyNote(note, signer.verifier()).code(), absl::StatusCode::kNotFound);
}

TEST(CheckpointTest, IsReadAsItWasSigned) {
  const NoteSigner signer = LogSigner();
  const std::string note = SignCheckpoint(SomeCheckpoint(), signer);
  const auto checkpoint = OpenCheckpoint(note, signer.verifier());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(*checkpoint, SomeCheckpoint());
  EXPECT_FALSE(OpenCheckpoint(note, LogSigner().verifier()).ok());
}

TEST(CheckpointTest, AnotherOriginThanTheKeysIsRefused) {
  const NoteSigner signer = LogSigner();
  Checkpoint other = SomeCheckpoint();
  other.origin = "another";
  SignedNote note{.text = EncodeCheckpoint(other), .signatures = {}};
  note.signatures.push_back(signer.Sign(note.text));
  EXPECT_THAT(std::string(OpenCheckpoint(note.ToString(), signer.verifier()).status().message()),
              HasSubstr("another log"));
}

TEST(CheckpointTest, OtherTextsAreRefused) {
  const std::string root = Base64Encode(HashBytes(LeafHash("")));
  for (const std::string& text :
       {std::string(), std::string("o\n"), std::string("o\n1\n"), absl::StrCat("o\n1\n", root),
        absl::StrCat("\n1\n", root, "\n"), absl::StrCat("o\n01\n", root, "\n"),
        absl::StrCat("o\n-1\n", root, "\n"), absl::StrCat("o\n+1\n", root, "\n"),
        absl::StrCat("o\n 1\n", root, "\n"), absl::StrCat("o\n1\n", root, "\nmore\n"),
        absl::StrCat("o\n1\n", root, "\n\n"), absl::StrCat("o\n0\n", root, "\n"),
        absl::StrCat("o\n18446744073709551616\n", root, "\n"),
        absl::StrCat("o\n9223372036854775808\n", root, "\n"),
        absl::StrCat("o\n1\n", root.substr(4), "\n"), absl::StrCat("o\n1\n", root, "=\n"),
        absl::StrCat("o\n1\n ", root, "\n")}) {
    EXPECT_EQ(ParseCheckpoint(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(CosignatureTest, CarriesItsTimeAndHoldsForItsTextOnly) {
  const NoteSigner witness = *NoteSigner::Generate("site/witness", kCosignatureEd25519);
  const std::string text = EncodeCheckpoint(SomeCheckpoint());
  const absl::Time time = absl::FromUnixSeconds(1'700'000'000);
  const NoteSignature line = *NoteSignature::ParseLine(Cosign(text, witness, time).ToLine());
  EXPECT_EQ(*VerifyCosignature(text, line, witness.verifier()), time);
  EXPECT_EQ(VerifyCosignature("x" + text, line, witness.verifier()).status().code(),
            absl::StatusCode::kPermissionDenied);
  NoteSignature later = line;
  later.bytes[7] ^= 1;
  EXPECT_FALSE(VerifyCosignature(text, later, witness.verifier()).ok());
  later.bytes.pop_back();
  EXPECT_FALSE(VerifyCosignature(text, later, witness.verifier()).ok());
  const NoteSigner other = *NoteSigner::Generate("site/witness", kCosignatureEd25519);
  EXPECT_FALSE(VerifyCosignature(text, line, other.verifier()).ok());
}

TEST(CosignatureTest, IsNeverTakenForTheLogsSignature) {
  Ed25519Key key = Ed25519Key::Generate();
  const SecretBytes pem = key.ToPem();
  const NoteSigner log = *NoteSigner::Create(kOrigin, kNoteEd25519, std::move(key));
  const NoteSigner witness =
      *NoteSigner::Create(kOrigin, kCosignatureEd25519, *Ed25519Key::FromPem(pem));
  SignedNote note = *SignedNote::Parse(SignCheckpoint(SomeCheckpoint(), log));
  EXPECT_EQ(FindCosignature(note, witness.verifier()).status().code(),
            absl::StatusCode::kNotFound);
  note.signatures = {Cosign(note.text, witness, absl::UnixEpoch())};
  EXPECT_EQ(VerifyNote(note, log.verifier()).code(), absl::StatusCode::kNotFound);
  note.signatures[0].key_id = log.verifier().id();
  EXPECT_FALSE(VerifyNote(note, log.verifier()).ok());
}

TEST(SignerFileTest, TheKeyIsMadeOnceAndPrivate) {
  const auto dir = TempDir::Create("signer");
  ASSERT_TRUE(dir.ok());
  const std::string path = JoinPath(dir->path(), "witness.key");
  const auto first = NoteSigner::OpenFile(path, "site", kCosignatureEd25519);
  ASSERT_TRUE(first.ok()) << first.status();
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto again = NoteSigner::OpenFile(path, "site", kCosignatureEd25519);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->verifier(), first->verifier());
}

TEST(SignerFileTest, AKeyThatOthersMayReadOrThatIsDamagedIsRefused) {
  const auto dir = TempDir::Create("signer");
  ASSERT_TRUE(dir.ok());
  const std::string path = JoinPath(dir->path(), "witness.key");
  ASSERT_TRUE(NoteSigner::OpenFile(path, "site", kCosignatureEd25519).ok());
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const absl::Status open = NoteSigner::OpenFile(path, "site", kCosignatureEd25519).status();
  EXPECT_EQ(open.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(open.message()), HasSubstr("chmod 600"));
  ASSERT_TRUE(WriteFileAtomic(path, "rubbish", kPrivateFile).ok());
  const absl::Status damaged = NoteSigner::OpenFile(path, "site", kCosignatureEd25519).status();
  EXPECT_EQ(damaged.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("backup"));
}

TEST(Utf8Test, KnowsWhatIsWellFormed) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x80\x94", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

}  // namespace
}  // namespace consilium::privacy
