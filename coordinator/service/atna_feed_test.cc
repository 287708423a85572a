#include "coordinator/service/atna_feed.h"

#include <filesystem>

#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;

AuditFacts Facts(const std::string& action, const std::string& outcome = "ok") {
  AuditFacts facts;
  facts.actor = "admin";
  facts.action = action;
  facts.outcome = outcome;
  facts.site = "north";
  return facts;
}

TEST(AtnaFeedTest, ActionsBecomeTheEventsThatTheStandardHas) {
  const auto code = [](const AuditFacts& facts) -> std::string {
    const auto event = AtnaEventOf(facts);
    if (!event) return "";
    return event->types.empty() ? event->id.code : event->id.code + "/" + event->types[0].code;
  };
  EXPECT_EQ(code(Facts("coordinator.start")), "110100/110120");
  EXPECT_EQ(code(Facts("coordinator.stop")), "110100/110121");
  EXPECT_EQ(code(Facts("update.accept")), "110107/model-update");
  EXPECT_EQ(code(Facts("task.next", "refused")), "110113/110126");
  EXPECT_EQ(code(Facts("site.enrol")), "110113/110129");
  EXPECT_EQ(code(Facts("site.approve")), "110113/110136");
  EXPECT_EQ(code(Facts("study.start")), "110113/110131");
  EXPECT_EQ(code(Facts("audit.export")), "110101");
  EXPECT_EQ(code(Facts("cohort.report")), "");
  EXPECT_EQ(code(Facts("site.software")), "");
}

std::vector<std::string> Spooled(const std::string& home) {
  std::vector<std::string> names, texts;
  for (const auto& entry : std::filesystem::directory_iterator(home + "/atna/spool")) {
    if (entry.path().extension() == ".msg") names.push_back(entry.path());
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) texts.push_back(ReadFile(name, 1 << 16).value_or(""));
  return texts;
}

TEST(AtnaFeedTest, TheLogIsReportedOnceAcrossARestart) {
  TestFederation federation;
  federation.Stop();
  // Nobody listens there: everything stays in the spool, where it can be looked at.
  federation.options().atna_repository = "127.0.0.1:1";
  federation.options().atna_ca = "ca/ca.crt";
  federation.options().atna_certificate = "admin/client.crt";
  federation.options().atna_key = "admin/client.key";
  federation.Start();
  const auto site = federation.AddSite("north");
  federation.Stop();
  std::vector<std::string> texts = Spooled(federation.home());
  ASSERT_EQ(texts.size(), 5u);  // start, invitation, enrolment, approval, stop; not the time before
  EXPECT_THAT(texts[0], HasSubstr("Application Start"));
  EXPECT_THAT(texts[2], HasSubstr("site north"));
  EXPECT_THAT(texts[4], HasSubstr("Application Stop"));
  federation.Start();
  federation.Stop();
  texts = Spooled(federation.home());
  ASSERT_EQ(texts.size(), 7u);
  EXPECT_THAT(texts[5], HasSubstr("Application Start"));
}

}  // namespace
}  // namespace consilium::coordinator
