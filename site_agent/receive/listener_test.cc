#include "site_agent/receive/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/deid/dicom_scan.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/test_archive.h"
#include "site_agent/receive/intake_feed.h"
#include "site_agent/receive/test_peer.h"
#include "site_agent/receive/test_relay.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() : dir_(TempDir::Create("listener_test").value()) {
    config_.ae_title = "CONSILIUM";
    config_.listen.address = "127.0.0.1";
    config_.listen.port = 0;
    config_.quarantine.free_bytes_min = 0;
    DicomPeer scanner;
    scanner.name = "scanner";
    scanner.ae_title = "SCANNER";
    scanner.host = "127.0.0.1";
    config_.peers = {scanner};
  }
  void SetUp() override {
    if (!HasProgram("storescu")) GTEST_SKIP() << "Debian's package dcmtk is not installed";
  }

  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  std::vector<std::string> Waiting() const { return FilesBelowFolder(Path("home/quarantine")); }
  size_t WaitingObjects() const {
    return FilesBelowFolder(Path("home/quarantine/patients")).size();
  }

  void Start() {
    auto quarantine = Quarantine::Open(Path("home"), config_.quarantine);
    ASSERT_TRUE(quarantine.ok()) << quarantine.status();
    quarantine_.emplace(*std::move(quarantine));
    auto listener = Listener::Start(config_, *quarantine_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_.emplace(*std::move(listener));
  }

  std::vector<std::string> Command(const std::string& program, int port,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> command = {program, "-aet", calling_, "-aec", called_};
    command.insert(command.end(), tls_.begin(), tls_.end());
    command.insert(command.end(), {verbosity_, "127.0.0.1", absl::StrCat(port)});
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  ProgramResult Echo() const { return RunProgram(Command("echoscu", listener_->port())); }
  ProgramResult Store(const std::vector<std::string>& files) const {
    std::vector<std::string> command = Command("storescu", listener_->port(), files);
    command.insert(command.begin() + 1, "-R");  // proposes what the files need, SEG included
    return RunProgram(command);
  }

  // As the door sees it.
  void WaitUntilAllHaveEnded() const {
    const absl::Duration end = Clock::System().Monotonic() + absl::Seconds(10);
    while (!std::filesystem::is_empty(Path("home/quarantine/in")) &&
           Clock::System().Monotonic() < end) {
      absl::SleepFor(absl::Milliseconds(20));
    }
  }

  // What storescu sends for `files`, the request for an association first.
  std::string Recorded(const std::vector<std::string>& files) const {
    TestRelay relay(listener_->port(), 1 << 24);
    EXPECT_EQ(RunProgram(Command("storescu", relay.port(), files)).exit_code, 0);
    return relay.WaitForSent();
  }

  TempDir dir_;
  DicomConfig config_;
  std::string calling_ = "SCANNER";
  std::string called_ = "CONSILIUM";
  std::string verbosity_ = "-v";
  std::vector<std::string> tls_;
  std::optional<Quarantine> quarantine_;
  std::optional<Listener> listener_;
};

std::string Dataset(const std::string& path) {
  const std::string bytes = ReadFile(path, 1 << 24).value();
  return bytes.substr(privacy::ScanPreamble(bytes)->dataset_offset);
}

TEST_F(ListenerTest, WhatComesInIsKeptBitForBitAndBecomesACase) {
  const auto images = WriteSeries(Path("archive"));
  WriteLabel(images, Path("archive"));
  Start();
  EXPECT_EQ(Echo().exit_code, 0);
  const ProgramResult sent = Store(FilesBelowFolder(Path("archive")));
  EXPECT_EQ(sent.exit_code, 0) << sent.output;
  ASSERT_EQ(WaitingObjects(), 7u);
  std::vector<std::string> came, went;
  for (const std::string& path : FilesBelowFolder(Path("home/quarantine/patients"))) {
    came.push_back(Dataset(path));
  }
  for (const std::string& path : FilesBelowFolder(Path("archive"))) went.push_back(Dataset(path));
  EXPECT_THAT(came, testing::UnorderedElementsAreArray(went));

  std::vector<PatientOutcome> outcomes;
  const auto sink = [&](const PatientOutcome& outcome) {
    outcomes.push_back(outcome);
    return absl::OkStatus();
  };
  // Nothing is taken before it has settled.
  const absl::Time before = Clock::System().Now() - absl::Hours(1);
  ASSERT_TRUE(TakeSettled(Path("home"), *quarantine_, before, sink, nullptr).ok());
  EXPECT_TRUE(outcomes.empty());
  ASSERT_TRUE(TakeSettled(Path("home"), *quarantine_, absl::InfiniteFuture(), sink, nullptr).ok());
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].report.cases_added_labelled, 1) << OutcomeToJson(outcomes[0]);
  EXPECT_EQ(LoadCatalog(Path("home"))->cases.size(), 1u);
  EXPECT_EQ(WaitingObjects(), 0u);
  EXPECT_EQ(quarantine_->bytes_used(), 0u);
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* planted : {"PHANTOM-", "Phantom", "19500102", "20200304", "SCANNER"}) {
    EXPECT_FALSE(absl::StrContains(all, planted)) << planted;
  }
}

