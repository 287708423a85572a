// The witness over the wire: what Hello says, and that a task is only given out by the client when
// the log behind it holds.
#include <atomic>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/checkpoint.h"
#include "proto/base/file.h"
#include "site_agent/uplink/federation_client.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

// A log of `size` entries of which it tells different histories.
class LyingCoordinator final : public v1::Federation::Service {
 public:
  grpc::Status Hello(grpc::ServerContext*, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override {
    hello = *request;
    reply->set_protocol_version(1);
    reply->set_federation("testfed");
    reply->set_site("site-a");
    reply->set_log_vkey(signer.verifier().ToString());
    return grpc::Status::OK;
  }
  grpc::Status NextTask(grpc::ServerContext*, const v1::NextTaskRequest*,
                        v1::NextTaskReply* reply) override {
    reply->set_checkpoint_size(1);
    return grpc::Status::OK;
  }
  grpc::Status GetCheckpoint(grpc::ServerContext*, const v1::GetCheckpointRequest*,
                             v1::GetCheckpointReply* reply) override {
    reply->set_checkpoint(privacy::SignCheckpoint(
        {.origin = signer.name(), .size = 1, .root = privacy::LeafHash(history)}, signer));
    return grpc::Status::OK;
  }
  grpc::Status SubmitCosignature(grpc::ServerContext*, const v1::SubmitCosignatureRequest* request,
                                 v1::Acknowledgement*) override {
    ++cosignatures;
    last = *request;
    return grpc::Status::OK;
  }

  privacy::NoteSigner signer = *privacy::NoteSigner::Generate("testfed/audit",
                                                              privacy::kNoteEd25519);
  v1::HelloRequest hello;
  std::string history = "one";
  std::atomic<int> cosignatures{0};
  v1::SubmitCosignatureRequest last;
};

TEST(FederationWitnessTest, CosignsTheLogAndStopsWhenItTellsAnotherHistory) {
  wire::RequireTls13();
  const TempDir folder = *TempDir::Create("federation-witness");
  const TestFederation federation;
  LyingCoordinator service;
  int port = 0;
  const std::unique_ptr<grpc::Server> server =
      federation.Serve(service, wire::PeerCertificate::kRequired, port);
  std::vector<SiteEvent> events;
  const EventRecorder record = [&](const SiteEvent& event) {
    events.push_back(event);
    return absl::OkStatus();
  };
  WitnessClient witness(
      *privacy::Witness::Open(JoinPath(folder.path(), "witness"), "testfed/site-a/witness"),
      Clock::System(), record);
  FederationClient::Options options;
  options.address = absl::StrCat("localhost:", port);
  options.tls = federation.Tls(privacy::Role::kSite, "site-a");
  options.federation = "testfed";
  options.site = "site-a";
  options.witness = &witness;
  FederationClient client(options);

  ASSERT_TRUE(client.Hello().ok());
  EXPECT_THAT(service.hello.capabilities(), testing::Contains("witness"));
  EXPECT_TRUE(privacy::VerifierKey::Parse(service.hello.witness_vkey()).ok());
  EXPECT_FALSE(service.hello.incarnation().empty());
  EXPECT_GT(service.hello.time_unix_ms(), 0);
  EXPECT_EQ(service.hello.witnessed_checkpoint(), "");
  EXPECT_TRUE(client.NextTask(absl::ZeroDuration(), {}).ok());
  EXPECT_TRUE(client.NextTask(absl::ZeroDuration(), {}).ok());
  EXPECT_EQ(service.cosignatures, 1);
  EXPECT_EQ(service.last.size(), 1u);

  service.history = "two";
  ASSERT_TRUE(client.Hello().ok());  // as after a break of the connection
  EXPECT_NE(service.hello.witnessed_checkpoint(), "");
  EXPECT_EQ(client.NextTask(absl::ZeroDuration(), {}).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(client.NextTask(absl::ZeroDuration(), {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(service.cosignatures, 1);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().action, "checkpoint.refuse");
}

}  // namespace
}  // namespace consilium::agent
