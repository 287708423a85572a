#include "site_agent/round/site_atna.h"

#include <cstdlib>
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/atna/test_repository.h"
#include "proto/base/file.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SiteAtnaTest : public ::testing::Test {
 protected:
  SiteAtnaTest()
      : home_(*TempDir::Create("site-atna")), pki_(home_.path()), port_(privacy::FreePort()) {
    log_ = *SiteLog::Open({.home = home_.path(), .federation = "fed", .site = "north"},
                          Clock::System());
  }
  SiteAtnaOptions Options() const {
    return {.home = home_.path(),
            .federation = "fed",
            .site = "north",
            .settings = {absl::StrCat("127.0.0.1:", port_), "ca.crt", "client.crt",
                         pki_.Path("client.key")},
            .every = absl::Milliseconds(50)};
  }
  // A run of the agent: its feed, and what happens meanwhile.
  void Run(const std::vector<SiteEvent>& events) {
    auto feed = OpenSiteAtna(Options(), Clock::System());
    ASSERT_TRUE(feed.ok()) << feed.status();
    ASSERT_NE(*feed, nullptr);
    (*feed)->Start();
    for (const SiteEvent& event : events) ASSERT_TRUE(log_->Record(event).ok());
    (*feed)->Finish();
  }
  std::vector<std::string> Spooled() const {
    std::vector<std::string> names, texts;
    for (const auto& entry : std::filesystem::directory_iterator(home_.path() + "/atna/spool")) {
      if (entry.path().extension() == ".msg") names.push_back(entry.path());
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) texts.push_back(*ReadFile(name, 1 << 16));
    return texts;
  }
  // What the newest entry of the log becomes: "EventID/type" of each message.
  std::vector<std::string> Codes(const SiteEvent& event) {
    EXPECT_TRUE(log_->Record(event).ok());
    std::vector<std::string> codes;
    for (const privacy::AtnaEvent& made : AtnaEventsOf(LastSiteEvents(home_.path(), 1)->front())) {
      codes.push_back(made.id.code);
      if (!made.types.empty()) codes.back() += "/" + made.types[0].code;
      if (made.outcome != privacy::AtnaOutcome::kSuccess) codes.back() += " failed";
    }
    return codes;
  }

  TempDir home_;
  privacy::Pki pki_;
  int port_;
  std::unique_ptr<SiteLog> log_;
};

TEST_F(SiteAtnaTest, EntriesBecomeTheEventsThatTheStandardHas) {
  EXPECT_THAT(Codes({.action = "agent.start"}), ElementsAre("110100/110120"));
  EXPECT_THAT(Codes({.action = "agent.stop"}), ElementsAre("110100/110121"));
  EXPECT_THAT(Codes({.action = "ingest.run", .count = 3}), ElementsAre("110104", "110103"));
  EXPECT_THAT(Codes({.action = "task.take.train"}), IsEmpty());
  EXPECT_THAT(Codes({.action = "task.finish.train", .count = 3}), ElementsAre("110103"));
  EXPECT_THAT(Codes({.action = "task.finish.train", .outcome = "failed", .reason = "no case"}),
              ElementsAre("110103 failed"));
  EXPECT_THAT(Codes({.action = "task.finish.initialise"}), IsEmpty()) << "reads no case";
  EXPECT_THAT(Codes({.action = "update.deliver"}), ElementsAre("110106/model-update"));
  EXPECT_THAT(Codes({.action = "update.deliver", .outcome = "refused"}),
              ElementsAre("110106/model-update failed")) << "it has left the house all the same";
  EXPECT_THAT(Codes({.action = "model.receive"}), ElementsAre("110107/global-model"));
  EXPECT_THAT(Codes({.action = "checkpoint.refuse", .outcome = "refused", .reason = "forked"}),
              ElementsAre("110113/110126 failed"));
  EXPECT_THAT(Codes({.action = "task.decline"}), ElementsAre("110113/110132 failed"));
  EXPECT_THAT(Codes({.action = "certificate.renew"}), ElementsAre("110113/110129"));
  EXPECT_THAT(Codes({.action = "certificate.renew", .outcome = "refused"}),
              ElementsAre("110113/110126 failed"));
  EXPECT_THAT(Codes({.action = "site.enrol"}), ElementsAre("110113/110129"));
  EXPECT_THAT(Codes({.action = "audit.export"}), ElementsAre("110101"));
  EXPECT_THAT(Codes({.action = "checkpoint.cosign"}), IsEmpty());
  EXPECT_THAT(AtnaEventsOf("no JSON"), IsEmpty());
  EXPECT_THAT(AtnaEventsOf("[1]"), IsEmpty());
  EXPECT_THAT(AtnaEventsOf("{\"action\":7}"), IsEmpty());
}

