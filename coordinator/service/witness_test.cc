// Sites as witnesses of the audit log, and what a reviewer is given, over real connections.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/policy.h"
#include "privacy/transparency/proof.h"
#include "privacy/transparency/witness.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// A site with the witness that an agent has.
struct WitnessSite {
  std::unique_ptr<TestSite> site;
  privacy::Witness witness;
};

grpc::Status Hello(WitnessSite& at, v1::HelloReply& reply) {
  grpc::ClientContext context;
  v1::HelloRequest request;
  request.set_protocol_version(1);
  request.set_witness_vkey(at.witness.verifier().ToString());
  request.set_witnessed_checkpoint(at.witness.last_note());
  return at.site->stub().Hello(&context, request, &reply);
}

grpc::Status Cosign(WitnessSite& at) {
  grpc::ClientContext get, submit;
  v1::GetCheckpointRequest request;
  request.set_old_size(at.witness.size());
  v1::GetCheckpointReply offer;
  if (grpc::Status status = at.site->stub().GetCheckpoint(&get, request, &offer); !status.ok()) {
    return status;
  }
  const auto proof = privacy::HashesFromBytes(offer.consistency());
  const auto line = at.witness.Consider(offer.checkpoint(), *proof, Clock::System().Now());
  EXPECT_TRUE(line.ok()) << line.status();
  const auto checkpoint =
      privacy::ParseCheckpoint(privacy::SignedNote::Parse(offer.checkpoint())->text);
  v1::SubmitCosignatureRequest cosignature;
  cosignature.set_size(checkpoint->size);
  cosignature.set_root(std::string(privacy::HashBytes(checkpoint->root)));
  cosignature.set_cosignature(line.ok() ? *line : "");
  v1::Acknowledgement reply;
  return at.site->stub().SubmitCosignature(&submit, cosignature, &reply);
}

class WitnessTest : public ::testing::Test {
 protected:
  WitnessSite Add(const std::string& name) {
    return {federation_.AddSite(name),
            privacy::Witness::Open(JoinPath(federation_.folder(), name + "-witness"),
                                   "site/" + name)
                .value()};
  }
  v1::GetAuditCheckpointReply Checkpoint() {
    grpc::ClientContext context;
    v1::GetAuditCheckpointReply reply;
    EXPECT_TRUE(federation_.admin().GetAuditCheckpoint(&context, {}, &reply).ok());
    return reply;
  }
  std::string Export(const v1::ExportAuditRequest& request) {
    grpc::ClientContext context;
    const auto reader = federation_.admin().ExportAudit(&context, request);
    std::string text;
    for (v1::ExportAuditPiece piece; reader->Read(&piece);) text += piece.data();
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return text;
  }
  TestFederation federation_;
};

TEST_F(WitnessTest, SitesCosignAndAReviewerNeedsNoTrustInTheCoordinator) {
  WitnessSite a = Add("a"), b = Add("b");
  for (WitnessSite* at : {&a, &b}) {
    v1::HelloReply reply;
    const grpc::Status status = Hello(*at, reply);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_TRUE(at->witness.Pin(reply.log_vkey()).ok());
  }
  EXPECT_THAT(federation_.Audit("witness.enrol"), SizeIs(2));
  v1::NextTaskReply next;
  Eventually(
      [&] {
        grpc::ClientContext context;
        EXPECT_TRUE(a.site->stub().NextTask(&context, {}, &next).ok());
        return next.checkpoint_size() > 0;
      },
      "a checkpoint to cosign");
  EXPECT_FALSE(privacy::CheckPolicy(Checkpoint().checkpoint(),
                                    *privacy::Policy::Parse(Checkpoint().policy()))
                   .ok());
  ASSERT_TRUE(Cosign(a).ok());
  const v1::GetAuditCheckpointReply head = Checkpoint();
  const auto policy = privacy::Policy::Parse(head.policy());
  ASSERT_TRUE(policy.ok()) << policy.status();
  const auto verdict = privacy::CheckPolicy(head.checkpoint(), *policy);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(verdict->cosigned, SizeIs(1));

  grpc::ClientContext context;
  v1::ProveAuditRequest request;
  request.set_index(0);
  v1::ProveAuditReply proof;
  ASSERT_TRUE(federation_.admin().ProveAudit(&context, request, &proof).ok());
  EXPECT_TRUE(
      privacy::VerifyLogProof(*privacy::ParseLogProof(proof.proof()), proof.entry(), *policy).ok());

  federation_.Stop();  // and the witness that saw it takes part again after a restart
  federation_.Start();
  a.site->Connect(federation_.address());
  v1::HelloReply reply;
  EXPECT_TRUE(Hello(a, reply).ok());
}