TEST_F(ListenerTest, StrangersAreTurnedAway) {
  const auto images = WriteSeries(Path("archive"));
  Start();
  called_ = "OTHER";
  EXPECT_THAT(Echo().output, HasSubstr("Called AE Title Not Recognized"));
  called_ = "CONSILIUM";
  calling_ = "INTRUDER";
  EXPECT_THAT(Store(images).output, HasSubstr("Calling AE Title Not Recognized"));
  calling_ = "SCANNER";
  EXPECT_EQ(Echo().exit_code, 0);
  EXPECT_EQ(WaitingObjects(), 0u);
}

TEST_F(ListenerTest, AHostThatIsNoPeersIsHungUpOn) {
  const auto images = WriteSeries(Path("archive"));
  config_.peers[0].host = "192.0.2.1";
  Start();
  EXPECT_NE(Store(images).exit_code, 0);
  const int fd = ConnectTo(listener_->port());
  char byte;
  EXPECT_EQ(::read(fd, &byte, 1), 0);
  ::close(fd);
  EXPECT_EQ(WaitingObjects(), 0u);
}

TEST_F(ListenerTest, AnAllowedTitleIsOneOfItsHost) {
  DicomPeer other = config_.peers[0];
  other.name = "other";
  other.ae_title = "OTHER";
  other.host = "192.0.2.1";
  config_.peers.push_back(other);
  Start();
  calling_ = "OTHER";  // known, but of another host
  EXPECT_NE(Echo().exit_code, 0);
}

TEST_F(ListenerTest, TlsWantsACertificateOfTheHospital) {
  ASSERT_TRUE(MakeTlsFiles(Path("tls")));
  const auto images = WriteSeries(Path("archive"));
  config_.listen.tls = true;
  config_.tls = {Path("tls/site.crt"), Path("tls/site.key"), Path("tls/ca.crt")};
  Start();
  EXPECT_NE(Store(images).exit_code, 0);  // in plain text
  const auto with = [&](const std::string& name) -> std::vector<std::string> {
    return {"+tls", Path("tls/" + name + ".key"), Path("tls/" + name + ".crt"), "+cf",
            Path("tls/ca.crt")};
  };
  tls_ = with("stranger");
  EXPECT_NE(Store(images).exit_code, 0);
  tls_ = {"+tla", "+cf", Path("tls/ca.crt")};  // anonymous
  EXPECT_NE(Store(images).exit_code, 0);
  EXPECT_EQ(WaitingObjects(), 0u);
  tls_ = with("scanner");
  const ProgramResult sent = Store(images);
  EXPECT_EQ(sent.exit_code, 0) << sent.output;
  EXPECT_EQ(WaitingObjects(), images.size());
  // Nothing older than TLS 1.2.
  for (const char* old : {"-tls1_1", "-tls1"}) {
    const ProgramResult handshake = RunProgram(
        {"openssl", "s_client", "-connect", absl::StrCat("127.0.0.1:", listener_->port()), old,
         "-cipher", "ALL:@SECLEVEL=0", "-cert", Path("tls/scanner.crt"), "-key",
         Path("tls/scanner.key")});
    EXPECT_NE(handshake.exit_code, 0) << old << handshake.output;
  }
}

TEST_F(ListenerTest, ACertificateHasToNameTheHostThatDicomYamlNames) {
  ASSERT_TRUE(MakeTlsFiles(Path("tls")));  // of CN=site and CN=scanner
  config_.listen.tls = true;
  config_.tls = {Path("tls/site.crt"), Path("tls/site.key"), Path("tls/ca.crt")};
  config_.peers[0].host = "localhost";
  tls_ = {"+tls", Path("tls/scanner.key"), Path("tls/scanner.crt"), "+cf", Path("tls/ca.crt")};
  Start();
  EXPECT_NE(Echo().exit_code, 0);
  listener_.reset();
  quarantine_.reset();
  ASSERT_TRUE(MakeTlsCertificate(Path("tls"), "localhost"));
  tls_[1] = Path("tls/localhost.key");
  tls_[2] = Path("tls/localhost.crt");
  Start();
  const ProgramResult echoed = Echo();
  EXPECT_EQ(echoed.exit_code, 0) << echoed.output;
}

