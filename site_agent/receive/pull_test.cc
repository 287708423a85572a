#include "site_agent/receive/pull.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/test_archive.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/test_peer.h"
#include "site_agent/receive/test_relay.h"
#include "tests/support/sim_clock.h"

namespace consilium::agent {
namespace {

using ::testing::HasSubstr;

// An archive of somebody else's on the loopback, that knows us as CONSILIUM at `our_port`.
std::vector<std::string> OrthancCommand(const std::string& folder, int port, int our_port) {
  EXPECT_TRUE(MakeDirs(folder).ok());
  const std::string config = JoinPath(folder, "orthanc.json");
  EXPECT_TRUE(WriteFileAtomic(config, absl::StrCat(R"({"Name": "test", "StorageDirectory": ")",
                                                   folder, R"(/db", "IndexDirectory": ")", folder,
                                                   R"(/db", "RemoteAccessAllowed": false,
    "AuthenticationEnabled": false, "HttpServerEnabled": false,
    "DicomAet": "ARCHIVE", "DicomPort": )",
                                                   port, R"(, "DicomModalities": {"consilium": {
    "AET": "CONSILIUM", "Host": "127.0.0.1", "Port": )",
                                                   our_port,
                                                   R"(, "AllowGet": true, "AllowMove": true,
    "AllowFind": true, "AllowStore": true}}})"))
                  .ok());
  return {"Orthanc", config};
}

std::vector<std::string> DcmqrscpCommand(const std::string& folder, int port, int our_port) {
  EXPECT_TRUE(MakeDirs(folder + "/db").ok());
  const std::string config = JoinPath(folder, "dcmqrscp.cfg");
  EXPECT_TRUE(WriteFileAtomic(config, absl::StrCat("NetworkTCPPort = ", port, R"(
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
consilium = (CONSILIUM, 127.0.0.1, )",
                                                   our_port, R"()
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
ARCHIVE )",
                                                   folder, R"(/db RW (100, 1024mb) ANY
AETable END
)"))
                  .ok());
  return {"dcmqrscp", "-c", config};
}

class PullTest : public ::testing::TestWithParam<const char*> {
 protected:
  PullTest() : dir_(TempDir::Create("pull_test").value()) {
    config_.listen.address = "127.0.0.1";
    config_.listen.port = FreePort();
    config_.quarantine.free_bytes_min = 0;
    archive_port_ = FreePort();
    DicomPeer peer;
    peer.name = "archive";
    peer.ae_title = "ARCHIVE";
    peer.host = "127.0.0.1";
    peer.port = archive_port_;
    peer.attempts = 1;
    config_.peers = {peer};
    sleep_ = [](absl::Duration) { return true; };
  }
  void SetUp() override {
    if (!HasProgram(GetParam())) {
      GTEST_SKIP() << "Debian's program " << GetParam() << " is not installed";
    }
  }

  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  void StartArchive() {
    const bool orthanc = std::string(GetParam()) == "Orthanc";
    archive_ = std::make_unique<BackgroundProgram>((orthanc ? OrthancCommand : DcmqrscpCommand)(
        Path("archive"), archive_port_, config_.listen.port));
    ASSERT_TRUE(WaitForPort(archive_port_));
    std::vector<std::string> command = {
        "storescu", "-R",      "-aet",      "CONSILIUM",
        "-aec",     "ARCHIVE", "127.0.0.1", absl::StrCat(archive_port_)};
    const auto images = WriteSeries(Path("one"));
    WriteLabel(images, Path("one"));
    WriteOtherPatient(Path("two"));
    for (const char* folder : {"one", "two"}) {
      for (const std::string& file : FilesBelowFolder(Path(folder))) command.push_back(file);
    }
    const ProgramResult filled = RunProgram(command);
    ASSERT_EQ(filled.exit_code, 0) << filled.output;
  }

  DicomPeer& peer() { return config_.peers[0]; }

  absl::StatusOr<PullReport> Run(const PullRequest& request) {
    return Pull(Path("home"), config_, request,
                {clock_, stop_, [this](absl::Duration wait) { return sleep_(wait); },
                 [](const PatientOutcome&) { return absl::OkStatus(); }, [](int64_t, int64_t) {}});
  }
  static PullRequest AllStudies() {
    return {.peer = "archive", .query = {{"PatientID", "PHANTOM*"}}};
  }
  size_t Cases() const { return LoadCatalog(Path("home"))->cases.size(); }

  TempDir dir_;
  DicomConfig config_;
  int archive_port_;
  consilium::testing::SimClock clock_;
  std::atomic<bool> stop_{false};
  std::function<bool(absl::Duration)> sleep_;
  std::unique_ptr<BackgroundProgram> archive_;
};

TEST_P(PullTest, GetTakesInWhatAQueryFindsAndRemembersIt) {
  StartArchive();
  PullRequest request = AllStudies();
  request.count_only = true;
  auto report = Run(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->found, 2);
  EXPECT_EQ(report->fetched, 0);
  report = Run(AllStudies());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 2) << PullToJson(*report);
  EXPECT_EQ(report->objects, 13);
  EXPECT_EQ(report->outcomes.size(), 2u);
  EXPECT_EQ(Cases(), 2u);
  report = Run(AllStudies());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched_before, 2);
  EXPECT_EQ(report->fetched, 0);
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* planted : {"PHANTOM-", "Phantom", "Mahoney", "2.25.11"}) {
    EXPECT_FALSE(absl::StrContains(all, std::string(planted) + '\0')) << planted;
  }
  EXPECT_FALSE(absl::StrContains(PullToJson(*report), "PHANTOM"));
}

TEST_P(PullTest, MoveComesToOurListener) {
  StartArchive();
  peer().method = RetrieveMethod::kMove;
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(Cases(), 1u);
}

