// The registry's calls over real mutual TLS: lineage, import, diff, rollback, collection.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/upkeep/backup.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A study of two sites with its first weights, between rounds because nobody trains.
class RegistryServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"north", "south"}) sites_.push_back(federation_.AddSite(name));
    federation_.CreateAndStart(TestStudy(2, 3));
    for (auto& site : sites_) {
      ASSERT_TRUE(site->Prepare(site->Await(v1::Task::PREPARE), 10, 10, 2).ok());
    }
    MakeFirstWeights(sites_, 1.0f);
    Eventually([&] { return Version() == "hippo/0"; }, "the first version");
  }
  void RunRound(int round) {
    for (auto& site : sites_) {
      EXPECT_TRUE(site->Train(site->Await(v1::Task::TRAIN), 0.5f, 8).accepted());
    }
    Eventually([&] { return Version() == absl::StrCat("hippo/", round); }, "the round's version");
  }
  std::string Version() { return federation_.Study("hippo").latest_version(); }
  grpc::Status Control(const std::string& action) {
    grpc::ClientContext context;
    v1::ControlStudyRequest request;
    request.set_name("hippo");
    request.set_action(action);
    v1::Study study;
    return federation_.admin().ControlStudy(&context, request, &study);
  }
  grpc::Status Get(const std::string& version, v1::Model& model) {
    grpc::ClientContext context;
    v1::GetModelRequest request;
    request.set_version(version);
    return federation_.admin().GetModel(&context, request, &model);
  }
  std::string FileOf(const wire::TensorMap& map) {
    const std::string path = JoinPath(federation_.folder(), "import.safetensors");
    EXPECT_TRUE(wire::WriteSafetensors(path, map, {{"by", "a test"}}).ok());
    return ReadFile(path, 1 << 20).value();
  }
  grpc::Status Import(const std::string& bytes, v1::Model& model,
                      const std::string& reason = "from the literature") {
    grpc::ClientContext context;
    auto writer = federation_.admin().ImportModel(&context, &model);
    v1::ImportModelRequest message;
    message.set_study("hippo");
    message.set_reason(reason);
    message.set_bytes(bytes.size());
    message.set_sha256(privacy::Sha256Hex(bytes));
    if (writer->Write(message)) {
      v1::ImportModelRequest chunk;
      *chunk.mutable_chunk() = wire::MakeChunk(0, bytes);
      writer->Write(chunk);
    }
    writer->WritesDone();
    return writer->Finish();
  }

  TestFederation federation_;
  std::vector<std::unique_ptr<TestSite>> sites_;
};

TEST_F(RegistryServiceTest, VersionsKnowWhatMadeThem) {
  RunRound(1);
  v1::Model model;
  ASSERT_TRUE(Get("hippo/0", model).ok());
  EXPECT_EQ(model.origin(), "initialise");
  EXPECT_THAT(model.parents(), SizeIs(0));
  ASSERT_TRUE(Get("hippo/1", model).ok());
  EXPECT_EQ(model.origin(), "round");
  EXPECT_THAT(model.parents(), ElementsAre("hippo/0"));
  EXPECT_THAT(model.sites(), ElementsAre("north", "south"));
  EXPECT_FALSE(model.code_version().empty());

  grpc::ClientContext context;
  v1::DiffModelsRequest request;
  request.set_a("hippo/0");
  request.set_b("hippo/1");
  v1::DiffModelsReply diff;
  const grpc::Status status = federation_.admin().DiffModels(&context, request, &diff);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(diff.tensors_size(), 2);
  EXPECT_NEAR(diff.max_abs(), 0.5, 1e-6);
  EXPECT_NEAR(diff.l2(), 0.5 * 3, 1e-5);
  EXPECT_THAT(diff.lineage_differences(), ::testing::Contains("origin: initialise -> round"));
}

