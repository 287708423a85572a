#include "site_agent/receive/stow.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/deid/dicom_scan.h"
#include "proto/base/file.h"
#include "site_agent/dicomweb/test_certificates.h"
#include "site_agent/dicomweb/test_web_server.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/test_archive.h"
#include "site_agent/receive/intake_feed.h"
#include "site_agent/receive/listener.h"
#include "site_agent/receive/test_orthanc.h"
#include "site_agent/receive/test_peer.h"

namespace consilium::agent {
namespace {

using dicomweb::TestMultipart;
using ::testing::HasSubstr;

constexpr const char* kToken = "a-token-that-is-long-enough";

struct Answered {
  int status = 0;
  nlohmann::json body;
  std::string output;
};

class StowTest : public ::testing::Test {
 protected:
  StowTest() : dir_(TempDir::Create("stow_test").value()) {
    (void)MakeDirs(Path("tls"));
    dicomweb::WriteCertificates(Path("tls"));
    config_.listen.address = "127.0.0.1";
    config_.listen.port = 0;
    config_.listen.web = DicomWebListen{0, ""};
    config_.tls = {Path("tls/server.crt"), Path("tls/server.key"), Path("tls/ca.crt")};
    config_.quarantine.free_bytes_min = 0;
    DicomPeer gateway;
    gateway.name = "gateway";
    gateway.host = "127.0.0.1";
    config_.peers = {gateway};
    images_ = WriteSeries(Path("one"));
  }
  void SetUp() override {
    if (!HasProgram("curl")) GTEST_SKIP() << "Debian's package curl is not installed";
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  static std::string Bytes(const std::string& path) { return ReadFile(path, 1 << 26).value(); }
  std::vector<std::string> Waiting() const {
    return FilesBelowFolder(Path("home/quarantine/patients"));
  }

  void Start() {
    listener_.reset();
    quarantine_.reset();
    quarantine_.emplace(Quarantine::Open(Path("home"), config_.quarantine).value());
    auto listener = Listener::Start(config_, *quarantine_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_.emplace(*std::move(listener));
  }
  std::string Url(const std::string& path) const {
    return absl::StrCat("https://127.0.0.1:", listener_->web_port(), path);
  }

  Answered Curl(const std::string& path, const std::vector<std::string>& more) const {
    std::vector<std::string> command = {"curl",           "-sS",      "--max-time",      "30", "-w",
                                        "\n%{http_code}", "--cacert", Path("tls/ca.crt")};
    if (with_certificate_) {
      command.insert(command.end(),
                     {"--cert", Path("tls/client.crt"), "--key", Path("tls/client.key")});
    }
    command.insert(command.end(), more.begin(), more.end());
    command.push_back(Url(path));
    Answered answered;
    answered.output = RunProgram(command).output;
    const size_t line = answered.output.rfind('\n');
    if (line == std::string::npos) return answered;
    answered.status = std::atoi(answered.output.c_str() + line + 1);
    answered.body = nlohmann::json::parse(answered.output.substr(0, line), nullptr, false);
    return answered;
  }
  Answered Post(const std::string& path, const std::string& body,
                const std::vector<std::string>& more = {},
                const std::string& type = dicomweb::kTestMultipart) const {
    EXPECT_TRUE(WriteFileAtomic(Path("body"), body).ok());
    std::vector<std::string> command = {"-H",
                                        "Content-Type: " + type,
                                        "-H",
                                        "Accept: application/dicom+json",
                                        "--data-binary",
                                        "@" + Path("body")};
    command.insert(command.end(), more.begin(), more.end());
    return Curl(path, command);
  }
  std::vector<std::string> Objects() const {
    std::vector<std::string> objects;
    for (const std::string& path : images_) objects.push_back(Bytes(path));
    return objects;
  }

  static size_t Items(const nlohmann::json& body, const char* tag) {
    return body.is_object() && body.contains(tag) ? body[tag]["Value"].size() : 0;
  }
  static int Reason(const nlohmann::json& item) { return item["00081197"]["Value"][0]; }
  static constexpr const char* kFailed = "00081198";
  static constexpr const char* kStored = "00081199";
  static constexpr const char* kOther = "0008119A";

  TempDir dir_;
  DicomConfig config_;
  bool with_certificate_ = true;
  std::vector<std::string> images_;
  std::optional<Quarantine> quarantine_;
  std::optional<Listener> listener_;
};

TEST_F(StowTest, WhatIsStoredIsKeptByteForByteAndBecomesACase) {
  WriteLabel(images_, Path("one"));
  images_ = FilesBelowFolder(Path("one"));
  Start();
  const Answered answered = Post("/studies", TestMultipart(Objects()));
  EXPECT_EQ(answered.status, 200) << answered.output;
  ASSERT_EQ(Items(answered.body, kStored), 7u) << answered.output;
  EXPECT_EQ(Items(answered.body, kFailed), 0u);
  const auto header = imaging::ReadDicomHeader(images_[0]);
  bool told = false;
  for (const auto& item : answered.body[kStored]["Value"]) {
    told = told || (item["00081155"]["Value"][0] == header->sop_instance_uid &&
                    item["00081150"]["Value"][0] == header->sop_class_uid);
  }
  EXPECT_TRUE(told);
  std::vector<std::string> came, went = Objects();
  for (const std::string& path : Waiting()) came.push_back(Bytes(path));
  EXPECT_THAT(came, ::testing::UnorderedElementsAreArray(went));
  const auto sink = [](const PatientOutcome&) { return absl::OkStatus(); };
  ASSERT_TRUE(TakeSettled(Path("home"), *quarantine_, absl::InfiniteFuture(), sink, nullptr).ok());
  EXPECT_EQ(LoadCatalog(Path("home"))->cases.size(), 1u);
  EXPECT_EQ(quarantine_->bytes_used(), 0u);
}

TEST_F(StowTest, TheStudyOfThePathHasToBeTheObjects) {
  const auto other = WriteOtherPatient(Path("two"));
  Start();
  EXPECT_EQ(Post("/studies/2.25.11", TestMultipart(Objects())).status, 200);
  std::vector<std::string> mixed = Objects();
  mixed[1] = Bytes(other[0]);
  Answered answered = Post("/studies/2.25.11", TestMultipart(mixed));
  EXPECT_EQ(answered.status, 202) << answered.output;
  ASSERT_EQ(Items(answered.body, kFailed), 1u);
  EXPECT_EQ(Reason(answered.body[kFailed]["Value"][0]), 0xA900);
  EXPECT_EQ(Items(answered.body, kStored), 5u);
  answered = Post("/studies/1.2.3", TestMultipart(Objects()));
  EXPECT_EQ(answered.status, 409);
  EXPECT_EQ(Items(answered.body, kFailed), 6u);
}

TEST_F(StowTest, WhatIsBrokenOrHostileIsToldAndNotKept) {
  Start();
  std::vector<std::string> objects = {Bytes(images_[0]).substr(0, 300), "call Okafor",
                                      Bytes(images_[2])};
  Answered answered = Post("/studies", TestMultipart(objects));
  EXPECT_EQ(answered.status, 202) << answered.output;
  ASSERT_EQ(Items(answered.body, kOther), 2u);
  EXPECT_EQ(Reason(answered.body[kOther]["Value"][0]), 0xC000);
  EXPECT_EQ(Items(answered.body, kStored), 1u);
  EXPECT_EQ(Waiting().size(), 1u);
  std::string image_part = TestMultipart({Bytes(images_[1])});
  image_part.replace(image_part.find("application/dicom"), 17, "image/jpeg");
  answered = Post("/studies", image_part);
  EXPECT_EQ(answered.status, 409);
  EXPECT_EQ(Reason(answered.body[kOther]["Value"][0]), 0x0122);
  // The end is missing: what came whole is kept, and the answer says that something was not.
  std::string cut = TestMultipart({Bytes(images_[1]), Bytes(images_[3])});
  cut.resize(cut.size() - 100);
  answered = Post("/studies", cut);
  EXPECT_EQ(answered.status, 202) << answered.output;
  EXPECT_EQ(Post("/studies", "no multipart").status, 400);
  EXPECT_EQ(Post("/studies", "--b--").status, 400);
  EXPECT_EQ(Waiting().size(), 2u);
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/generated/hostile";
  if (!PathExists(corpus)) return;
  for (const std::string& path : FilesBelowFolder(corpus)) {
    EXPECT_NE(Post("/studies", TestMultipart({Bytes(path)})).status, 0) << path;
  }
  EXPECT_TRUE(listener_->Running());
  for (const std::string& path : Waiting()) {
    EXPECT_TRUE(privacy::ScanPreamble(Bytes(path)).ok());
    EXPECT_TRUE(absl::StartsWith(path, Path("home/quarantine/patients/")));
  }
}

TEST_F(StowTest, WhatIsNoStoringIsRefused) {
  Start();
  const std::string body = TestMultipart({Bytes(images_[0])});
  EXPECT_EQ(Post("/", body).status, 404);
  EXPECT_EQ(Post("/studies/..%2f..%2fetc", body).status, 404);
  EXPECT_EQ(Post("/studies/2.25.11/series", body).status, 404);
  EXPECT_EQ(Curl("/studies", {}).status, 405);
  EXPECT_EQ(Curl("/studies", {"-X", "DELETE"}).status, 405);
  EXPECT_EQ(Post("/studies", body, {}, "application/dicom").status, 415);
  EXPECT_EQ(Post("/studies", body, {"-H", "Content-Encoding: gzip"}).status, 415);
  EXPECT_EQ(
      Post("/studies", body, {}, "multipart/related; type=\"application/dicom+json\"; boundary=b")
          .status,
      415);
  EXPECT_EQ(Post("/studies", body, {}, "multipart/related; type=\"application/dicom\"").status,
            400);
  EXPECT_EQ(Curl("/studies", {"-H", "Content-Type: " + std::string(dicomweb::kTestMultipart), "-H",
                              "Accept: application/dicom+xml", "--data-binary", "@" + Path("body")})
                .status,
            406);
  EXPECT_EQ(Waiting().size(), 0u);
}

TEST_F(StowTest, WhoMayStore) {
  Start();
  const std::string body = TestMultipart({Bytes(images_[0])});
  with_certificate_ = false;
  EXPECT_EQ(Post("/studies", body).status, 0);  // no TLS without a certificate
  const std::vector<std::string> token = {"-H", absl::StrCat("Authorization: Bearer ", kToken)};
  EXPECT_EQ(Post("/studies", body, token).status, 0);
  ASSERT_TRUE(WriteFileAtomic(Path("token"), absl::StrCat(kToken, "\n"), kPrivateFile).ok());
  config_.listen.web->token_file = Path("token");
  Start();
  EXPECT_EQ(Post("/studies", body).status, 401);
  EXPECT_EQ(Post("/studies", body, {"-H", "Authorization: Bearer a-token-that-is-wrong-so"}).status,
            401);
  EXPECT_EQ(Post("/studies", body, token).status, 200);
  with_certificate_ = true;
  EXPECT_EQ(Post("/studies", body).status, 200);
  // Nothing older than TLS 1.2, and nothing without it.
  EXPECT_EQ(Post("/studies", body, {"--tls-max", "1.1"}).status, 0);
  EXPECT_EQ(Post("/studies", body, {"--tls-max", "1.2"}).status, 200);
  // A host that has a name in dicom.yaml has to show it.
  config_.peers[0].host = "localhost";
  Start();
  EXPECT_EQ(Post("/studies", body).status, 0);
  config_.peers[0].host = "192.0.2.1";
  Start();
  EXPECT_EQ(Post("/studies", body).status, 0);
}

TEST_F(StowTest, AFullQuarantineIsToldAndStaysBelowItsLimit) {
  const uint64_t size = FileBytes(images_[0]).value();
  config_.quarantine.bytes_max = 3 * size + size / 2;
  config_.quarantine.object_bytes_max = 2 * size;
  Start();
  Answered answered =
      Post("/studies", TestMultipart(Objects()), {"-H", "Transfer-Encoding: chunked"});
  EXPECT_EQ(answered.status, 202) << answered.output;
  EXPECT_EQ(Items(answered.body, kStored), 3u);
  ASSERT_GE(Items(answered.body, kOther), 1u);
  EXPECT_EQ(Reason(answered.body[kOther]["Value"][0]), 0xA700);
  EXPECT_LE(quarantine_->bytes_used(), config_.quarantine.bytes_max);
  answered = Post("/studies", TestMultipart({Bytes(images_[4])}), {"-i"});
  EXPECT_EQ(answered.status, 503) << answered.output;
  EXPECT_THAT(answered.output, HasSubstr("Retry-After: "));
  EXPECT_EQ(Post("/studies", std::string(1 << 20, 'x')).status, 413);
  // An endless object ends the request, and leaves nothing.
  answered = Post("/studies", TestMultipart({std::string(20'000'000, 'x')}),
                  {"-H", "Transfer-Encoding: chunked"});
  EXPECT_EQ(answered.status, 503) << answered.output;
  EXPECT_EQ(Waiting().size(), 3u);
  EXPECT_LE(quarantine_->bytes_used(), 3 * size);
}

TEST_F(StowTest, TooManyConnectionsAreToldSo) {
  config_.listen.associations_max = 1;
  Start();
  const int held = ConnectTo(listener_->web_port());
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(Post("/studies", TestMultipart({Bytes(images_[0])})).status, 503);
  ::close(held);
  Answered after;
  for (int i = 0; i < 50 && after.status != 200; ++i) {
    after = Post("/studies", TestMultipart({Bytes(images_[0])}));
  }
  EXPECT_EQ(after.status, 200);
}

TEST_F(StowTest, OrthancStoresByStow) {
  if (!HasOrthancWeb()) GTEST_SKIP() << "Debian's package orthanc-dicomweb is not installed";
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/";
  if (PathExists(corpus)) {
    for (const char* folder : {"mr/series-t1post-siemens", "ct/series-3slice-ge"}) {
      for (const std::string& file : FilesBelowFolder(corpus + folder)) images_.push_back(file);
    }
  }
  Start();
  const OrthancWeb orthanc(Path("orthanc"), OrthancWeb::Access::kOpen, {Url(""), Path("tls")});
  std::vector<std::string> went, came;
  for (const std::string& file : images_) {
    ASSERT_TRUE(orthanc.Store(file));
    went.push_back(Bytes(file));
  }
  const ProgramResult sent = orthanc.StowAll();
  EXPECT_EQ(sent.exit_code, 0) << sent.output;
  for (const std::string& path : Waiting()) came.push_back(Bytes(path));
  ASSERT_EQ(came.size(), went.size()) << sent.output;
  std::sort(came.begin(), came.end());
  std::sort(went.begin(), went.end());
  EXPECT_TRUE(came == went);
}

}  // namespace
}  // namespace consilium::agent
