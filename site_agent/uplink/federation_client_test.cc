#include "site_agent/uplink/federation_client.h"

#include <atomic>
#include <map>
#include <thread>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/uplink/convert.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

constexpr size_t kMiB = 1024 * 1024;

std::string SomeBytes(size_t count) {
  std::string bytes(count, '\0');
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

// A coordinator that holds one model and takes uploads, and cuts streams where a test says so.
class FakeCoordinator final : public v1::Federation::Service {
 public:
  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest*,
                     v1::HelloReply* reply) override {
    reply->set_protocol_version(protocol_version);
    reply->set_federation("testfed");
    const auto names = context->auth_context()->GetPeerIdentity();
    saw_client_certificate = !names.empty();
    reply->set_site("site-a");
    return grpc::Status::OK;
  }
  grpc::Status NextTask(grpc::ServerContext* context, const v1::NextTaskRequest* request,
                        v1::NextTaskReply* reply) override {
    spooled.assign(request->spooled_task_ids().begin(), request->spooled_task_ids().end());
    if (!spooled.empty()) reply->add_ended_task_ids(spooled.front());
    asked = true;
    while (hold && !context->IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return grpc::Status::OK;
  }
  grpc::Status DownloadModel(grpc::ServerContext*, const v1::DownloadModelRequest* request,
                             grpc::ServerWriter<v1::Chunk>* writer) override {
    offsets.push_back(request->offset());
    for (uint64_t at = request->offset(); at < model.size(); at += kMiB / 2) {
      if (cut_downloads > 0 && at >= request->offset() + kMiB) {
        --cut_downloads;
        return {grpc::StatusCode::UNAVAILABLE, "cut"};
      }
      v1::Chunk chunk = wire::MakeChunk(at, absl::string_view(model).substr(at, kMiB / 2));
      if (damage) (*chunk.mutable_data())[0] ^= 1;
      if (!writer->Write(chunk)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status BeginUpload(grpc::ServerContext*, const v1::BeginUploadRequest* request,
                           v1::BeginUploadReply* reply) override {
    reply->set_upload_id("u-" + request->task_id());
    reply->set_have_offset(received.size());
    offsets.push_back(received.size());
    return grpc::Status::OK;
  }
  grpc::Status UploadChunks(grpc::ServerContext*, grpc::ServerReader<v1::UploadChunk>* reader,
                            v1::UploadChunksReply* reply) override {
    size_t taken = 0;
    for (v1::UploadChunk chunk; reader->Read(&chunk); ++taken) {
      if (cut_uploads > 0 && taken == 2 * kMiB / wire::kTransferPieceBytes) {
        --cut_uploads;
        return {grpc::StatusCode::UNAVAILABLE, "cut"};
      }
      const absl::Status good = wire::CheckChunk(chunk.chunk(), received.size(), 100 * kMiB);
      if (!good.ok()) return wire::ToGrpc(good);
      received += chunk.chunk().data();
    }
    reply->set_have_offset(received.size());
    return grpc::Status::OK;
  }
  grpc::Status CommitUpload(grpc::ServerContext*, const v1::CommitUploadRequest*,
                            v1::CommitUploadReply* reply) override {
    ++commits;
    reply->set_accepted(accept);
    if (!accept) reply->set_reason("not finite");
    return grpc::Status::OK;
  }
  grpc::Status ReportProgress(grpc::ServerContext*, const v1::ProgressReport*,
                              v1::ProgressReply*) override {
    return {grpc::StatusCode::FAILED_PRECONDITION, "round 3 is over"};
  }

  grpc::Status AgreeKeys(grpc::ServerContext*, const v1::AgreeKeysRequest* request,
                         v1::AgreeKeysReply* reply) override {
    said.push_back(request->SerializeAsString());
    *reply = agreement;
    return grpc::Status::OK;
  }
  grpc::Status SubmitConsent(grpc::ServerContext*, const v1::ConsentReport* request,
                             v1::Acknowledgement*) override {
    said.push_back(request->SerializeAsString());
    return grpc::Status::OK;
  }
  grpc::Status SubmitReveal(grpc::ServerContext*, const v1::RevealReport* request,
                            v1::Acknowledgement*) override {
    said.push_back(request->SerializeAsString());
    return {grpc::StatusCode::FAILED_PRECONDITION, "the sum is open"};
  }

  uint32_t protocol_version = 1;
  v1::AgreeKeysReply agreement;
  std::vector<std::string> said;
  std::atomic<bool> saw_client_certificate{false};
  std::atomic<bool> hold{false};
  std::atomic<bool> asked{false};
  std::vector<std::string> spooled;
  std::string model;
  int cut_downloads = 0;
  bool damage = false;
  std::string received;
  int cut_uploads = 0;
  int commits = 0;
  bool accept = true;
  std::vector<uint64_t> offsets;  // that were asked for or offered
};

class FederationClientTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { wire::RequireTls13(); }
  FederationClientTest() : folder_(*TempDir::Create("client")) {
    server_ = federation_.Serve(service_, wire::PeerCertificate::kRequired, port_);
    client_ = std::make_unique<FederationClient>(Options());
    path_ = JoinPath(folder_.path(), "model");
  }
  FederationClient::Options Options() const {
    FederationClient::Options options;
    options.address = absl::StrCat("localhost:", port_);
    options.tls = federation_.Tls(privacy::Role::kSite, "site-a");
    options.federation = "testfed";
    options.site = "site-a";
    options.software_version = "test";
    options.call_timeout = absl::Seconds(5);
    return options;
  }
  ModelRef PlaceModel(size_t bytes) {
    service_.model = SomeBytes(bytes);
    return {"hippo/1", privacy::Sha256Hex(service_.model), bytes};
  }
  UpdateOffer PlaceUpdate(size_t bytes) {
    const std::string data = SomeBytes(bytes);
    EXPECT_TRUE(WriteFileAtomic(path_, data).ok());
    UpdateOffer offer;
    offer.bytes = bytes;
    offer.sha256 = privacy::Sha256Hex(data);
    return offer;
  }

  TestFederation federation_;
  FakeCoordinator service_;
  TempDir folder_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<FederationClient> client_;
  std::string path_;
  const TaskKey task_ = {"t1", TaskKind::kTrain, "hippo", 1};
};

TEST_F(FederationClientTest, HelloOverMutualTls) {
  EXPECT_TRUE(client_->Hello().ok()) << client_->Hello();
  EXPECT_TRUE(service_.saw_client_certificate);
}

TEST_F(FederationClientTest, SecureAggregationsCallsArriveAndTheirAnswersAreChecked) {
  const SiteKeys keys = {{.site = "site-a",
                          .certificate_pem = "pem",
                          .certificate_fingerprint = "",
                          .identity_key = "i",
                          .mask_key = "m",
                          .box_key = "b",
                          .signature = "s"},
                         "binding"};
  service_.agreement.set_stage(v1::AgreeKeysReply::OUT);
  service_.agreement.set_reason("late");
  const auto reply = client_->AgreeKeys("t1", keys, nullptr);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->stage, AgreementStage::kOut);
  EXPECT_EQ(service_.said.back(), ToMessage("t1", keys, nullptr).SerializeAsString());
  service_.agreement.set_stage(v1::AgreeKeysReply::STAGE_UNSPECIFIED);
  EXPECT_TRUE(absl::IsInvalidArgument(client_->AgreeKeys("t1", keys, nullptr).status()));

  const ConsentResult consent = {{"site-a", "\7", "signature"}};
  EXPECT_TRUE(client_->SubmitConsent("t2", consent).ok());
  EXPECT_EQ(service_.said.back(), ToMessage("t2", consent).SerializeAsString());
  const RevealResult reveal = {{{"site-b", RevealedShare::Secret::kMaskKey, "share"}}};
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->SubmitReveal("t3", reveal)));
  EXPECT_EQ(service_.said.back(), ToMessage("t3", reveal).SerializeAsString());
}