TEST_F(ListenerTest, AFullQuarantineAnswersA700AndStaysBelowItsLimit) {
  const auto images = WriteSeries(Path("archive"));
  const uint64_t size = FileBytes(images[0]).value();
  config_.quarantine.bytes_max = 3 * size + size / 2;
  config_.quarantine.object_bytes_max = size * 2;
  Start();
  verbosity_ = "-d";
  const ProgramResult sent = Store(images);
  EXPECT_THAT(sent.output, HasSubstr("0xa700"));
  EXPECT_THAT(sent.output, HasSubstr("the quarantine is full"));
  EXPECT_LE(WaitingObjects(), 3u);
  EXPECT_GE(WaitingObjects(), 2u);
  EXPECT_LE(quarantine_->bytes_used(), config_.quarantine.bytes_max);
  // Room comes back when intake has taken what is there.
  const auto sink = [](const PatientOutcome&) { return absl::OkStatus(); };
  ASSERT_TRUE(TakeSettled(Path("home"), *quarantine_, absl::InfiniteFuture(), sink, nullptr).ok());
  EXPECT_EQ(Store({images[0]}).exit_code, 0);
}

TEST_F(ListenerTest, AnObjectThatIsTooLargeIsRefused) {
  const auto images = WriteSeries(Path("archive"));
  config_.quarantine.object_bytes_max = FileBytes(images[0]).value() / 2;
  Start();
  verbosity_ = "-d";
  EXPECT_THAT(Store({images[0]}).output, HasSubstr("the object is too large"));
  EXPECT_EQ(WaitingObjects(), 0u);
  EXPECT_EQ(quarantine_->bytes_used(), 0u);
}

TEST_F(ListenerTest, AnAssociationThatBreaksLeavesNothingUnfinished) {
  const auto images = WriteSeries(Path("archive"));
  Start();
  const size_t whole = Recorded({images[0]}).size();
  ASSERT_EQ(WaitingObjects(), 1u);
  const uint64_t used = quarantine_->bytes_used();
  for (const size_t cut : {whole / 8, whole / 2, whole - whole / 4, whole - 200}) {
    TestRelay relay(listener_->port(), cut);
    EXPECT_NE(RunProgram(Command("storescu", relay.port(), {images[1]})).exit_code, 0) << cut;
  }
  WaitUntilAllHaveEnded();
  EXPECT_TRUE(std::filesystem::is_empty(Path("home/quarantine/in")));
  EXPECT_EQ(WaitingObjects(), 1u);
  EXPECT_EQ(quarantine_->bytes_used(), used);
  EXPECT_EQ(Store({images[2]}).exit_code, 0);
}

TEST_F(ListenerTest, WhatTheSenderWritesIsNoNameOnOurDisk) {
  const auto images = WriteSeries(Path("archive"));
  PatchFiles(images, {{"2.25.1000", "../../../"},
                      {std::string("2.25.11\0", 8), std::string("/../../a")},
                      {"PHANTOM-1", "../../../"}});
  Start();
  const ProgramResult sent = Store(images);
  WaitUntilAllHaveEnded();
  for (const std::string& path : Waiting()) {
    EXPECT_TRUE(absl::StartsWith(path, Path("home/quarantine/")));
    EXPECT_FALSE(absl::StrContains(path, ".."));
  }
  EXPECT_EQ(WaitingObjects(), images.size()) << sent.output;
  EXPECT_EQ(FilesBelowFolder(dir_.path()).size(), 2 * images.size() + 2);  // the key and the lock
}

TEST_F(ListenerTest, TwoAssociationsAtOnce) {
  const auto first = WriteSeries(Path("archive/one"));
  const auto second = WriteOtherPatient(Path("archive/two"));
  Start();
  ProgramResult one, two;
  std::thread other([&] { two = Store(second); });
  one = Store(first);
  other.join();
  EXPECT_EQ(one.exit_code, 0) << one.output;
  EXPECT_EQ(two.exit_code, 0) << two.output;
  EXPECT_EQ(WaitingObjects(), first.size() + second.size());
}