TEST_F(SiteAtnaTest, WithoutARepositoryThereIsNoFeed) {
  SiteAtnaOptions options = Options();
  options.settings.repository.clear();
  EXPECT_EQ(*OpenSiteAtna(options, Clock::System()), nullptr);
  options.settings.repository = "nowhere";
  EXPECT_TRUE(absl::IsInvalidArgument(OpenSiteAtna(options, Clock::System()).status()));
  options = Options();
  options.settings.key = "no.key";
  EXPECT_FALSE(OpenSiteAtna(options, Clock::System()).ok());
}

TEST_F(SiteAtnaTest, TheLogIsReportedOnceAcrossAnOutageAndARestart) {
  ASSERT_TRUE(log_->Record({.action = "site.enrol"}).ok());  // before the first start: not reported
  Run({{.action = "agent.start"}, {.action = "ingest.run", .count = 5}, {.action = "agent.stop"}});
  ASSERT_THAT(Spooled(), SizeIs(4));
  EXPECT_THAT(Spooled()[0], HasSubstr("Application Start"));
  EXPECT_THAT(Spooled()[1], HasSubstr("urn:consilium:ingest:"));
  // Another program of the home, while the agent is down.
  ASSERT_TRUE(log_->Record({.action = "audit.export"}).ok());
  Run({{.action = "agent.start"}});
  ASSERT_THAT(Spooled(), SizeIs(6));
  EXPECT_THAT(Spooled()[4], HasSubstr("Audit Log Used"));
  EXPECT_EQ(privacy::ReadAtnaBacklog(home_.path())->waiting, 6u);
  EXPECT_EQ(privacy::ReadAtnaBacklog(home_.path())->dropped, 0u);

  if (!privacy::HasRsyslog()) {
    GTEST_SKIP() << "rsyslogd with GnuTLS (rsyslog-gnutls) is not installed";
  }
  ASSERT_TRUE(MakeDirs(home_.path() + "/rsyslog").ok());
  privacy::Rsyslog repository(home_.path() + "/rsyslog", pki_, port_);
  repository.Start();
  auto feed = OpenSiteAtna(Options(), Clock::System());
  ASSERT_TRUE(feed.ok()) << feed.status();
  (*feed)->Start();
  ASSERT_TRUE(log_->Record({.action = "update.deliver", .study = "hippo", .round = 1}).ok());
  EXPECT_TRUE(privacy::Eventually([&] { return repository.Lines().size() == 7; }));
  EXPECT_TRUE(privacy::Eventually(
      [&] { return privacy::ReadAtnaBacklog(home_.path())->waiting == 0; }));
  (*feed)->Finish();
  const std::vector<std::string> lines = repository.Lines();
  ASSERT_THAT(lines, SizeIs(7));
  EXPECT_THAT(lines[0], HasSubstr("Application Start"));
  EXPECT_THAT(lines[6], HasSubstr("model-update"));
  if (std::system("command -v xmllint >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "xmllint (package libxml2-utils) is not installed";
  }
  std::string files;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string path = absl::StrCat(home_.path(), "/", i, ".xml");
    ASSERT_TRUE(WriteFileAtomic(path, lines[i].substr(lines[i].find("<AuditMessage"))).ok());
    absl::StrAppend(&files, " ", path);
  }
  EXPECT_EQ(std::system(absl::StrCat("xmllint --noout --schema ", CONSILIUM_SOURCE_DIR,
                                     "/privacy/atna/audit_message.xsd", files, " 2>&1")
                            .c_str()),
            0);
}

}  // namespace
}  // namespace consilium::agent
