// Against rsyslogd with GnuTLS as the hospital's repository, over mutual TLS on loopback.
#include "privacy/atna/atna_recorder.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/atna/atna_events.h"
#include "privacy/atna/test_events.h"
#include "privacy/atna/test_repository.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class AtnaRecorderTest : public ::testing::Test {
 protected:
  AtnaRecorderTest() : temp_(*TempDir::Create("atna")), pki_(temp_.path()), port_(FreePort()) {
    EXPECT_TRUE(MakeDirs(temp_.path() + "/rsyslog").ok());
  }
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
