#include "site_agent/uplink/witness_client.h"

#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/checkpoint.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

using privacy::Hash;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A coordinator's log that answers the two calls.
class ScriptedLog {
 public:
  explicit ScriptedLog(const privacy::NoteSigner& signer) : signer_(signer) {}
  void Append(absl::string_view entry) {
    frontier_.Append(privacy::LeafHash(entry),
                     [this](int level, uint64_t index, const Hash& hash) {
                       nodes_[{level, index}] = hash;
                     });
  }
  uint64_t size() const { return frontier_.size(); }
  WitnessClient::Calls Calls() {
    return {[this](const v1::GetCheckpointRequest& request) { return Get(request); },
            [this](const v1::SubmitCosignatureRequest& request) {
              cosignatures.push_back(request);
              return submit_status;
            }};
  }

  absl::Status get_status;
  absl::Status submit_status;
  int gets = 0;
  std::vector<v1::SubmitCosignatureRequest> cosignatures;

 private:
  absl::StatusOr<v1::GetCheckpointReply> Get(const v1::GetCheckpointRequest& request) {
    ++gets;
    if (!get_status.ok()) return get_status;
    if (request.old_size() > size()) return absl::OutOfRangeError(absl::StrCat("the log has ", size()));
    v1::GetCheckpointReply reply;
    reply.set_checkpoint(privacy::SignCheckpoint(
        {.origin = signer_.name(), .size = size(), .root = frontier_.Root()}, signer_));
    if (request.old_size() == 0) return reply;
    const auto proof = privacy::ConsistencyProof(
        request.old_size(), size(), [this](int level, uint64_t index) -> absl::StatusOr<Hash> {
          return nodes_.at({level, index});
        });
    for (const Hash& hash : *proof) {
      reply.add_consistency(std::string(privacy::HashBytes(hash)));
    }
    return reply;
  }

  const privacy::NoteSigner& signer_;
  privacy::Frontier frontier_;
  std::map<std::pair<int, uint64_t>, Hash> nodes_;
};

class WitnessClientTest : public testing::Test {
 protected:
  WitnessClientTest() : log_(signer_) {
    for (int i = 0; i < 5; ++i) log_.Append(absl::StrCat("entry ", i));
    Restart();
  }
  void Restart() {
    auto witness = privacy::Witness::Open(folder(), "testfed/site-a/witness");
    ASSERT_TRUE(witness.ok()) << witness.status();
    vkey_ = witness->verifier();
    client_.emplace(*std::move(witness), Clock::System(), [this](const SiteEvent& event) {
      events_.push_back(event);
      return absl::OkStatus();
    });
    v1::HelloReply reply;
    reply.set_log_vkey(signer_.verifier().ToString());
    ASSERT_TRUE(client_->OnHello(reply).ok());
  }
  absl::Status Ask(ScriptedLog& log) { return client_->OnNextTask(log.size(), log.Calls()); }
  std::string folder() const { return JoinPath(dir_.path(), "witness"); }

  TempDir dir_ = *TempDir::Create("witness-client");
  privacy::NoteSigner signer_ = *privacy::NoteSigner::Generate("testfed/audit",
                                                               privacy::kNoteEd25519);
  privacy::VerifierKey vkey_;
  ScriptedLog log_;
  std::vector<SiteEvent> events_;
  std::optional<WitnessClient> client_;
};

TEST_F(WitnessClientTest, CosignsWhatHasGrownOnce) {
  ASSERT_TRUE(Ask(log_).ok());
  ASSERT_TRUE(Ask(log_).ok());
  ASSERT_THAT(log_.cosignatures, SizeIs(1));
  const v1::SubmitCosignatureRequest& sent = log_.cosignatures[0];
  EXPECT_EQ(sent.size(), 5u);
  v1::HelloRequest hello;
  client_->Introduce(hello);
  EXPECT_EQ(hello.witness_vkey(), vkey_.ToString());
  const auto note = privacy::SignedNote::Parse(hello.witnessed_checkpoint());
  ASSERT_TRUE(note.ok()) << note.status();
  const auto line = privacy::NoteSignature::ParseLine(sent.cosignature());
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_TRUE(privacy::VerifyCosignature(note->text, *line, vkey_).ok());
  log_.Append("more");
  ASSERT_TRUE(Ask(log_).ok());
  EXPECT_THAT(log_.cosignatures, SizeIs(2));
  ASSERT_THAT(events_, SizeIs(2));
  EXPECT_EQ(events_[1].action, "checkpoint.cosign");
  EXPECT_EQ(events_[1].count, 6);
}

