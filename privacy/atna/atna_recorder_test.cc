// Against rsyslogd with GnuTLS as the hospital's repository, over mutual TLS on loopback.
#include "privacy/atna/atna_recorder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/atna/atna_events.h"
#include "privacy/atna/test_events.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kRsyslogd = "/usr/sbin/rsyslogd";
constexpr const char* kGtls = "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so";
constexpr absl::Duration kPatience = absl::Seconds(60);

bool Eventually(const std::function<bool()>& holds) {
  const absl::Time until = Clock::System().Now() + kPatience;
  while (!holds()) {
    if (Clock::System().Now() > until) return false;
    ::poll(nullptr, 0, 20);
  }
  return true;
}

int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Certificates of one root: the repository's, a client's, and those of a stranger.
class Pki {
 public:
  explicit Pki(const std::string& folder) : folder_(folder) {
    const absl::Time start = Clock::System().Now() - absl::Minutes(5);
    const KeyAndCertificate ca = *MakeRootCa("hospital", start, absl::Hours(1));
    const KeyAndCertificate other = *MakeRootCa("hospital", start, absl::Hours(1));
    Write("ca.crt", ca.certificate_pem);
    Write("other.crt", other.certificate_pem);
    Issue(ca, "server", {{"hospital", Role::kCoordinator, "repository"}, {"localhost"},
                         {"127.0.0.1"}, start, absl::Hours(1)});
    Issue(ca, "client", {{"hospital", Role::kSite, "north"}, {}, {}, start, absl::Hours(1)});
    Issue(other, "stranger", {{"hospital", Role::kSite, "north"}, {}, {}, start, absl::Hours(1)});
  }
  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }
  AtnaTarget Target(int port, const std::string& who = "client",
                    const std::string& ca = "ca") const {
    return {"127.0.0.1", static_cast<uint16_t>(port), Path(ca + ".crt"), Path(who + ".crt"),
            Path(who + ".key")};
  }

 private:
  void Write(const std::string& name, absl::string_view text) {
    EXPECT_TRUE(WriteFileAtomic(Path(name), text, kPrivateFile).ok());
  }
  void Issue(const KeyAndCertificate& ca, const std::string& name, const IssueOptions& options) {
    const SecretBytes key = *GenerateKeyPem();
    Write(name + ".key", key.view());
    Write(name + ".crt", *IssueCertificate(ca, *MakeCsrPem(key, options.identity.name), options));
  }
  const std::string folder_;
};

class Rsyslog {
 public:
  Rsyslog(const std::string& folder, const Pki& pki, int port) : folder_(folder), port_(port) {
    const std::string config = absl::StrCat(
        "global(workDirectory=\"", folder, "\" defaultNetstreamDriver=\"gtls\"\n",
        "  defaultNetstreamDriverCAFile=\"", pki.Path("ca.crt"), "\"\n",
        "  defaultNetstreamDriverCertFile=\"", pki.Path("server.crt"), "\"\n",
        "  defaultNetstreamDriverKeyFile=\"", pki.Path("server.key"), "\")\n",
        "module(load=\"imtcp\" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\"\n",
        "  StreamDriver.AuthMode=\"x509/certvalid\")\n",
        "input(type=\"imtcp\" port=\"", port, "\" address=\"127.0.0.1\")\n",
        "template(name=\"line\" type=\"string\" "
        "string=\"%syslogfacility%.%syslogseverity% %app-name% %msg%\\n\")\n",
        "*.* action(type=\"omfile\" file=\"", folder, "/out\" template=\"line\")\n");
    EXPECT_TRUE(WriteFileAtomic(folder + "/rsyslog.conf", config).ok());
  }
  ~Rsyslog() { Stop(); }
  void Start() {
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      ::execl(kRsyslogd, kRsyslogd, "-n", "-f", (folder_ + "/rsyslog.conf").c_str(), "-i",
              (folder_ + "/pid").c_str(), nullptr);
      ::_exit(127);
    }
  }
  void Stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // What arrived about us, in order.
  std::vector<std::string> Lines() const {
    const auto text = ReadFile(folder_ + "/out", 10 << 20);
    std::vector<std::string> lines;
    for (absl::string_view line : absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty())) {
      if (absl::StrContains(line, "AuditMessage")) lines.emplace_back(line);
    }
    return lines;
  }

 private:
  const std::string folder_;
  const int port_;
  pid_t pid_ = 0;
};

