// The program against a coordinator that answers over real mutual TLS in this process.
#include "coordinator/cli/cli.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "coordinator/home.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FakeAdmin final : public v1::Admin::Service {
 public:
  grpc::Status InviteSite(grpc::ServerContext*, const v1::InviteSiteRequest* request,
                          v1::InviteSiteReply* reply) override {
    reply->set_site(request->site());
    reply->set_token("secret-token");
    reply->set_expires_unix(1'700'000'000 + request->valid_seconds());
    return grpc::Status::OK;
  }
  grpc::Status ListSites(grpc::ServerContext*, const v1::ListSitesRequest*,
                         v1::ListSitesReply* reply) override {
    for (const char* name : {"amc", "umc"}) {
      v1::Site* site = reply->add_sites();
      site->set_name(name);
      site->set_state("approved");
    }
    return grpc::Status::OK;
  }
  grpc::Status SetSiteState(grpc::ServerContext*, const v1::SetSiteStateRequest* request,
                            v1::Site*) override {
    last_state = *request;
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "this administrator may only read");
  }
  grpc::Status CreateStudy(grpc::ServerContext*, const v1::CreateStudyRequest* request,
                           v1::Study* reply) override {
    if (request->yaml() == "name: good\n") {
      reply->set_name("good");
      reply->add_promises("protection: sealed.");
      reply->add_warnings("privacy: no guarantee.");
      return grpc::Status::OK;
    }
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "line 3: unknown key netwrok");
  }
  grpc::Status GetStudy(grpc::ServerContext*, const v1::GetStudyRequest* request,
                        v1::Study* reply) override {
    reply->set_name(request->name());
    reply->set_yaml("name: h\n");
    return grpc::Status::OK;
  }
  grpc::Status WatchStudy(grpc::ServerContext*, const v1::GetStudyRequest* request,
                          grpc::ServerWriter<v1::Study>* writer) override {
    if (++watches == 1 && break_first_watch) {
      v1::Study study;
      study.set_name(request->name());
      study.set_state("running");
      writer->Write(study);
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down");
    }
    for (const char* state : {"running", "running", end_state.c_str()}) {
      v1::Study study;
      study.set_name(request->name());
      study.set_state(state);
      writer->Write(study);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* reply) override {
    reply->set_version(request->version());
    reply->set_bytes(weights.size());
    reply->set_sha256(privacy::Sha256Hex(announced));
    return grpc::Status::OK;
  }
  grpc::Status ExportModel(grpc::ServerContext*, const v1::GetModelRequest*,
                           grpc::ServerWriter<v1::Chunk>* writer) override {
    for (size_t offset = 0; offset < weights.size(); offset += wire::kChunkBytesMax) {
      writer->Write(
          wire::MakeChunk(offset, absl::string_view(weights).substr(offset, wire::kChunkBytesMax)));
    }
    return grpc::Status::OK;
  }
  grpc::Status ListReleases(grpc::ServerContext*, const v1::ListReleasesRequest*,
                            v1::ListReleasesReply* reply) override {
    *reply->add_releases() = Release();
    return grpc::Status::OK;
  }
  grpc::Status RecordPublication(grpc::ServerContext*, const v1::RecordPublicationRequest* request,
                                 v1::Release* reply) override {
    publications.push_back(*request);
    *reply = Release();
    return grpc::Status::OK;
  }
  grpc::Status SearchAudit(grpc::ServerContext*, const v1::SearchAuditRequest* request,
                           v1::SearchAuditReply* reply) override {
    constexpr uint64_t kEntries = 450;
    for (uint64_t i = request->from_index(); i < kEntries; ++i) {
      if (reply->entries_size() == static_cast<int>(request->count_max())) break;
      v1::AuditEntry* entry = reply->add_entries();
      entry->set_index(i);
      entry->set_json("{}");
    }
    return grpc::Status::OK;
  }

  grpc::Status Rollback(grpc::ServerContext*, const v1::RollbackRequest* request,
                        v1::Model* reply) override {
    last_rollback = *request;
    reply->set_version("h/2");
    return grpc::Status::OK;
  }
  grpc::Status DiffModels(grpc::ServerContext*, const v1::DiffModelsRequest* request,
                          v1::DiffModelsReply* reply) override {
    reply->mutable_a()->set_version(request->a());
    reply->mutable_b()->set_version(request->b());
    v1::TensorDiff* tensor = reply->add_tensors();
    tensor->set_name("conv.weight");
    tensor->add_shape(2);
    tensor->add_shape(3);
    tensor->set_max_abs(0.25);
    reply->add_lineage_differences("origin: round -> import");
    return grpc::Status::OK;
  }
  grpc::Status CollectGarbage(grpc::ServerContext*, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageReply* reply) override {
    reply->add_versions("h/0");
    reply->set_chunks(request->dry_run() ? 60 : 61);
    return grpc::Status::OK;
  }
  grpc::Status ImportModel(grpc::ServerContext*, grpc::ServerReader<v1::ImportModelRequest>* reader,
                           v1::Model* reply) override {
    std::string bytes;
    for (v1::ImportModelRequest message; reader->Read(&message);) bytes += message.chunk().data();
    reply->set_version("h/9");
    reply->set_sha256(privacy::Sha256Hex(bytes));
    return grpc::Status::OK;
  }
  grpc::Status RunDoctor(grpc::ServerContext*, const v1::RunDoctorRequest* request,
                         v1::RunDoctorReply* reply) override {
    if (request->quick()) return grpc::Status::OK;
    v1::Finding* finding = reply->add_findings();
    finding->set_severity("error");
    finding->set_what("chunk abc of h/1 is damaged");
    finding->set_remedy("restore it");
    return grpc::Status::OK;
  }

  v1::Release Release() const {
    v1::Release release;
    release.set_name("h-3");
    release.set_version("h/3");
    release.set_model_sha256(privacy::Sha256Hex(announced));
    release.set_created_unix(1'700'000'000);
    for (const auto& publication : publications) {
      v1::Publication* one = release.add_publications();
      one->set_target(publication.target());
      one->set_manifest_sha256(publication.manifest_sha256());
    }
    return release;
  }

  v1::SetSiteStateRequest last_state;
  v1::RollbackRequest last_rollback;
  std::string end_state = "finished";
  bool break_first_watch = false;
  int watches = 0;
  std::string weights = std::string(2'500'000, 'w');
  std::string announced = weights;
  std::vector<v1::RecordPublicationRequest> publications;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest() : dir_(*TempDir::Create("cli")), home_(JoinPath(dir_.path(), "home")) {
    ::unsetenv("CONSILIUM_HOME");
    CoordinatorOptions options;
    options.federation = "trial";
    EXPECT_TRUE(InitHome(home_, options).ok());
    wire::TlsFiles files = {Read("ca/ca.crt"), Read("server.crt"), Read("server.key")};
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0",
                             wire::ServerTls(files, wire::PeerCertificate::kRequired), &port);
    builder.RegisterService(&admin_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~CliTest() override { server_->Shutdown(); }

  std::string Read(const std::string& name) { return *ReadFile(JoinPath(home_, name), 1 << 20); }
  std::string Path(const std::string& name) { return JoinPath(dir_.path(), name); }

  // Runs the program against the fake coordinator.
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"--coordinator", address_, "--credentials", JoinPath(home_, "admin")});
    return RunBare(std::move(arguments));
  }
  int RunBare(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    const CliSurroundings around = {.out = out_,
                                    .err = err_,
                                    .clock = Clock::System(),
                                    .sleep = [this](absl::Duration time) { slept_ += time; },
                                    .version = "9.9",
                                    .program_folder = Path("bin"),
                                    .terminal_columns = columns_};
    return RunCli(std::move(arguments), around);
  }

  TempDir dir_;
  std::string home_;
  FakeAdmin admin_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::ostringstream out_;
  std::ostringstream err_;
  absl::Duration slept_;
  int columns_ = 0;
};