TEST_F(WitnessClientTest, WhatWasNotDeliveredIsDeliveredWithTheNextTask) {
  log_.submit_status = absl::UnavailableError("cut");
  EXPECT_TRUE(Ask(log_).ok());
  log_.submit_status = absl::OkStatus();
  EXPECT_TRUE(Ask(log_).ok());
  ASSERT_THAT(log_.cosignatures, SizeIs(2));
  EXPECT_EQ(log_.cosignatures[1].size(), 5u);
  Restart();
  EXPECT_TRUE(Ask(log_).ok());
  EXPECT_THAT(log_.cosignatures, SizeIs(3));
}

TEST_F(WitnessClientTest, ACoordinatorWithoutCheckpointsIsNoReasonToStop) {
  EXPECT_TRUE(client_->OnNextTask(0, log_.Calls()).ok());
  EXPECT_EQ(log_.gets, 0);
  log_.get_status = absl::UnimplementedError("no such call");
  EXPECT_TRUE(Ask(log_).ok());
  log_.get_status = absl::UnavailableError("gone");
  EXPECT_TRUE(Ask(log_).ok());
  EXPECT_THAT(log_.cosignatures, IsEmpty());
  EXPECT_TRUE(client_->OnHello(v1::HelloReply()).ok());
}

TEST_F(WitnessClientTest, AForkStopsTheWorkUntilItIsSettled) {
  ASSERT_TRUE(Ask(log_).ok());
  ScriptedLog fork(signer_);
  for (int i = 0; i < 9; ++i) fork.Append(absl::StrCat("other ", i));
  EXPECT_EQ(Ask(fork).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(fork.cosignatures, IsEmpty());
  ASSERT_EQ(events_.back().action, "checkpoint.refuse");
  EXPECT_EQ(events_.back().outcome, "refused");
  log_.Append("more");
  const size_t recorded = events_.size();
  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = Ask(log_);
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("fork-1.txt"));
  }
  EXPECT_EQ(client_->OnNextTask(0, log_.Calls()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(events_.size(), recorded + 1);  // once, not at each question
  Restart();
  EXPECT_EQ(Ask(log_).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(std::remove(JoinPath(folder(), "fork-1.txt").c_str()), 0);
  EXPECT_TRUE(Ask(log_).ok());
}

TEST_F(WitnessClientTest, ARolledBackLogStopsTheWork) {
  ASSERT_TRUE(Ask(log_).ok());
  ScriptedLog cut(signer_);
  for (int i = 0; i < 3; ++i) cut.Append(absl::StrCat("entry ", i));
  const absl::Status refused = Ask(cut);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("5 entries were cosigned here"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("has 3"));
  EXPECT_THAT(cut.cosignatures, IsEmpty());
  EXPECT_TRUE(Ask(log_).ok());
}

TEST_F(WitnessClientTest, AnOlderOfferThanTheLastIsNoRollback) {
  ASSERT_TRUE(Ask(log_).ok());
  EXPECT_TRUE(client_->OnNextTask(3, log_.Calls()).ok());
}

TEST_F(WitnessClientTest, ALogWithoutSignedEntriesIsNoRollback) {
  log_.get_status = absl::OutOfRangeError("no signed entries");
  EXPECT_TRUE(Ask(log_).ok());
}

TEST_F(WitnessClientTest, AnotherKeyOfTheLogIsRefused) {
  const auto other = privacy::NoteSigner::Generate("testfed/audit", privacy::kNoteEd25519);
  v1::HelloReply reply;
  reply.set_log_vkey(other->verifier().ToString());
  EXPECT_EQ(client_->OnHello(reply).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(events_.back().action, "checkpoint.refuse");
}

}  // namespace
}  // namespace consilium::agent