TEST_F(WitnessTest, ARolledBackHomeIsFoundOutByItsWitness) {
  namespace fs = std::filesystem;
  WitnessSite a = Add("a");
  v1::HelloReply reply;
  ASSERT_TRUE(Hello(a, reply).ok());
  ASSERT_TRUE(a.witness.Pin(reply.log_vkey()).ok());
  federation_.Stop();
  const std::string old = JoinPath(federation_.folder(), "old");
  fs::copy(federation_.home(), old, fs::copy_options::recursive);
  federation_.Start();
  a.site->Connect(federation_.address());
  for (int i = 0; i < 8; ++i) federation_.Invite("later" + std::to_string(i));
  ASSERT_TRUE(federation_.server().SignLog().ok());
  // The offered checkpoint is that of the start; what it has grown to since is what was signed last.
  grpc::ClientContext context;
  v1::GetCheckpointRequest request;
  request.set_old_size(federation_.server().audit_size() - 1);
  v1::GetCheckpointReply offer;
  ASSERT_TRUE(a.site->stub().GetCheckpoint(&context, request, &offer).ok());
  ASSERT_TRUE(a.witness.Consider(offer.checkpoint(), {}, Clock::System().Now()).ok());
  federation_.Stop();
  fs::remove_all(federation_.home());
  fs::copy(old, federation_.home(), fs::copy_options::recursive);
  federation_.Start();
  a.site->Connect(federation_.address());
  const grpc::Status status = Hello(a, reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_THAT(status.error_message(), HasSubstr("the witness at a has"));
  EXPECT_THAT(status.error_message(), HasSubstr("restore a backup"));
  grpc::ClientContext invite;
  v1::InviteSiteRequest invitation;
  invitation.set_site("x");
  v1::InviteSiteReply invited;
  EXPECT_EQ(federation_.admin().InviteSite(&invite, invitation, &invited).error_code(),
            grpc::StatusCode::DATA_LOSS)
      << "nothing is changed that cannot be recorded";
}

TEST_F(WitnessTest, AnExportShowsWhatIsAskedForAndCountsTheRest) {
  for (const char* name : {"a", "b", "c"}) federation_.AddSite(name);
  v1::ExportAuditRequest request;
  request.mutable_filter()->set_action("site.approve");
  request.mutable_filter()->set_round(-1);
  request.set_disclose(true);
  const std::string text = Export(request);
  std::vector<nlohmann::json> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(nlohmann::json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  EXPECT_EQ(lines.front()["filter"], "action is site.approve");
  EXPECT_EQ(lines.back()["shown"], 3);
  EXPECT_GT(lines.back()["withheld"], 3);
  EXPECT_THAT(text, HasSubstr("\"value\":\"admin\"")) << "disclosed";
  request.set_disclose(false);
  EXPECT_THAT(Export(request), Not(HasSubstr("\"open\"")));
  EXPECT_THAT(federation_.Audit("audit.export"), SizeIs(2));
}

TEST_F(WitnessTest, NobodyErasesTheirOwnName) {
  const auto erase = [&](const std::string& name, const std::string& reason) {
    grpc::ClientContext context;
    v1::EraseAuditNameRequest request;
    request.set_name(name);
    request.set_reason(reason);
    v1::EraseAuditNameReply reply;
    return federation_.admin().EraseAuditName(&context, request, &reply).error_code();
  };
  EXPECT_EQ(erase("admin", "asked"), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(erase("", "asked"), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(erase("alice", "alice asked"), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(erase("alice", "asked"), grpc::StatusCode::OK);
  EXPECT_THAT(federation_.Audit("audit.erase"), SizeIs(1));
}

}  // namespace
}  // namespace consilium::coordinator
