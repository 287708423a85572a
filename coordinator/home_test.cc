#include "coordinator/home.h"

#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

#include "coordinator/home_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/hpke.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

CoordinatorOptions SomeOptions() {
  CoordinatorOptions options;
  options.federation = "amc-trial";
  options.listen = "0.0.0.0:7443";
  options.hosts = {"coordinator.example.org", "127.0.0.1"};
  options.upload_bytes_max = 123456789;
  options.retention_versions = 12;
  options.http_listen = "";
  options.disk_floor_bytes = 5;
  options.atna_repository = "audit.example.org:6514";
  return options;
}

std::string Read(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

class HomeTest : public ::testing::Test {
 protected:
  HomeTest() : dir_(*TempDir::Create("home")), home_(JoinPath(dir_.path(), "new/home")) {}
  TempDir dir_;
  std::string home_;
};

TEST_F(HomeTest, InitMakesCertificatesOfOneRoot) {
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  const std::string ca = Read(home_ + "/ca/ca.crt");
  EXPECT_EQ(Read(home_ + "/admin/ca.crt"), ca);
  const absl::Time now = Clock::System().Now();
  for (const char* leaf : {"/server.crt", "/admin/client.crt"}) {
    EXPECT_TRUE(privacy::VerifyCertificate(Read(home_ + leaf), ca, now).ok()) << leaf;
  }
  const auto server = privacy::CertificateIdentity(Read(home_ + "/server.crt"));
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(server->role, privacy::Role::kCoordinator);
  const auto admin = privacy::CertificateIdentity(Read(home_ + "/admin/client.crt"));
  ASSERT_TRUE(admin.ok());
  EXPECT_EQ(admin->role, privacy::Role::kAdmin);
  EXPECT_EQ(admin->federation, "amc-trial");
  EXPECT_TRUE(privacy::HpkeKeyPairFromPrivate(Read(home_ + "/sealing.key")).ok());
}

TEST_F(HomeTest, RenewalIssuesForTheSameKeysAndNeedsTheCaKey) {
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  std::map<std::string, std::string> before;
  const char* const kFiles[] = {"/server.crt", "/admin/client.crt"};
  for (const char* file : kFiles) before[file] = Read(home_ + file);
  ASSERT_TRUE(RenewHome(home_, Clock::System()).ok());
  for (const char* file : kFiles) {
    const std::string now = Read(home_ + file);
    EXPECT_NE(now, before[file]) << file;
    EXPECT_EQ(*privacy::SpkiSha256Hex(now), *privacy::SpkiSha256Hex(before[file])) << file;
    EXPECT_EQ(*privacy::CertificateIdentity(now), *privacy::CertificateIdentity(before[file]));
    EXPECT_TRUE(privacy::VerifyCertificate(now, Read(home_ + "/ca/ca.crt"), Clock::System().Now()).ok());
  }
  const std::string kept = Read(home_ + "/server.crt");
  ASSERT_EQ(std::rename((home_ + "/ca/ca.key").c_str(), (home_ + "/away").c_str()), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(RenewHome(home_, Clock::System())));
  EXPECT_EQ(Read(home_ + "/server.crt"), kept);
}

TEST_F(HomeTest, KeysAreReadableByTheirOwnerOnly) {
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  for (const char* key : {"/ca/ca.key", "/server.key", "/admin/client.key", "/sealing.key"}) {
    EXPECT_EQ(ModeOf(home_ + key), 0600u) << key;
  }
  EXPECT_EQ(ModeOf(home_), 0700u);
}

TEST_F(HomeTest, OptionsComeBackAsTheyWentIn) {
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  const auto options = ReadCoordinatorOptions(home_);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->federation, "amc-trial");
  EXPECT_EQ(options->listen, "0.0.0.0:7443");
  EXPECT_EQ(options->hosts, SomeOptions().hosts);
  EXPECT_EQ(options->advertise, "");
  EXPECT_EQ(options->upload_bytes_max, 123456789u);
  EXPECT_EQ(options->retention_versions, 12);
  EXPECT_EQ(options->http_listen, "");
  EXPECT_EQ(options->disk_floor_bytes, 5u);
  EXPECT_EQ(options->atna_repository, "audit.example.org:6514");
  EXPECT_EQ(options->atna_key, "atna/client.key");
  const auto endpoint = ReadAdminEndpoint(home_ + "/admin");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->federation, "amc-trial");
  EXPECT_EQ(endpoint->address, "coordinator.example.org:7443");
  EXPECT_EQ(endpoint->server_name, "coordinator.example.org");
}

TEST_F(HomeTest, SecondInitIsRefusedAndChangesNothing) {
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  const std::string ca = Read(home_ + "/ca/ca.crt");
  EXPECT_TRUE(absl::IsAlreadyExists(InitHome(home_, SomeOptions())));
  EXPECT_EQ(Read(home_ + "/ca/ca.crt"), ca);
}