TEST_F(CliTest, ListInTheThreeFormats) {
  ASSERT_EQ(Run({"site", "list"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("umc   approved  no         never"));
  ASSERT_EQ(Run({"site", "list", "--output", "json"}), 0) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["sites"][1]["name"], "umc");
  ASSERT_EQ(Run({"--output", "jsonl", "site", "list"}), 0) << err_.str();
  const std::string lines = out_.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_TRUE(nlohmann::json::parse(lines.substr(0, lines.find('\n'))).contains("key_sha256"));
}

TEST_F(CliTest, RegistryCommandsSayWhatHappened) {
  ASSERT_EQ(Run({"model", "rollback", "h", "--reason", "worse at umc"}), 0) << err_.str();
  EXPECT_EQ(admin_.last_rollback.reason(), "worse at umc");
  EXPECT_THAT(out_.str(), HasSubstr("h@production is h/2 again."));
  EXPECT_EQ(Run({"model", "rollback", "h"}), 2) << "a reason is part of it";
  ASSERT_EQ(Run({"model", "diff", "h/1", "h@latest"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("conv.weight"));
  EXPECT_THAT(out_.str(), HasSubstr("origin: round -> import"));
  ASSERT_EQ(Run({"model", "gc", "--dry-run"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("h/0 would go\n60 chunks"));
  ASSERT_TRUE(WriteFileAtomic(Path("m.safetensors"), admin_.weights).ok());
  ASSERT_EQ(Run({"model", "import", Path("m.safetensors"), "--study", "h", "--reason", "x"}), 0)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr(privacy::Sha256Hex(admin_.weights)));
}

TEST_F(CliTest, DoctorEndsWithOneWhereThereIsAnErrorAndExaminesTheHomeWhereNobodyAnswers) {
  EXPECT_EQ(Run({"doctor"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("chunk abc of h/1 is damaged"));
  EXPECT_EQ(Run({"doctor", "--quick"}), 0) << err_.str();
  // Nothing listens at the address that `init` wrote; the store was never used.
  EXPECT_EQ(RunBare({"--home", home_, "doctor", "--output", "json"}), 1) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["findings"][0]["severity"], "error");
  EXPECT_EQ(RunBare({"restore", Path("nothing"), "--home", Path("new")}), 2);
}

TEST_F(CliTest, MistakesInTheCommandAreUsage) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"site"},
                                             {"site", "frobnicate"},
                                             {"site", "invite"},
                                             {"--output", "xml", "site", "list"},
                                             {"round", "show", "h", "0"},
                                             {"site", "list"},
                                             {"--coordinator", "x:1", "site", "list"}}) {
    EXPECT_EQ(RunBare(arguments), 2) << out_.str() << err_.str();
    EXPECT_THAT(err_.str(), HasSubstr("consilium: "));
  }
  EXPECT_EQ(Run({"site", "invite", "amc", "--valid", "soon"}), 2);
  EXPECT_EQ(Run({"audit", "search", "--since", "soon"}), 2);
}

TEST_F(CliTest, DeniedAndUnreachableHaveTheirCodes) {
  EXPECT_EQ(Run({"site", "revoke", "amc", "--reason", "key lost"}), 4);
  EXPECT_EQ(err_.str(), "consilium: this administrator may only read\n");
  EXPECT_EQ(admin_.last_state.state(), "revoked");
  EXPECT_EQ(admin_.last_state.reason(), "key lost");
  server_->Shutdown();
  EXPECT_EQ(Run({"site", "list"}), 3);
  EXPECT_THAT(err_.str(), HasSubstr("no coordinator answers at " + address_));
  EXPECT_EQ(RunBare({"--home", Path("nowhere"), "site", "list"}), 3);
}

TEST_F(CliTest, ForeignAuthorityIsNotTrusted) {
  CoordinatorOptions options;
  options.federation = "other";
  ASSERT_TRUE(InitHome(Path("other"), options).ok());
  EXPECT_EQ(
      RunBare({"--coordinator", address_, "--credentials", Path("other/admin"), "site", "list"}),
      3);
}

// Inside a cluster the coordinator has another address than the one its home was made with.
TEST_F(CliTest, HomeReachesItsCoordinatorAtAnotherAddressAndNoOther) {
  EXPECT_EQ(RunBare({"--home", home_, "site", "list"}), 3) << "nobody at the home's own address";
  ASSERT_EQ(RunBare({"--home", home_, "--coordinator", address_, "site", "list"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("umc"));
  ::setenv("CONSILIUM_HOME", home_.c_str(), 1);
  EXPECT_EQ(RunBare({"--coordinator", address_, "site", "list"}), 0) << err_.str();
  ::unsetenv("CONSILIUM_HOME");
  CoordinatorOptions options;
  options.federation = "trial";  // the same name, another CA
  ASSERT_TRUE(InitHome(Path("other"), options).ok());
  EXPECT_EQ(RunBare({"--home", Path("other"), "--coordinator", address_, "site", "list"}), 3);
  // The right CA, but the server's certificate does not have the name that the home knows.
  const std::string endpoint = JoinPath(home_, "admin/endpoint.json");
  nlohmann::json json = nlohmann::json::parse(Read("admin/endpoint.json"));
  json["server_name"] = "elsewhere.example.org";
  ASSERT_TRUE(WriteFileAtomic(endpoint, json.dump()).ok());
  EXPECT_EQ(RunBare({"--home", home_, "--coordinator", address_, "site", "list"}), 3);
}

TEST_F(CliTest, HelpOfEveryCommandHasAnExample) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"init"},
                                             {"site"},
                                             {"site", "invite"},
                                             {"site", "list"},
                                             {"site", "show"},
                                             {"site", "approve"},
                                             {"site", "suspend"},
                                             {"site", "revoke"},
                                             {"study"},
                                             {"study", "create"},
                                             {"study", "list"},
                                             {"study", "show"},
                                             {"study", "start"},
                                             {"study", "pause"},
                                             {"study", "resume"},
                                             {"study", "stop"},
                                             {"study", "plan"},
                                             {"watch"},
                                             {"round", "list"},
                                             {"round", "show"},
                                             {"model", "list"},
                                             {"model", "show"},
                                             {"model", "export"},
                                             {"model", "alias", "set"},
                                             {"release", "create"},
                                             {"release", "list"},
                                             {"release", "show"},
                                             {"release", "publish"},
                                             {"audit", "search"},
                                             {"audit", "show"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("--help");
    EXPECT_EQ(RunBare(arguments), 0);
    EXPECT_THAT(out_.str(), HasSubstr("Example")) << ::testing::PrintToString(command);
  }
}

TEST_F(CliTest, InitMakesAHome) {
  EXPECT_EQ(RunBare({"init", Path("new"), "--name", "trial", "--host", "c.example.org", "--listen",
                     "0.0.0.0:1"}),
            0)
      << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("c.example.org:1"));
  EXPECT_EQ(ReadAdminEndpoint(Path("new/admin"))->server_name, "c.example.org");
  EXPECT_EQ(RunBare({"init", Path("new"), "--name", "trial"}), 2);
  EXPECT_EQ(RunBare({"init", Path("newer"), "--name", "Not A Name"}), 2);
}