class AtnaRecorderTest : public ::testing::Test {
 protected:
  AtnaRecorderTest() : temp_(*TempDir::Create("atna")), pki_(temp_.path()), port_(FreePort()) {
    EXPECT_TRUE(MakeDirs(temp_.path() + "/rsyslog").ok());
  }
  static bool HasRsyslog() { return ::access(kRsyslogd, X_OK) == 0 && PathExists(kGtls); }
  AtnaRecorder::Options Options(std::optional<AtnaTarget> target) const {
    AtnaRecorder::Options options;
    options.spool_folder = temp_.path() + "/spool";
    options.target = std::move(target);
    options.source = {"test-federation", "north"};
    options.header = {"host", "consilium-test", ::getpid()};
    options.retry_min = absl::Milliseconds(50);
    options.retry_max = absl::Milliseconds(200);
    return options;
  }
  size_t Spooled() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(temp_.path() + "/spool")) {
      count += entry.path().extension() == ".msg";
    }
    return count;
  }

  const TempDir temp_;
  const Pki pki_;
  const int port_;
};

AtnaEvent Numbered(int number) {
  return Transferred({AtnaTransfer::kUpdate, AtnaDirection::kExport, "north", "coordinator",
                      "hippo", 1, absl::StrCat("number-", number, "-")});
}

TEST_F(AtnaRecorderTest, EveryEventArrivesAndIsValid) {
  if (!HasRsyslog()) GTEST_SKIP() << "rsyslogd with GnuTLS (rsyslog-gnutls) is not installed";
  Rsyslog repository(temp_.path() + "/rsyslog", pki_, port_);
  repository.Start();
  const std::vector<AtnaEvent> events = EveryEvent();
  {
    auto recorder = AtnaRecorder::Create(Options(pki_.Target(port_)), Clock::System());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (const AtnaEvent& event : events) ASSERT_TRUE((*recorder)->Record(event).ok());
    EXPECT_TRUE(Eventually([&] { return (*recorder)->delivered() == events.size(); }));
  }
  EXPECT_TRUE(Eventually([&] { return repository.Lines().size() >= events.size(); }));
  const std::vector<std::string> lines = repository.Lines();
  ASSERT_EQ(lines.size(), events.size());
  std::string files;
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_THAT(lines[i], HasSubstr("consilium-test"));
    EXPECT_TRUE(absl::StartsWith(lines[i], "10.")) << "facility";
    const std::string path = absl::StrCat(temp_.path(), "/", i, ".xml");
    ASSERT_TRUE(WriteFileAtomic(path, lines[i].substr(lines[i].find("<AuditMessage"))).ok());
    absl::StrAppend(&files, " ", path);
  }
  if (std::system("command -v xmllint >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "xmllint (package libxml2-utils) is not installed";
  }
  EXPECT_EQ(std::system(absl::StrCat("xmllint --noout --schema ", CONSILIUM_SOURCE_DIR,
                                     "/privacy/atna/audit_message.xsd", files, " 2>&1")
                            .c_str()),
            0);
}

TEST_F(AtnaRecorderTest, WhatIsSpooledWhileTheRepositoryIsDownArrivesOnceAndInOrder) {
  if (!HasRsyslog()) GTEST_SKIP() << "rsyslogd with GnuTLS (rsyslog-gnutls) is not installed";
  constexpr int kEach = 100;
  Rsyslog repository(temp_.path() + "/rsyslog", pki_, port_);
  {
    auto recorder = AtnaRecorder::Create(Options(pki_.Target(port_)), Clock::System());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (int i = 0; i < kEach; ++i) ASSERT_TRUE((*recorder)->Record(Numbered(i)).ok());
    EXPECT_EQ(Spooled(), kEach);
  }
  EXPECT_EQ(Spooled(), kEach) << "the spool outlives the process";
  {
    auto recorder = AtnaRecorder::Create(Options(pki_.Target(port_)), Clock::System());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (int i = kEach; i < 2 * kEach; ++i) ASSERT_TRUE((*recorder)->Record(Numbered(i)).ok());
    repository.Start();
    EXPECT_TRUE(Eventually([&] { return (*recorder)->delivered() == 2 * kEach; }));
    EXPECT_TRUE(Eventually([&] { return repository.Lines().size() >= 2 * kEach; }));
    repository.Stop();  // and up again: what comes in between waits
    for (int i = 2 * kEach; i < 3 * kEach; ++i) ASSERT_TRUE((*recorder)->Record(Numbered(i)).ok());
    repository.Start();
    EXPECT_TRUE(Eventually([&] { return (*recorder)->delivered() == 3 * kEach; }));
  }
  EXPECT_TRUE(Eventually([&] { return repository.Lines().size() >= 3 * kEach; }));
  const std::vector<std::string> lines = repository.Lines();
  ASSERT_THAT(lines, SizeIs(3 * kEach));
  for (int i = 0; i < 3 * kEach; ++i) {
    EXPECT_THAT(lines[i], HasSubstr(absl::StrCat("number-", i, "-")));
  }
  EXPECT_EQ(Spooled(), 0u);
}