TEST_P(PullTest, AStudyThatBreaksOffLeavesNoHalfSeries) {
  StartArchive();
  size_t whole = 0;
  {
    TestRelay relay(archive_port_, 1 << 24);
    peer().port = relay.port();
    ASSERT_TRUE(Run({.peer = "archive", .studies = {"2.25.21"}}).ok());
    whole = relay.WaitForSent().size();
  }
  TestRelay relay(archive_port_, whole - 500);
  peer().port = relay.port();
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 0);
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_EQ(Cases(), 1u);
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/patients")).empty());
  // The same command goes on where it was.
  peer().port = archive_port_;
  EXPECT_EQ(Run(AllStudies())->fetched, 1);
  EXPECT_EQ(Cases(), 2u);
}

TEST_P(PullTest, AnArchiveThatIsAwayIsAskedAgain) {
  peer().attempts = 3;
  int pauses = 0;
  sleep_ = [&](absl::Duration) {
    if (++pauses == 2) StartArchive();
    return true;
  };
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(pauses, 2);
}

TEST_P(PullTest, WhatIsNotThereIsSaidByPseudonym) {
  StartArchive();
  const auto report = Run({.peer = "archive", .studies = {"1.2.3.4.5"}});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_THAT(PullToJson(*report), ::testing::Not(HasSubstr("1.2.3.4.5")));
  EXPECT_TRUE(absl::IsInvalidArgument(Run({.peer = "archive", .studies = {"../../etc"}}).status()));
  EXPECT_TRUE(absl::IsNotFound(Run({.peer = "other", .studies = {"1.2"}}).status()));
}

TEST_P(PullTest, TheArchiveIsLeftAloneOutsideItsHoursAndAboveItsRate) {
  StartArchive();
  peer().hours.windows = {ParseHourWindow("20:00-06:00").value()};
  peer().studies_per_hour = 6;
  clock_.SetWallClock(
      absl::FromCivil(absl::CivilSecond(2026, 1, 5, 12, 0, 0), absl::LocalTimeZone()));
  std::vector<absl::Duration> waits;
  sleep_ = [&](absl::Duration wait) {
    waits.push_back(wait);
    clock_.Advance(wait);
    return true;
  };
  const auto report = Run(AllStudies());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 2);
  EXPECT_THAT(waits, ::testing::ElementsAre(absl::Hours(8), absl::Minutes(10)));
}

TEST_P(PullTest, StopsBetweenStudies) {
  StartArchive();
  peer().studies_per_hour = 1;
  sleep_ = [](absl::Duration) { return false; };
  EXPECT_TRUE(absl::IsCancelled(Run(AllStudies()).status()));
  EXPECT_EQ(Cases(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Archives, PullTest, ::testing::Values("Orthanc", "dcmqrscp"),
                         [](const auto& archive) { return std::string(archive.param); });

TEST(PeerNameTest, TheArchivesCertificateHasToNameItsHost) {
  if (!HasProgram("storescp")) GTEST_SKIP() << "Debian's package dcmtk is not installed";
  const TempDir dir = TempDir::Create("pull_test").value();
  const auto path = [&](const std::string& name) { return JoinPath(dir.path(), name); };
  ASSERT_TRUE(MakeTlsFiles(dir.path()) && MakeTlsCertificate(dir.path(), "localhost"));
  PrepareNetwork();
  const DicomTlsFiles tls{path("site.crt"), path("site.key"), path("ca.crt")};
  DicomPeer peer;
  peer.ae_title = "ARCHIVE";
  peer.tls = true;
  const auto echo = [&](const std::string& certificate, const std::string& host) {
    peer.port = FreePort();
    peer.host = host;
    const BackgroundProgram archive({"storescp", "+tls", path(certificate + ".key"),
                                     path(certificate + ".crt"), "+cf", path("ca.crt"),
                                     absl::StrCat(peer.port)});
    EXPECT_TRUE(WaitForPort(peer.port));
    return EchoPeer({"CONSILIUM", peer, &tls});
  };
  EXPECT_TRUE(absl::IsPermissionDenied(echo("scanner", "localhost")));
  const absl::Status named = echo("localhost", "localhost");
  EXPECT_TRUE(named.ok()) << named;
  // An address is no name to compare with.
  EXPECT_TRUE(echo("scanner", "127.0.0.1").ok());
}

// So that a test which crashes leaves no archive running.
TEST(BackgroundProgramTest, EndsWithWhoeverMadeIt) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t crashing = ::fork();
  if (crashing == 0) {
    const auto* program = new BackgroundProgram({"sleep", "100"});
    const pid_t pid = program->pid();
    (void)!::write(ends[1], &pid, sizeof(pid));
    ::_exit(1);
  }
  pid_t pid = 0;
  ASSERT_EQ(::read(ends[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ASSERT_EQ(::waitpid(crashing, nullptr, 0), crashing);
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) {
    EXPECT_EQ(errno, ESRCH);  // has ended already
  } else {
    pollfd ended = {process, POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
    ::close(process);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(QueryKeyTest, KeywordsAreDicoms) {
  const auto key = ParseQueryKey("StudyDate=20240101-20241231");
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(key->keyword, "StudyDate");
  EXPECT_EQ(key->value, "20240101-20241231");
  for (const char* wrong : {"StudyDate", "=x", "StudyDate=", "NoSuchKeyword=1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseQueryKey(wrong).status())) << wrong;
  }
  EXPECT_TRUE(IsUid("1.2.840.10008"));
  for (const std::string& wrong : {std::string(), std::string("1.2/3"), std::string(65, '1')}) {
    EXPECT_FALSE(IsUid(wrong));
  }
}

}  // namespace
}  // namespace consilium::agent
