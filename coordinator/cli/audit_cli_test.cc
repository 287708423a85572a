// `consilium audit` against a coordinator in this process that keeps a signed log, honestly or not.
#include <filesystem>
#include <sstream>

#include "coordinator/cli/cli.h"
#include "coordinator/home.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/proof.h"
#include "proto/base/file.h"
#include "proto/wire/transport.h"
#include "tests/support/signed_log.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using testing::SignedLog;

class FakeAuditAdmin final : public v1::Admin::Service {
 public:
  grpc::Status GetAuditCheckpoint(grpc::ServerContext*, const v1::GetAuditCheckpointRequest*,
                                  v1::GetAuditCheckpointReply* reply) override {
    reply->set_checkpoint(log->Checkpoint());
    reply->set_policy(policy);
    reply->set_size(log->size());
    return grpc::Status::OK;
  }
  grpc::Status ProveAudit(grpc::ServerContext*, const v1::ProveAuditRequest* request,
                          v1::ProveAuditReply* reply) override {
    if (request->index() >= log->size()) {
      return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "no such entry yet");
    }
    reply->set_entry(log->entries()[request->index()]);
    reply->set_proof(privacy::EncodeLogProof(
        {.extra = "",
         .index = request->index(),
         .hashes = *privacy::InclusionProof(request->index(), log->size(), log->Nodes()),
         .checkpoint = log->Checkpoint()}));
    return grpc::Status::OK;
  }
  grpc::Status ExportAudit(grpc::ServerContext*, const v1::ExportAuditRequest* request,
                           grpc::ServerWriter<v1::ExportAuditPiece>* writer) override {
    last_export = *request;
    const uint64_t to = request->to_index() == 0 ? log->size() : request->to_index();
    const std::string& study = request->filter().study();
    std::string text = log->Export(request->from_index(), to, study,
                                   [&](uint64_t i) { return study.empty() || i % 3 == 0; });
    if (!alter.empty()) text.replace(text.find(alter), alter.size(), std::string(alter.size(), 'x'));
    for (size_t at = 0; at < text.size(); at += 1000) {
      v1::ExportAuditPiece piece;
      piece.set_data(text.substr(at, 1000));
      writer->Write(piece);
    }
    return break_export ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down")
                        : grpc::Status::OK;
  }
  grpc::Status EraseAuditName(grpc::ServerContext*, const v1::EraseAuditNameRequest* request,
                              v1::EraseAuditNameReply* reply) override {
    last_erase = *request;
    reply->set_erased(4);
    return grpc::Status::OK;
  }

  std::unique_ptr<SignedLog> log = std::make_unique<SignedLog>();
  std::string policy = log->Policy(2);
  std::string alter;
  bool break_export = false;
  v1::ExportAuditRequest last_export;
  v1::EraseAuditNameRequest last_erase;
};

class AuditCliTest : public ::testing::Test {
 protected:
  AuditCliTest() : dir_(*TempDir::Create("audit-cli")), home_(Path("home")) {
    ::unsetenv("CONSILIUM_HOME");
    CoordinatorOptions options;
    options.federation = "trial";
    EXPECT_TRUE(InitHome(home_, options).ok());
    wire::TlsFiles files = {*ReadFile(JoinPath(home_, "ca/ca.crt"), 1 << 20),
                            *ReadFile(JoinPath(home_, "server.crt"), 1 << 20),
                            *ReadFile(JoinPath(home_, "server.key"), 1 << 20)};
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0",
                             wire::ServerTls(files, wire::PeerCertificate::kRequired), &port);
    builder.RegisterService(&admin_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    admin_.log->Fill(300);
  }
  ~AuditCliTest() override { server_->Shutdown(); }

  std::string Path(const std::string& name) { return JoinPath(dir_.path(), name); }
  std::string Pinned(const std::string& name) { return JoinPath(home_, "admin/" + name); }
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--coordinator", address_, "--credentials",
                                         JoinPath(home_, "admin"), "audit"});
    out_.str("");
    err_.str("");
    const CliSurroundings around = {.out = out_,
                                    .err = err_,
                                    .clock = Clock::System(),
                                    .sleep = [](absl::Duration) {},
                                    .version = "9.9",
                                    .program_folder = Path("bin"),
                                    .terminal_columns = 0};
    return RunCli(std::move(arguments), around);
  }

  TempDir dir_;
  std::string home_;
  FakeAuditAdmin admin_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(AuditCliTest, VerifyPinsThePolicyAndKeepsTheCheckpoint) {
  ASSERT_EQ(Run({"verify"}), 0) << out_.str() << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("Pinned the policy"));
  EXPECT_EQ(*ReadFile(Pinned("audit.policy"), 1 << 20), admin_.policy);
  EXPECT_EQ(*ReadFile(Pinned("audit.checkpoint"), 1 << 20), admin_.log->Checkpoint());
  admin_.log->Fill(500);
  ASSERT_EQ(Run({"verify", "--output", "json"}), 0) << out_.str() << err_.str();
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["shown"], 500);
  EXPECT_THAT(json["consistency"].get<std::string>(), HasSubstr("checkpoint of 300"));
}