TEST_F(AtnaRecorderTest, AStrangersRepositoryAndAStrangersCertificateGetNothing) {
  if (!HasRsyslog()) GTEST_SKIP() << "rsyslogd with GnuTLS (rsyslog-gnutls) is not installed";
  Rsyslog repository(temp_.path() + "/rsyslog", pki_, port_);
  repository.Start();
  ASSERT_TRUE(Eventually([&] {
    const auto options = pki_.Target(port_);
    auto recorder = AtnaRecorder::Create(Options(options), Clock::System());
    return (*recorder)->Record(Numbered(0)).ok() &&
           Eventually([&] { return (*recorder)->delivered() == 1; });
  }));
  TlsClientOptions untrusted;
  untrusted.host = "127.0.0.1";
  untrusted.port = static_cast<uint16_t>(port_);
  untrusted.ca_pem = *ReadFile(pki_.Path("other.crt"), 1 << 16);
  untrusted.certificate_pem = *ReadFile(pki_.Path("client.crt"), 1 << 16);
  untrusted.key_pem = SecretBytes(*ReadFile(pki_.Path("client.key"), 1 << 16));
  EXPECT_TRUE(absl::IsPermissionDenied(TlsClient::Connect(untrusted).status()));
  untrusted.ca_pem = *ReadFile(pki_.Path("ca.crt"), 1 << 16);
  untrusted.host = "localhost.localdomain";  // resolves or not; the certificate does not name it
  EXPECT_FALSE(TlsClient::Connect(untrusted).ok());
  {
    auto recorder =
        AtnaRecorder::Create(Options(pki_.Target(port_, "stranger")), Clock::System());
    ASSERT_TRUE(recorder.ok());
    ASSERT_TRUE((*recorder)->Record(Numbered(99)).ok());
  }
  EXPECT_EQ(Spooled(), 1u) << "not taken for delivered";
  for (const std::string& line : repository.Lines()) {
    EXPECT_FALSE(absl::StrContains(line, "number-99-"));
  }
}

TEST_F(AtnaRecorderTest, AFullSpoolKeepsTheOldestAndReportsTheGap) {
  AtnaRecorder::Options options = Options(std::nullopt);
  options.messages_max = 3;
  int dropped = 0;
  options.on_dropped = [&dropped] { ++dropped; };
  {
    auto recorder = AtnaRecorder::Create(options, Clock::System());
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE((*recorder)->Record(Numbered(i)).ok());
    for (int i = 3; i < 5; ++i) {
      EXPECT_TRUE(absl::IsResourceExhausted((*recorder)->Record(Numbered(i))));
    }
  }
  EXPECT_EQ(dropped, 2);
  options.messages_max = 100;  // as if some had been delivered
  auto recorder = AtnaRecorder::Create(options, Clock::System());
  ASSERT_TRUE((*recorder)->Record(Numbered(5)).ok());
  const auto spool = AtnaSpool::Open(options.spool_folder, 100);
  ASSERT_TRUE(spool.ok());
  const std::vector<std::string> names = *(*spool)->Oldest(100);
  ASSERT_THAT(names, SizeIs(6));  // three, the gap's end and begin, and the new one
  EXPECT_THAT(*(*spool)->Read(names[0]), HasSubstr("number-0-"));
  EXPECT_THAT(*(*spool)->Read(names[3]), HasSubstr("110133"));
  EXPECT_THAT(*(*spool)->Read(names[3]), HasSubstr("messages are missing"));
  EXPECT_THAT(*(*spool)->Read(names[4]), HasSubstr("110134"));
  EXPECT_THAT(*(*spool)->Read(names[5]), HasSubstr("number-5-"));
}

TEST_F(AtnaRecorderTest, AMissingFileOfTheTargetIsNamedAtTheStart) {
  AtnaTarget target = pki_.Target(port_);
  target.key_path = temp_.path() + "/nowhere.key";
  const auto recorder = AtnaRecorder::Create(Options(target), Clock::System());
  EXPECT_TRUE(absl::IsInvalidArgument(recorder.status()));
  EXPECT_THAT(recorder.status().message(), HasSubstr("nowhere.key"));
}

}  // namespace
}  // namespace consilium::privacy