TEST_F(FederationClientTest, OtherProtocolVersionIsRefused) {
  service_.protocol_version = 2;
  EXPECT_EQ(client_->Hello().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(FederationClientTest, CoordinatorThatTakesUsForAnotherIsRefused) {
  auto options = Options();
  options.site = "site-b";
  EXPECT_EQ(FederationClient(options).Hello().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(FederationClientTest, CoordinatorOfAnotherCaIsNotSpokenTo) {
  auto options = Options();
  options.tls = TestFederation().Tls(privacy::Role::kSite, "site-a");
  EXPECT_TRUE(absl::IsUnavailable(FederationClient(options).Hello()));
}

TEST_F(FederationClientTest, NextTaskNamesWhatIsSpooledAndHearsWhatHasEnded) {
  const auto answer = client_->NextTask(absl::ZeroDuration(), {"a", "b"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->task.has_value());
  EXPECT_EQ(answer->ended_task_ids, std::vector<std::string>{"a"});
  EXPECT_EQ(service_.spooled, (std::vector<std::string>{"a", "b"}));
}

TEST_F(FederationClientTest, CancelEndsAQuestionThatIsHeld) {
  service_.hold = true;
  std::thread stopper([&] {
    while (!service_.asked) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    client_->Cancel();
  });
  EXPECT_TRUE(absl::IsCancelled(client_->NextTask(absl::Seconds(60), {}).status()));
  stopper.join();
  EXPECT_TRUE(absl::IsCancelled(client_->Hello())) << "and all that come";
}

TEST_F(FederationClientTest, DownloadIsWholeAndChecked) {
  const ModelRef model = PlaceModel(3 * kMiB + 5);
  uint64_t seen = 0;
  const absl::Status done =
      client_->DownloadModel(model, path_, [&](uint64_t at, uint64_t) { seen = at; });
  ASSERT_TRUE(done.ok()) << done;
  EXPECT_EQ(*privacy::Sha256HexOfFile(path_), model.sha256);
  EXPECT_EQ(seen, model.bytes);
  EXPECT_FALSE(PathExists(path_ + ".partial"));
}

TEST_F(FederationClientTest, CutDownloadGoesOnWhereItWas) {
  const ModelRef model = PlaceModel(3 * kMiB + 5);
  service_.cut_downloads = 2;
  EXPECT_TRUE(absl::IsUnavailable(client_->DownloadModel(model, path_, {})));
  // The agent restarts in between: only the file knows.
  client_ = std::make_unique<FederationClient>(Options());
  EXPECT_TRUE(absl::IsUnavailable(client_->DownloadModel(model, path_, {})));
  ASSERT_TRUE(client_->DownloadModel(model, path_, {}).ok());
  EXPECT_EQ(service_.offsets, (std::vector<uint64_t>{0, kMiB, 2 * kMiB}));
  EXPECT_EQ(*privacy::Sha256HexOfFile(path_), model.sha256);
}

TEST_F(FederationClientTest, DamagedChunkIsRefused) {
  const ModelRef model = PlaceModel(kMiB);
  service_.damage = true;
  EXPECT_TRUE(absl::IsInvalidArgument(client_->DownloadModel(model, path_, {})));
  EXPECT_FALSE(PathExists(path_));
  service_.damage = false;
  EXPECT_TRUE(client_->DownloadModel(model, path_, {}).ok());
}

TEST_F(FederationClientTest, OtherBytesThanTheDigestAreThrownAway) {
  ModelRef model = PlaceModel(kMiB);
  model.sha256 = std::string(64, '0');
  EXPECT_TRUE(absl::IsDataLoss(client_->DownloadModel(model, path_, {})));
  EXPECT_FALSE(PathExists(path_));
  EXPECT_FALSE(PathExists(path_ + ".partial"));
}

TEST_F(FederationClientTest, ServerThatSendsMoreThanAnnouncedIsStopped) {
  ModelRef model = PlaceModel(2 * kMiB);
  model.bytes = kMiB + 1;
  EXPECT_FALSE(client_->DownloadModel(model, path_, {}).ok());
  EXPECT_LE(*FileBytes(path_ + ".partial"), model.bytes);
}

TEST_F(FederationClientTest, UploadIsWhole) {
  const UpdateOffer offer = PlaceUpdate(2 * kMiB + 3);
  const auto outcome = client_->Upload(task_, offer, path_, {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_TRUE(outcome->accepted);
  EXPECT_EQ(privacy::Sha256Hex(service_.received), offer.sha256);
}

TEST_F(FederationClientTest, CutUploadGoesOnWhereTheCoordinatorIs) {
  const UpdateOffer offer = PlaceUpdate(5 * kMiB);
  service_.cut_uploads = 2;
  EXPECT_TRUE(absl::IsUnavailable(client_->Upload(task_, offer, path_, {}).status()));
  client_ = std::make_unique<FederationClient>(Options());
  EXPECT_TRUE(absl::IsUnavailable(client_->Upload(task_, offer, path_, {}).status()));
  const auto outcome = client_->Upload(task_, offer, path_, {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(service_.offsets, (std::vector<uint64_t>{0, 2 * kMiB, 4 * kMiB}));
  EXPECT_EQ(privacy::Sha256Hex(service_.received), offer.sha256);
  EXPECT_EQ(service_.commits, 1);
}

TEST_F(FederationClientTest, UploadThatIsCompleteIsOnlyCommitted) {
  const UpdateOffer offer = PlaceUpdate(kMiB);
  ASSERT_TRUE(client_->Upload(task_, offer, path_, {}).ok());
  ASSERT_TRUE(client_->Upload(task_, offer, path_, {}).ok());
  EXPECT_EQ(service_.received.size(), kMiB);
  EXPECT_EQ(service_.commits, 2);
}

TEST_F(FederationClientTest, RefusalComesWithItsReason) {
  service_.accept = false;
  const auto outcome = client_->Upload(task_, PlaceUpdate(10), path_, {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_FALSE(outcome->accepted);
  EXPECT_EQ(outcome->reason, "not finite");
}

TEST_F(FederationClientTest, CoordinatorsErrorComesThrough) {
  EXPECT_EQ(client_->ReportProgress({"t1", TaskPhase::kTrain, 1, 2, 0.5}),
            absl::FailedPreconditionError("round 3 is over"));
}

TEST_F(FederationClientTest, CoordinatorThatComesBackIsFoundAgain) {
  ASSERT_TRUE(client_->Hello().ok());
  server_->Shutdown();
  server_.reset();
  EXPECT_TRUE(absl::IsUnavailable(client_->Hello()));
  server_ = federation_.Serve(service_, wire::PeerCertificate::kRequired, port_);
  absl::Status back = absl::UnavailableError("");
  for (int i = 0; i < 100 && !back.ok(); ++i) {
    back = client_->Hello();
    if (!back.ok()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(back.ok()) << back;
}

}  // namespace
}  // namespace consilium::agent
