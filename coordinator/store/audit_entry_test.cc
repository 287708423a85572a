#include "coordinator/store/audit_entry.h"

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/commitment.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

AuditFacts Approval() {
  AuditFacts facts;
  facts.actor = "alice";
  facts.role = "admin";
  facts.action = "site.approve";
  facts.site = "north";
  facts.before = "pending";
  facts.after = "approved";
  facts.reason = "spoke to Dr. Jansen";
  return facts;
}

TEST(AuditEntryTest, KeysAreSortedAndTheStampIsInItsPlace) {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "round.commit";
  facts.study = "hippo";
  facts.round = 3;
  facts.version = "hippo/3";
  facts.digest = "ab";
  facts.count = 4;
  facts.request = "r1";
  const AuditDraft draft(facts, {.boot = "b", .software = "1.0"});
  EXPECT_EQ(draft.Seal({.index = 7, .time_us = 5, .mono_us = 2, .clock_back_us = 9}),
            R"({"action":"round.commit","actor":"coordinator","boot":"b","clock_back":9,"count":4,)"
            R"("digest":"ab","index":7,"mono_us":2,"outcome":"ok","request":"r1",)"
            R"("role":"coordinator","round":3,"study":"hippo","sw":"1.0","time_us":5,"v":2,)"
            R"("version":"hippo/3"})");
  EXPECT_THAT(draft.secrets(), SizeIs(0));
}

TEST(AuditEntryTest, WhatNamesAPersonIsOnlyCommittedTo) {
  const AuditDraft draft(Approval(), {});
  const std::string json = draft.Seal({.index = 1, .time_us = 1});
  EXPECT_THAT(json, Not(HasSubstr("alice")));
  EXPECT_THAT(json, Not(HasSubstr("Jansen")));
  EXPECT_THAT(json, HasSubstr("\"site\":\"north\""));
  ASSERT_THAT(draft.secrets(), SizeIs(2));
  EXPECT_THAT(json, HasSubstr(privacy::CommitmentHex(draft.secrets()[0].salt, "alice")));
  EXPECT_NE(json, AuditDraft(Approval(), {}).Seal({.index = 1, .time_us = 1})) << "salts are fresh";

  const auto open = DecodeAudit(json, draft.secrets());
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_EQ(open->facts.actor, "alice");
  EXPECT_EQ(open->facts.reason, "spoke to Dr. Jansen");
  EXPECT_EQ(DecodeAudit(json)->facts.actor, "") << "erased";
  EXPECT_THAT(*ReadableAudit(json, draft.secrets()), HasSubstr("\"actor\":\"alice\""));
  EXPECT_THAT(*ReadableAudit(json, {}), HasSubstr("\"actor\":\"(erased)\""));
}

TEST(AuditEntryTest, DisclosureOfAnotherValueIsDataLoss) {
  const AuditDraft draft(Approval(), {});
  std::vector<AuditDisclosure> secrets = draft.secrets();
  secrets[0].value = "bob";
  EXPECT_TRUE(absl::IsDataLoss(DecodeAudit(draft.Seal({}), secrets).status()));
}

TEST(AuditEntryTest, UnknownCallersArePersonsUnlessTheyAreTheSite) {
  AuditFacts facts;
  facts.actor = "mallory";
  facts.role = "none";
  facts.action = "task.next";
  facts.outcome = "refused";
  EXPECT_THAT(EncodeAudit(facts, {}), Not(HasSubstr("mallory")));
  facts.site = facts.actor = "north";
  EXPECT_THAT(EncodeAudit(facts, {}), HasSubstr("\"actor\":\"north\""));
  facts.actor = "unknown";
  EXPECT_THAT(EncodeAudit(facts, {}), HasSubstr("\"actor\":\"unknown\""));
}

TEST(AuditEntryTest, TextIsBoundedWellFormedAndEscaped) {
  AuditFacts facts;
  facts.actor = "coordinator";
  facts.action = "a\"\\\n\x01\x80";
  facts.reason = std::string(kAuditTextBytesMax - 1, 'x') + "\xC3\xA9";  // cut before the letter
  facts.before = std::string(kAuditTextBytesMax + 100, '\x02');
  const std::string json = EncodeAudit(facts, {});
  EXPECT_THAT(json, HasSubstr(R"("action":"a\"\\\n\u0001)" "\xEF\xBF\xBD\""));
  EXPECT_LE(json.size(), kAuditEntryBytesMax);
  const auto view = DecodeAudit(json);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->facts.reason, std::string(kAuditTextBytesMax - 1, 'x'));
}

TEST(AuditEntryTest, EntriesOfTheFirstFormStillRead) {
  const auto view = DecodeAudit(
      R"({"action":"site.approve","actor":"alice","index":3,"outcome":"ok","time_us":9,"v":1})");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->version, 1);
  EXPECT_EQ(view->facts.actor, "alice");
  for (const char* wrong : {"", "[]", R"({"v":3,"index":1,"time_us":1})", R"({"v":2,"time_us":1})",
                            R"({"v":2,"index":-1,"time_us":1})"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeAudit(wrong).status())) << wrong;
  }
}

}  // namespace
}  // namespace consilium::coordinator