TEST_F(HomeTest, AnEmptyFolderIsTakenAFullOneIsNot) {
  ASSERT_TRUE(MakeDirs(home_).ok());
  ASSERT_TRUE(InitHome(home_ + "/", SomeOptions()).ok());
  EXPECT_TRUE(ReadCoordinatorOptions(home_).ok());
  const std::string other = JoinPath(dir_.path(), "other");
  ASSERT_TRUE(MakeDirs(other).ok());
  std::ofstream(other + "/letter.txt") << "dear";
  EXPECT_TRUE(absl::IsFailedPrecondition(InitHome(other, SomeOptions())));
  EXPECT_EQ(std::distance(fs::directory_iterator(other), fs::directory_iterator()), 1);
}

TEST_F(HomeTest, FailureLeavesNothingBehind) {
  CoordinatorOptions options = SomeOptions();
  options.federation = "Not A Name";
  EXPECT_TRUE(absl::IsInvalidArgument(InitHome(home_, options)));
  EXPECT_FALSE(PathExists(home_));
  ASSERT_TRUE(InitHome(home_, SomeOptions()).ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(home_).parent_path()),
                          fs::directory_iterator()),
            1);
}

TEST_F(HomeTest, AFolderThatIsNoHomeIsNamedAsSuch) {
  const auto options = ReadCoordinatorOptions(dir_.path());
  EXPECT_TRUE(absl::IsNotFound(options.status()));
  EXPECT_THAT(options.status().message(), HasSubstr("consilium init"));
  EXPECT_TRUE(absl::IsNotFound(ReadAdminEndpoint(dir_.path()).status()));
}

TEST_F(HomeTest, BrokenEndpointIsRefused) {
  for (const char* text :
       {"", "[]", "{\"federation\":\"x\"}", "{\"federation\":1}",
        "{\"federation\":\"x\",\"address\":\"nowhere\",\"server_name\":\"y\"}"}) {
    std::ofstream(dir_.path() + "/endpoint.json") << text;
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAdminEndpoint(dir_.path()).status())) << text;
  }
}

TEST(HomeConfigTest, MistakesAreNamedWithTheirLine) {
  const struct {
    const char* text;
    const char* message;
  } kCases[] = {
      {"federation: a\nlisten_on: x\n", "line 2: unknown key listen_on"},
      {"federation: a\nfederation: b\n", "line 2: key federation is given twice"},
      {"federation: a\nhosts: x\n", "hosts: must be a list"},
      {"federation: a\nhosts: []\n", "hosts: 1 to 32"},
      {"federation: a\nlisten: nowhere\n", "listen: must be HOST:PORT"},
      {"federation: a\nsite_certificate_days: soon\n", "site_certificate_days: must be a whole"},
      {"federation: a\nsite_certificate_days: 0\n", "site_certificate_days: 1 to 825"},
      {"federation: a\natna_repository: nowhere\n", "atna_repository: must be HOST:PORT"},
      {"federation: a\nhttp_listen: nowhere\n", "http_listen: must be HOST:PORT"},
      {"federation: a\nupload_bytes_max: -1\n", "upload_bytes_max: must be a whole"},
      {"federation: a\nretention_versions: -1\n", "retention_versions: 0"},
      {"listen: 127.0.0.1:1\n", "federation"},
      {"- a\n", "key: value"},
      {"a: [\n", "line"},
      {"", "key: value"},
  };
  for (const auto& test : kCases) {
    const auto options = CoordinatorOptionsFromYaml(test.text);
    EXPECT_TRUE(absl::IsInvalidArgument(options.status())) << test.text;
    EXPECT_THAT(options.status().message(), HasSubstr(test.message)) << test.text;
  }
}

TEST(HomeConfigTest, HostOfTakesNamesAndBothKindsOfAddress) {
  EXPECT_EQ(HostOf("localhost:7443"), "localhost");
  EXPECT_EQ(HostOf("127.0.0.1:0"), "127.0.0.1");
  EXPECT_EQ(HostOf("[::1]:7443"), "::1");
  for (const char* wrong : {"", ":1", "localhost", "localhost:", "localhost:70000", "::1:7443",
                            "a b:1", "a:-1", "a/b:1"}) {
    EXPECT_EQ(HostOf(wrong), "") << wrong;
  }
}

TEST(HomeConfigTest, AdvertisedAddressIsOneThatCanBeReached) {
  CoordinatorOptions options = SomeOptions();
  EXPECT_EQ(AdvertisedAddress(options), "coordinator.example.org:7443");
  EXPECT_EQ(AdvertisedEnrolmentAddress(options), "127.0.0.1:7444");
  options.advertise = "public.example.org:443";
  EXPECT_EQ(AdvertisedAddress(options), "public.example.org:443");
}

}  // namespace
}  // namespace consilium::coordinator