TEST_F(RegistryServiceTest, ImportIsRefusedWhileTheStudyRunsAndIsTrainedFromAfterwards) {
  RunRound(1);
  v1::Model model;
  EXPECT_THAT(Import(FileOf(TestMap(7)), model).error_message(), HasSubstr("Pause it"));
  ASSERT_TRUE(Control("stop").ok());
  wire::TensorMap other = TestMap(7);
  other.layout.tensors[0].name = "renamed";
  EXPECT_THAT(Import(FileOf(other), model).error_message(), HasSubstr("tensors"));
  other = TestMap(7);
  other.values[3] = std::nanf("");
  EXPECT_THAT(Import(FileOf(other), model).error_message(), HasSubstr("not finite"));
  EXPECT_THAT(Import("no model at all", model).error_message(), HasSubstr("safetensors"));
  EXPECT_THAT(Import(FileOf(TestMap(7)), model, "").error_message(), HasSubstr("reason"));
  EXPECT_EQ(federation_.Study("hippo").latest_version(), "hippo/1");

  const grpc::Status status = Import(FileOf(TestMap(7)), model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  // The next number after whatever round was opened last.
  EXPECT_GT(model.round(), 1);
  EXPECT_EQ(model.version(), absl::StrCat("hippo/", model.round()));
  EXPECT_EQ(model.origin(), "import");
  EXPECT_THAT(model.parents(), ElementsAre("hippo/1"));
  EXPECT_EQ(Version(), model.version());
  EXPECT_THAT(federation_.Model("hippo@latest").values, Each(7.0f));
  ASSERT_THAT(federation_.Audit("model.import"), SizeIs(1));
  EXPECT_THAT(federation_.Audit("model.import")[0],
              HasSubstr(privacy::Sha256Hex(FileOf(TestMap(7)))));
  // A restart finds it as it was.
  federation_.Stop();
  federation_.Start();
  EXPECT_EQ(Version(), model.version());
  EXPECT_THAT(federation_.Model(model.version()).values, Each(7.0f));
  EXPECT_TRUE(std::filesystem::is_empty(JoinPath(federation_.home(), "chunks/incoming")));
}

TEST_F(RegistryServiceTest, DamagedChunkIsDataLossAndACollectionReportsNothingToDo) {
  grpc::ClientContext context;
  v1::CollectGarbageRequest request;
  v1::CollectGarbageReply reply;
  ASSERT_TRUE(federation_.admin().CollectGarbage(&context, request, &reply).ok());
  EXPECT_EQ(reply.versions_size(), 0);
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(JoinPath(federation_.home(), "chunks"))) {
    if (!entry.is_regular_file()) continue;
    auto file = File::Open(entry.path().string(), File::Mode::kReadWriteCreate);
    ASSERT_TRUE(file->WriteAt(100, "XX").ok());
  }
  grpc::ClientContext diff_context;
  v1::DiffModelsRequest diff;
  diff.set_a("hippo/0");
  diff.set_b("hippo@latest");
  v1::DiffModelsReply diff_reply;
  EXPECT_EQ(federation_.admin().DiffModels(&diff_context, diff, &diff_reply).error_code(),
            grpc::StatusCode::DATA_LOSS);
}

TEST_F(RegistryServiceTest, HomeRestoredFromABackupGoesOnWithTheStudy) {
  RunRound(1);
  const std::string backups = JoinPath(federation_.folder(), "backups");
  const std::string restored = JoinPath(federation_.folder(), "restored");
  {
    grpc::ClientContext context;
    v1::CreateBackupRequest request;
    request.set_folder(backups);
    v1::CreateBackupReply reply;
    const grpc::Status status = federation_.admin().CreateBackup(&context, request, &reply);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(reply.chunks(), 2u);
    EXPECT_GT(reply.audit_size(), 0u);
  }
  federation_.Stop();
  const auto report = RestoreBackup(backups, restored);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto options = ReadCoordinatorOptions(restored);
  ASSERT_TRUE(options.ok()) << options.status();
  auto server = CoordinatorServer::Start(restored, *options, Clock::System());
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string address = absl::StrCat("127.0.0.1:", (*server)->federation_port());
  const auto admin =
      v1::Admin::NewStub(wire::ConnectTls(address, federation_.admin_tls(), "localhost"));
  for (auto& site : sites_) site->Connect(address);
  for (auto& site : sites_) {
    const v1::Task task = site->Await(v1::Task::TRAIN);
    EXPECT_EQ(task.round(), 2);
    EXPECT_TRUE(site->Download(task.model().sha256(), 0).ok());
    EXPECT_TRUE(site->Train(task, 0.5f, 8).accepted());
  }
  Eventually(
      [&] {
        grpc::ClientContext context;
        v1::GetModelRequest request;
        request.set_version("hippo/2");
        v1::Model model;
        return admin->GetModel(&context, request, &model).ok();
      },
      "the restored coordinator's next version");
  grpc::ClientContext context;
  v1::RunDoctorReply reply;
  ASSERT_TRUE(admin->RunDoctor(&context, v1::RunDoctorRequest(), &reply).ok());
  for (const v1::Finding& finding : reply.findings()) {
    EXPECT_EQ(finding.severity(), "warning") << finding.what();
  }
  EXPECT_GE(reply.chunks_checked(), 3u);
}

}  // namespace
}  // namespace consilium::coordinator