TEST_F(AuditCliTest, AlteredEntryIsNamedAndTheCheckpointNotKept) {
  admin_.alter = "round.commit";
  EXPECT_EQ(Run({"verify"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("first bad entry 0"));
  EXPECT_FALSE(PathExists(Pinned("audit.checkpoint")));
}

TEST_F(AuditCliTest, RolledBackAndForkedLogsAreFoundByTheKeptCheckpoint) {
  ASSERT_EQ(Run({"verify"}), 0) << err_.str();
  auto shorter = std::make_unique<SignedLog>();
  shorter->Fill(250);
  admin_.log = std::move(shorter);
  EXPECT_EQ(Run({"verify"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("first bad entry 250"));
  admin_.log->AddEvent("something.else", 1'800'000'000'000'000);
  admin_.log->Fill(300);
  EXPECT_EQ(Run({"verify"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("FORK"));
}

TEST_F(AuditCliTest, ChangedPolicyIsShownAndNeedsAYes) {
  ASSERT_EQ(Run({"verify"}), 0) << err_.str();
  admin_.policy = admin_.log->Policy(3);
  EXPECT_EQ(Run({"verify"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("- group sites 2 w0 w1 w2\n+ group sites 3 w0 w1 w2\n"));
  EXPECT_THAT(err_.str(), HasSubstr("--accept-policy"));
  EXPECT_EQ(Run({"verify", "--accept-policy"}), 0) << err_.str();
  EXPECT_EQ(Run({"verify"}), 0) << err_.str();
}

TEST_F(AuditCliTest, ExportWritesAFileThatVerifies) {
  ASSERT_EQ(Run({"export", "--from", "100", "--to", "200", "--to", Path("a.jsonl"), "--study", "h"}),
            0)
      << out_.str() << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("33 of 100 shown, 67 withheld"));
  EXPECT_EQ(admin_.last_export.from_index(), 100u);
  EXPECT_EQ(admin_.last_export.to_index(), 200u);
  EXPECT_EQ(*ReadFile(Path("a.jsonl"), 1 << 20),
            admin_.log->Export(100, 200, "h", [](uint64_t i) { return i % 3 == 0; }));
  EXPECT_EQ(Run({"export", "--to", Path("a.jsonl")}), 2);  // nothing is overwritten
}

TEST_F(AuditCliTest, TablesAreMadeFromAJsonlBesideThem) {
  for (const std::string suffix : {"csv", "pdf"}) {
    ASSERT_EQ(Run({"export", "--disclose", "--to", Path("a." + suffix)}), 0) << err_.str();
    EXPECT_TRUE(PathExists(Path("a." + suffix)));
    EXPECT_TRUE(PathExists(Path("a." + suffix + ".jsonl")));
    EXPECT_TRUE(admin_.last_export.disclose());
  }
  EXPECT_EQ(Run({"export", "--to", Path("a.xls")}), 2);
  EXPECT_EQ(Run({"export", "--from", "9", "--to", "9", "--to", Path("b.csv")}), 2);
}

TEST_F(AuditCliTest, BrokenExportLeavesNoFile) {
  admin_.break_export = true;
  EXPECT_EQ(Run({"export", "--to", Path("a.jsonl")}), 3);
  for (const auto& file : std::filesystem::directory_iterator(dir_.path())) {
    EXPECT_EQ(file.path().filename(), "home");
  }
}

TEST_F(AuditCliTest, AlteredExportIsKeptAsEvidenceAndFails) {
  admin_.alter = "round.commit";
  EXPECT_EQ(Run({"export", "--to", Path("a.jsonl")}), 1);
  EXPECT_TRUE(PathExists(Path("a.jsonl")));
}

TEST_F(AuditCliTest, ProofHoldsTheEntry) {
  ASSERT_EQ(Run({"prove", "17", "--to", Path("p.tlog-proof")}), 0) << err_.str();
  const auto proof = privacy::ParseLogProof(*ReadFile(Path("p.tlog-proof"), 1 << 20));
  ASSERT_TRUE(proof.ok());
  EXPECT_EQ(proof->extra, admin_.log->entries()[17]);
  EXPECT_EQ(Run({"prove", "300", "--to", Path("q.tlog-proof")}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("no such entry"));
}

TEST_F(AuditCliTest, CheckpointIsShownAndKept) {
  ASSERT_EQ(Run({"checkpoint", "--to", Path("c")}), 0) << err_.str();
  EXPECT_EQ(*ReadFile(Path("c"), 1 << 20), admin_.log->Checkpoint());
  EXPECT_THAT(out_.str(), HasSubstr("300 entries"));
}

TEST_F(AuditCliTest, EraseNeedsAYes) {
  EXPECT_EQ(Run({"erase", "alice", "--reason", "asked"}), 2);
  EXPECT_EQ(admin_.last_erase.name(), "");
  ASSERT_EQ(Run({"erase", "alice", "--reason", "asked", "--yes"}), 0) << err_.str();
  EXPECT_EQ(admin_.last_erase.name(), "alice");
  EXPECT_THAT(out_.str(), HasSubstr("Erased in 4 places"));
}

}  // namespace
}  // namespace consilium::coordinator
