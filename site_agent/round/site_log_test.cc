#include "site_agent/round/site_log.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/policy.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class SiteLogTest : public testing::Test {
 protected:
  std::unique_ptr<SiteLog> Open(const std::string& site) {
    auto log = SiteLog::Open({.home = home(),
                              .federation = site.empty() ? "" : "testfed",
                              .site = site,
                              .software_version = "1.2.3"},
                             Clock::System());
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  std::string home() const { return dir_.path(); }
  TempDir dir_ = *TempDir::Create("site-log");
};

TEST_F(SiteLogTest, AnEntryIsCanonicalJsonWithItsIndex) {
  auto log = Open("site-a");
  ASSERT_TRUE(log->Record({.action = "agent.start"}).ok());
  ASSERT_TRUE(log->Record({.action = "task.take", .study = "hippocampus", .round = 3,
                           .request = "t-1"}).ok());
  const auto events = LastSiteEvents(home(), 10);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_THAT(*events, SizeIs(2));
  const auto json = nlohmann::json::parse(events->at(1));
  EXPECT_EQ(json.dump(), events->at(1));  // sorted, no spaces
  EXPECT_EQ(json["index"], 1);
  EXPECT_EQ(json["v"], 2);
  EXPECT_EQ(json["action"], "task.take");
  EXPECT_EQ(json["outcome"], "ok");
  EXPECT_EQ(json["site"], "site-a");
  EXPECT_EQ(json["round"], 3);
  EXPECT_EQ(json["sw"], "1.2.3");
  EXPECT_FALSE(json.contains("reason"));
  EXPECT_THAT(*LastSiteEvents(home(), 1), SizeIs(1));
}

TEST_F(SiteLogTest, KeepsTheNameThatItWasMadeWith) {
  ASSERT_TRUE(Open("")->Record({.action = "ingest.run", .count = 4}).ok());
  const auto before = VerifySiteLog(home());
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_THAT(before->origin, HasSubstr("site-"));
  ASSERT_TRUE(Open("site-a")->Record({.action = "site.enrol"}).ok());
  const auto after = VerifySiteLog(home());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->vkey, before->vkey);
  EXPECT_EQ(after->entries, 2u);
}

TEST_F(SiteLogTest, TwoProgramsWriteOneLog) {
  auto service = Open("site-a"), command = Open("site-a");
  ASSERT_TRUE(service->Record({.action = "agent.start"}).ok());
  ASSERT_TRUE(command->Record({.action = "ingest.run"}).ok());
  ASSERT_TRUE(service->Record({.action = "agent.stop"}).ok());
  EXPECT_EQ(VerifySiteLog(home())->entries, 3u);
}

TEST_F(SiteLogTest, AnAlteredEntryIsNamed) {
  auto log = Open("site-a");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(log->Record({.action = "agent.start"}).ok());
  const std::string path = JoinPath(home(), "log/tile/entries/000");
  std::string bytes = *ReadFile(path, 1 << 20);
  bytes[bytes.find("\"index\":2") + 8] = '9';
  std::ofstream(path, std::ios::binary) << bytes;
  const absl::Status status = VerifySiteLog(home()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("entry 2 was altered"));
}

TEST_F(SiteLogTest, AnExportHasItsPolicyBeside) {
  EXPECT_EQ(ExportSiteLog(home(), JoinPath(home(), "x.jsonl")).code(),
            absl::StatusCode::kNotFound);
  auto log = Open("site-a");
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(log->Record({.action = "agent.start"}).ok());
  const std::string path = JoinPath(home(), "x.jsonl");
  ASSERT_TRUE(ExportSiteLog(home(), path).ok());
  const std::string text = *ReadFile(path, 1 << 20);
  const auto policy = privacy::Policy::Parse(*ReadFile(path + ".policy", 1 << 20));
  ASSERT_TRUE(policy.ok()) << policy.status();
  const auto header = nlohmann::json::parse(text.substr(0, text.find('\n')));
  const auto verdict = privacy::CheckPolicy(header["checkpoint"].get<std::string>(), *policy);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->checkpoint.size, 20u);
  EXPECT_THAT(text, HasSubstr("\"shown\":20,\"withheld\":0"));
}

}  // namespace
}  // namespace consilium::agent