TEST_F(ListenerTest, TooManyAssociationsAreToldSo) {
  config_.listen.associations_max = 1;
  Start();
  const int held = ConnectTo(listener_->port());
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_THAT(Echo().output, HasSubstr("Local Limit Exceeded"));
  ::close(held);
  ProgramResult after;
  for (int i = 0; i < 50 && after.exit_code != 0; ++i) after = Echo();
  EXPECT_EQ(after.exit_code, 0) << after.output;
}

// Sends it all, and waits until the other side has hung up: a process has read it, or died of it.
void SendAll(int port, const std::string& bytes) {
  const int fd = ConnectTo(port);
  ASSERT_GE(fd, 0);
  (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  char buffer[4096];
  while (::read(fd, buffer, sizeof(buffer)) > 0) {
  }
  ::close(fd);
}

std::string BigEndian32(uint32_t number) {
  return {static_cast<char>(number >> 24), static_cast<char>(number >> 16),
          static_cast<char>(number >> 8), static_cast<char>(number)};
}

// A command set that nests sequences until a parser without a bound has no stack left.
std::string DeepCommand(int depth) {
  const std::string sequence("\x40\x00\x75\x02\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
                             16);
  std::string command;
  for (int i = 0; i < depth; ++i) command += sequence;
  std::string pdus;
  for (size_t at = 0; at < command.size(); at += 16384) {
    const std::string part = command.substr(at, 16384);
    const std::string pdv =
        BigEndian32(static_cast<uint32_t>(part.size() + 2)) + std::string("\x01\x01", 2) + part;
    pdus += std::string("\x04\x00", 2) + BigEndian32(static_cast<uint32_t>(pdv.size())) + pdv;
  }
  return pdus;
}

TEST_F(ListenerTest, WhatEndsOneAssociationEndsNoOther) {
  const auto images = WriteSeries(Path("archive"));
  Start();
  const std::string session = Recorded({images[0]});
  const auto* bytes = reinterpret_cast<const unsigned char*>(session.data());
  const size_t request = 6 + (size_t{bytes[2]} << 24 | size_t{bytes[3]} << 16 |
                              size_t{bytes[4]} << 8 | size_t{bytes[5]});
  ASSERT_LT(request, session.size());
  std::vector<std::string> hostile = {
      std::string(100'000, 'A'), std::string("\x01\x00\xff\xff\xff\xff", 6),
      session.substr(0, request) + DeepCommand(200'000),
      session.substr(0, request) + std::string("\x04\x00\xff\xff\xff\xff", 6) +
          std::string(200'000, 'B')};
  for (const std::string& text : hostile) SendAll(listener_->port(), text);
  // Bytes of a good session, damaged in turn.
  for (size_t at = 0; at < session.size(); at += session.size() / 40 + 1) {
    std::string damaged = session;
    damaged[at] = static_cast<char>(damaged[at] ^ 0xFF);
    SendAll(listener_->port(), damaged);
  }
  EXPECT_TRUE(listener_->Running());
  ProgramResult after;
  for (int i = 0; i < 50 && after.exit_code != 0; ++i) after = Echo();
  EXPECT_EQ(after.exit_code, 0) << after.output;
  EXPECT_EQ(Store(images).exit_code, 0);
}

TEST_F(ListenerTest, OnlyWhatTheScannerPassesIsKeptOfHostileObjects) {
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/generated/hostile";
  if (!PathExists(corpus)) GTEST_SKIP() << "no shared corpus";
  Start();
  for (const std::string& path : FilesBelowFolder(corpus)) {
    (void)Store({path});  // many of these storescu does not survive itself
  }
  EXPECT_TRUE(listener_->Running());
  EXPECT_EQ(Echo().exit_code, 0);
  for (const std::string& path : FilesBelowFolder(Path("home/quarantine/patients"))) {
    const std::string bytes = ReadFile(path, 1 << 28).value();
    EXPECT_TRUE(privacy::ScanPreamble(bytes).ok());
  }
}

TEST_F(ListenerTest, StopLetsNobodyInAndLeavesWhatIsThere) {
  const auto images = WriteSeries(Path("archive"));
  Start();
  const int port = listener_->port();
  EXPECT_EQ(Store(images).exit_code, 0);
  listener_->Stop();
  EXPECT_FALSE(listener_->Running());
  EXPECT_LT(ConnectTo(port), 0);
  quarantine_.reset();
  quarantine_.emplace(Quarantine::Open(Path("home"), config_.quarantine).value());
  EXPECT_EQ(quarantine_->Settled(absl::InfiniteFuture())->size(), 1u);
  EXPECT_GT(quarantine_->bytes_used(), 0u);
}

}  // namespace
}  // namespace consilium::agent