TEST_F(CliTest, InvitationGoesToAPrivateFileAndReplacesNothing) {
  const std::string file = Path("amc.json");
  ASSERT_EQ(Run({"site", "invite", "amc", "--out", file, "--valid", "1h"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), Not(HasSubstr("secret-token")));
  EXPECT_EQ(nlohmann::json::parse(*ReadFile(file, 10'000))["token"], "secret-token");
  struct stat info = {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(Run({"site", "invite", "amc", "--out", file}), 2);
}

TEST_F(CliTest, StudyFileMistakeNamesTheFile) {
  std::ofstream(Path("h.yaml")) << "name: h\n";
  EXPECT_EQ(Run({"study", "create", Path("h.yaml")}), 2);
  EXPECT_EQ(err_.str(), "consilium: h.yaml: line 3: unknown key netwrok\n");
  EXPECT_EQ(Run({"study", "show", "h", "--output", "yaml"}), 0) << err_.str();
  EXPECT_EQ(out_.str(), "name: h\n");
  EXPECT_EQ(Run({"study", "show", "h", "--output", "json"}), 0) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["name"], "h");
  EXPECT_EQ(Run({"study", "plan", "h"}), 2);
}

TEST_F(CliTest, CreatedStudySaysWhatItPromises) {
  std::ofstream(Path("good.yaml")) << "name: good\n";
  ASSERT_EQ(Run({"study", "create", Path("good.yaml")}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("consilium study start good\n\nprotection: sealed.\n"
                                    "warning: privacy: no guarantee.\n"));
  ASSERT_EQ(Run({"study", "create", Path("good.yaml"), "--output", "json"}), 0) << err_.str();
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["promises"][0], "protection: sealed.");
  EXPECT_EQ(json["warnings"][0], "privacy: no guarantee.");
}

TEST_F(CliTest, WatchPrintsChangesAndEndsWithTheStudy) {
  EXPECT_EQ(Run({"watch", "h"}), 0) << err_.str();
  const std::string lines = out_.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2) << lines;  // running, finished
  admin_.end_state = "stopped";
  EXPECT_EQ(Run({"watch", "h"}), 1);
  columns_ = 20;
  EXPECT_EQ(Run({"watch", "h"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("\x1b["));
}

TEST_F(CliTest, WatchOutlastsARestartWhenAsked) {
  admin_.break_first_watch = true;
  EXPECT_EQ(Run({"watch", "h"}), 3);
  admin_.watches = 0;
  EXPECT_EQ(Run({"watch", "h", "--until-finished"}), 0) << err_.str();
  EXPECT_EQ(slept_, absl::Seconds(2));
}

TEST_F(CliTest, ExportIsWholeOrNotThere) {
  const std::string file = Path("m.safetensors");
  ASSERT_EQ(Run({"model", "export", "h/3", "--to", file}), 0) << err_.str();
  EXPECT_EQ(*ReadFile(file, 10'000'000), admin_.weights);
  EXPECT_EQ(Run({"model", "export", "h/3", "--to", file}), 0);
  admin_.announced = "something else";
  EXPECT_EQ(Run({"model", "export", "h/3", "--to", file}), 2);
  EXPECT_EQ(Run({"model", "export", "h/3", "--to", Path("n.safetensors")}), 5);
  EXPECT_EQ(Run({"model", "export", "h/3", "--to", Path("n.bin")}), 2);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()),
                          std::filesystem::directory_iterator()),
            2);  // home, m.safetensors
}

TEST_F(CliTest, PublishWritesRecordsOnceAndPrintsHowToRun) {
  ASSERT_TRUE(MakeDirs(Path("bin")).ok());
  EXPECT_EQ(Run({"release", "publish", "h-3", "--to", Path("image")}), 3);
  EXPECT_THAT(err_.str(), HasSubstr("--runtime"));
  std::filesystem::copy_file("/bin/true", Path("bin/consilium-infer"));
  ASSERT_EQ(Run({"release", "publish", "h-3", "--to", Path("image")}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("cd '" + dir_.path() + "' && podman run"));
  EXPECT_THAT(out_.str(), HasSubstr(" oci:image:h-3"));
  ASSERT_EQ(admin_.publications.size(), 1u);
  EXPECT_EQ(admin_.publications[0].target(), "oci-layout");
  EXPECT_THAT(out_.str(), HasSubstr("sha256:" + admin_.publications[0].manifest_sha256()));
  ASSERT_EQ(Run({"release", "publish", "h-3", "--to", Path("image")}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("Already there"));
  EXPECT_EQ(admin_.publications.size(), 1u);
  EXPECT_EQ(Run({"release", "publish", "h-3", "--to", Path("a:b")}), 2);
  EXPECT_EQ(Run({"release", "publish", "h-3", "--to", home_}), 2);
}

TEST_F(CliTest, AuditSearchReadsPageAfterPage) {
  ASSERT_EQ(Run({"audit", "search", "--output", "jsonl"}), 0) << err_.str();
  const std::string lines = out_.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 450);
  ASSERT_EQ(Run({"audit", "search", "--limit", "3", "--output", "jsonl"}), 0) << err_.str();
  const std::string few = out_.str();
  EXPECT_EQ(std::count(few.begin(), few.end(), '\n'), 3);
  EXPECT_EQ(Run({"audit", "show", "449"}), 0);
  EXPECT_EQ(Run({"audit", "show", "450"}), 3);
}

}  // namespace
}  // namespace consilium::coordinator
