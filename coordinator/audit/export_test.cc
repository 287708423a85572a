// Exports of a log, whole and filtered, and every tampering that FORMAT.md says is found.
#include <algorithm>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "coordinator/audit/entry_view.h"
#include "coordinator/audit/export_verifier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "privacy/transparency/commitment.h"
#include "proto/base/bytes.h"
#include "tests/support/signed_log.h"

namespace consilium::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SignedLog;

SignedLog LogOf(uint64_t size) {
  SignedLog log;
  log.Fill(size);
  return log;
}

AuditReport Verify(const std::string& text, const std::string& policy,
                   const std::string& held = "") {
  const auto parsed = privacy::Policy::Parse(policy);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  const auto report = VerifyExport(TextSource(text), *parsed, held);
  EXPECT_TRUE(report.ok()) << report.status();
  return *report;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  lines.pop_back();
  return lines;
}
std::string Joined(const std::vector<std::string>& lines) {
  return absl::StrJoin(lines, "\n") + "\n";
}
// The place of the line that shows or covers index i.
size_t LineOf(const std::vector<std::string>& lines, uint64_t i) {
  const std::string begin = absl::StrCat("{\"i\":", i, ",");
  for (size_t at = 0; at < lines.size(); ++at) {
    if (lines[at].compare(0, begin.size(), begin) == 0) return at;
  }
  ADD_FAILURE() << "no line for " << i;
  return 0;
}
void Replace(std::string& line, const std::string& from, const std::string& to) {
  const size_t at = line.find(from);
  ASSERT_NE(at, std::string::npos) << from << " in " << line;
  line.replace(at, from.size(), to);
}

// The first bad index, which has to be there.
uint64_t FirstBad(const AuditReport& report) {
  const AuditFinding* first = report.FirstFault();
  EXPECT_NE(first, nullptr);
  EXPECT_TRUE(first != nullptr && first->index.has_value()) << FormatReport(report);
  return first != nullptr && first->index ? *first->index : ~uint64_t{0};
}

TEST(ExportTest, WholeLogsOfEverySizeVerify) {
  SignedLog log;
  for (uint64_t size = 0; size < 600; ++size) {
    if (size > 0) log.Fill(size);
    if (size > 20 && size % 37 > 2 && size % 256 > 2 && size % 256 < 254) continue;
    const AuditReport report = Verify(log.Export(), log.Policy(2));
    EXPECT_TRUE(report.ok()) << size << "\n" << FormatReport(report);
    EXPECT_EQ(report.shown, size);
    EXPECT_EQ(report.withheld, 0u);
    EXPECT_EQ(report.witnesses.size(), 3u);
  }
}

TEST(ExportTest, RangesAndFiltersSayHowManyAreWithheld) {
  const SignedLog log = LogOf(1300);
  for (const auto& [from, to] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 1300}, {1, 1299}, {255, 257}, {256, 512}, {700, 700}, {3, 1200}, {1299, 1300}}) {
    for (const uint64_t step : {1u, 2u, 7u, 300u, 5000u}) {
      const auto shows = [&](uint64_t i) { return i % step == 0; };
      const std::string text = log.Export(from, to, "some", shows);
      const AuditReport report = Verify(text, log.Policy(3));
      EXPECT_TRUE(report.ok()) << from << " " << to << "\n" << FormatReport(report);
      uint64_t wanted = 0;
      for (uint64_t i = from; i < to; ++i) wanted += shows(i);
      EXPECT_EQ(report.shown, wanted);
      EXPECT_EQ(report.shown + report.withheld, to - from);
    }
  }
}

TEST(ExportTest, AFewEntriesOfALongLogAreAShortFile) {
  const SignedLog log = LogOf(20'000);
  const std::string text =
      log.Export(0, 20'000, "one", [](uint64_t i) { return i == 12'345; });
  EXPECT_LT(Lines(text).size(), 40u);
  const AuditReport report = Verify(text, log.Policy(1));
  EXPECT_TRUE(report.ok()) << FormatReport(report);
  EXPECT_EQ(report.withheld, 19'999u);
}

TEST(ExportTest, AlteredEntryIsNamed) {
  const SignedLog log = LogOf(700);
  for (const uint64_t bad : {0u, 255u, 256u, 300u, 699u}) {
    auto lines = Lines(log.Export());
    Replace(lines[LineOf(lines, bad)], "round.commit", "round.commmt");
    const AuditReport report = Verify(Joined(lines), log.Policy(2));
    EXPECT_EQ(FirstBad(report), bad);
    EXPECT_EQ(report.fault_count, 1u) << FormatReport(report);
    EXPECT_THAT(report.FirstFault()->what, HasSubstr("altered"));
  }
}

TEST(ExportTest, TheFirstOfSeveralAlteredEntriesIsNamed) {
  const SignedLog log = LogOf(900);
  auto lines = Lines(log.Export());
  for (const uint64_t bad : {700u, 701u, 290u}) {
    Replace(lines[LineOf(lines, bad)], "round.commit", "round.commmt");
  }
  const AuditReport report = Verify(Joined(lines), log.Policy(2));
  EXPECT_EQ(FirstBad(report), 290u);
  EXPECT_EQ(report.fault_count, 3u);
}

TEST(ExportTest, EntryAlteredInTheStoreConvictsItself) {
  SignedLog log = LogOf(400);
  std::string out;
  auto writer = *privacy::ExportWriter::Start(
      {"trial.example/audit", 0, 400, 400, "", log.Checkpoint()}, log.Nodes(),
      [&out](absl::string_view line) {
        out.append(line.data(), line.size());
        return absl::OkStatus();
      });
  for (uint64_t i = 0; i < 400; ++i) {
    std::string entry = log.entries()[i];
    if (i == 311) Replace(entry, "coordinator", "nobody");
    ASSERT_TRUE(writer.Show(i, entry).ok());
  }
  ASSERT_TRUE(writer.Finish().ok());
  EXPECT_EQ(FirstBad(Verify(out, log.Policy(2))), 311u);
}

TEST(ExportTest, EntryAndItsHashAlteredAreNamedByTheirBlock) {
  const SignedLog log = LogOf(700);
  auto lines = Lines(log.Export());
  std::string entry = log.entries()[300];
  Replace(entry, "round.commit", "round.abort");
  std::string& line = lines[LineOf(lines, 300)];
  Replace(line, "round.commit", "round.abort");
  Replace(line, privacy::HashHex(privacy::LeafHash(log.entries()[300])),
          privacy::HashHex(privacy::LeafHash(entry)));
  const AuditReport report = Verify(Joined(lines), log.Policy(2));
  EXPECT_EQ(FirstBad(report), 256u);
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("this or a later one of entries [256, 512) altered"));
}

TEST(ExportTest, HashAlteredAloneIsNamedAsTheHash) {
  const SignedLog log = LogOf(300);
  auto lines = Lines(log.Export());
  const std::string hash = privacy::HashHex(privacy::LeafHash(log.entries()[17]));
  Replace(lines[LineOf(lines, 17)], hash, std::string(64, '0'));
  const AuditReport report = Verify(Joined(lines), log.Policy(2));
  EXPECT_EQ(FirstBad(report), 17u);
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("its bytes are as signed"));
}

TEST(ExportTest, DroppedMiddleIsNamed) {
  const SignedLog log = LogOf(700);
  auto lines = Lines(log.Export());
  lines.erase(lines.begin() + LineOf(lines, 300));
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 300u);
}

TEST(ExportTest, DroppedAndRenumberedIsNamedByTheEntriesOwnIndex) {
  const SignedLog log = LogOf(700);
  std::string text;
  auto writer = *privacy::ExportWriter::Start(
      {"trial.example/audit", 0, 700, 700, "", log.Checkpoint()}, log.Nodes(),
      [&text](absl::string_view line) {
        text.append(line.data(), line.size());
        return absl::OkStatus();
      });
  for (uint64_t i = 0; i < 699; ++i) {
    ASSERT_TRUE(writer.Show(i, log.entries()[i < 300 ? i : i + 1]).ok());
  }
  ASSERT_TRUE(writer.Finish().ok());
  EXPECT_EQ(FirstBad(Verify(text, log.Policy(2))), 300u);
}

TEST(ExportTest, DroppedTailIsNamed) {
  const SignedLog log = LogOf(700);
  auto lines = Lines(log.Export());
  const auto end = lines.back();
  lines.resize(LineOf(lines, 650));
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 650u);
  lines.push_back(end);  // and with an end line put back
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 650u);
  std::string text = log.Export();
  text.resize(text.size() / 2);  // cut within a line
  const AuditReport cut = Verify(text, log.Policy(2));
  EXPECT_THAT(cut.FirstFault()->what, HasSubstr("cut within"));
  EXPECT_GT(FirstBad(cut), 250u);
}

TEST(ExportTest, ReorderedEntriesAreNamed) {
  const SignedLog log = LogOf(700);
  auto lines = Lines(log.Export());
  std::swap(lines[LineOf(lines, 300)], lines[LineOf(lines, 420)]);
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 300u);
  // The same with the line numbers put right.
  lines = Lines(log.Export());
  std::string& a = lines[LineOf(lines, 300)];
  std::string& b = lines[LineOf(lines, 420)];
  std::swap(a, b);
  Replace(a, "{\"i\":420,", "{\"i\":300,");
  Replace(b, "{\"i\":300,", "{\"i\":420,");
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 300u);
}

TEST(ExportTest, WithheldHashAlteredIsFound) {
  const SignedLog log = LogOf(1000);
  auto lines = Lines(log.Export(0, 1000, "late", [](uint64_t i) { return i > 600; }));
  std::string& line = lines[LineOf(lines, 0)];
  const size_t at = line.find("\"node\":\"") + 8;
  line[at] = line[at] == '0' ? '1' : '0';
  const AuditReport report = Verify(Joined(lines), log.Policy(2));
  ASSERT_FALSE(report.ok());
  EXPECT_FALSE(report.FirstFault()->index.has_value());
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("not shown"));
}

TEST(ExportTest, FalseCountsAreFound) {
  const SignedLog log = LogOf(100);
  auto lines = Lines(log.Export(0, 100, "odd", [](uint64_t i) { return i % 2 == 1; }));
  Replace(lines.back(), "\"withheld\":50", "\"withheld\":0");
  EXPECT_THAT(Verify(Joined(lines), log.Policy(2)).FirstFault()->what, HasSubstr("counts"));
}

TEST(ExportTest, ForgedCheckpointIsFound) {
  const SignedLog log = LogOf(300);
  SignedLog forger(3, 'x');  // same names, other keys
  for (const std::string& entry : log.entries()) forger.Add(entry);
  const AuditReport report = Verify(forger.Export(), log.Policy(2));
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("not signed by the log"));
  EXPECT_THAT(report.witnesses, IsEmpty());
  EXPECT_GE(report.flag_count, 1u);  // keys that the policy does not name
  // The right signatures over a root that was exchanged.
  std::string text = log.Export();
  const std::string root = Base64Encode(privacy::HashBytes(log.root()));
  text = absl::StrReplaceAll(text, {{root, Base64Encode(std::string(32, 'r'))}});
  EXPECT_THAT(Verify(text, log.Policy(2)).FirstFault()->what, HasSubstr("not signed by the log"));
}

TEST(ExportTest, UnknownKeysDoNotCount) {
  const SignedLog log = LogOf(10);
  const SignedLog other(1, 'q');
  std::string policy = other.Policy(1);
  const AuditReport report = Verify(log.Export(), policy);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.flag_count, 4u);
  EXPECT_THAT(report.flags[0].what, HasSubstr("which the policy does not name"));
}

TEST(ExportTest, LostQuorumIsFound) {
  const SignedLog log = LogOf(300);
  const auto all = [](uint64_t) { return true; };
  const std::string text = log.Export(0, 300, "", all, log.Checkpoint(1));
  EXPECT_TRUE(Verify(text, log.Policy(1)).ok());
  const AuditReport report = Verify(text, log.Policy(2));
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("policy"));
  EXPECT_THAT(report.witnesses, ElementsAre("site-0.example/witness"));
}

TEST(ExportTest, TwoLogsOfOneSizeAreAFork) {
  const SignedLog log = LogOf(513);
  SignedLog fork;
  fork.Fill(200);
  fork.AddEvent("round.abort", 1'700'000'000'300'000);
  fork.Fill(513);
  const AuditReport report = Verify(fork.Export(), log.Policy(2), log.Checkpoint());
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("FORK"));
}

TEST(ExportTest, HeldCheckpointIsContinued) {
  SignedLog log = LogOf(333);
  const std::string held = log.Checkpoint();
  log.Fill(900);
  const AuditReport report = Verify(log.Export(), log.Policy(2), held);
  EXPECT_TRUE(report.ok()) << FormatReport(report);
  EXPECT_THAT(report.consistency, HasSubstr("continues the held checkpoint of 333"));
  // A range that begins there shows it as well, another does not and says so.
  const auto all = [](uint64_t) { return true; };
  EXPECT_TRUE(Verify(log.Export(333, 900, "", all), log.Policy(2), held).ok());
  EXPECT_THAT(Verify(log.Export(700, 900, "", all), log.Policy(2), held).FirstFault()->what,
              HasSubstr("cannot show"));
}

TEST(ExportTest, RewrittenHistoryIsFoundByAHeldCheckpoint) {
  SignedLog log = LogOf(333);
  const std::string held = log.Checkpoint();
  SignedLog rewritten;
  rewritten.Fill(100);
  rewritten.AddEvent("round.abort", 1'700'000'000'200'000);
  rewritten.Fill(900);
  EXPECT_TRUE(Verify(rewritten.Export(), log.Policy(2)).ok());  // it is validly signed
  EXPECT_THAT(Verify(rewritten.Export(), log.Policy(2), held).FirstFault()->what,
              HasSubstr("history was rewritten"));
}

TEST(ExportTest, RolledBackLogIsFoundByAHeldCheckpoint) {
  SignedLog log = LogOf(700);
  const SignedLog old = LogOf(600);
  const AuditReport report = Verify(old.Export(), log.Policy(2), log.Checkpoint());
  EXPECT_EQ(FirstBad(report), 600u);
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("its tail is missing"));
}

TEST(ExportTest, ClockSetBackIsFlagged) {
  SignedLog log;
  log.AddEvent("a", 1'000'000);
  log.AddEvent("b", 3'000'000);
  log.AddEvent("c", 2'000'000);
  log.AddEvent("d", 2'500'000);
  log.AddEvent("e", 3'000'001);
  const AuditReport report = Verify(log.Export(), log.Policy(2));
  EXPECT_TRUE(report.ok());
  ASSERT_EQ(report.flag_count, 2u);
  EXPECT_EQ(report.flags[0].index, 2u);
  EXPECT_THAT(report.flags[0].what, HasSubstr("1000000 us before"));
}

class DisclosureTest : public ::testing::Test {
 protected:
  DisclosureTest() {
    log_.Fill(3);
    log_.Add(absl::StrCat("{\"action\":\"site.approve\",\"actor\":{\"commit\":\"", alice_.hex,
                          "\"},\"index\":3,\"role\":\"admin\",\"time_us\":1700000000900000,"
                          "\"v\":2}"));
  }
  std::string Export(const privacy::OpenedCommitment& opened) {
    std::string out;
    auto writer = *privacy::ExportWriter::Start(
        {"trial.example/audit", 0, 4, 4, "", log_.Checkpoint()}, log_.Nodes(),
        [&out](absl::string_view line) {
          out.append(line.data(), line.size());
          return absl::OkStatus();
        });
    EXPECT_TRUE(writer.Show(3, log_.entries()[3], {opened}).ok());
    EXPECT_TRUE(writer.Finish().ok());
    return out;
  }

  const privacy::Commitment alice_ = privacy::Commit("alice");
  SignedLog log_;
};

TEST_F(DisclosureTest, DisclosedNameIsVerifiedAndShown) {
  const std::string text = Export({alice_.hex, alice_.salt, "alice"});
  const auto policy = privacy::Policy::Parse(log_.Policy(2));
  std::string actor;
  ExportVisit visit;
  visit.on_entry = [&](const ExportLine& line) {
    actor = MakeEntryRow(*ReadEntryView(line.entry, line.opened)).actor;
    return absl::OkStatus();
  };
  const auto report = VerifyExport(TextSource(text), *policy, "", visit);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->ok()) << FormatReport(*report);
  EXPECT_EQ(report->disclosed, 1u);
  EXPECT_EQ(actor, "alice (admin)");
}

TEST_F(DisclosureTest, FalseNameIsNamed) {
  EXPECT_EQ(FirstBad(Verify(Export({alice_.hex, alice_.salt, "bob"}), log_.Policy(2))), 3u);
  const privacy::Commitment foreign = privacy::Commit("bob");
  EXPECT_EQ(FirstBad(Verify(Export({foreign.hex, foreign.salt, "bob"}), log_.Policy(2))), 3u);
}

TEST_F(DisclosureTest, WithoutDisclosureTheNameIsNotThere) {
  EXPECT_EQ(MakeEntryRow(*ReadEntryView(log_.entries()[3])).actor,
            absl::StrCat("commitment ", alice_.hex.substr(0, 8), ".. (admin)"));
}

TEST(ExportTest, EntryThatIsNotUtf8IsCarriedExactly) {
  SignedLog log;
  log.Add("{\"action\":\"\xff\",\"index\":0,\"time_us\":1,\"v\":2}");
  const std::string text = log.Export();
  EXPECT_THAT(text, HasSubstr("\"entry64\""));
  const AuditReport report = Verify(text, log.Policy(2));
  EXPECT_EQ(FirstBad(report), 0u);  // carried, but no entry of ours
  EXPECT_THAT(report.FirstFault()->what, HasSubstr("not an entry"));
}

TEST(ExportTest, WhatIsNoExportIsSaid) {
  const SignedLog log = LogOf(2);
  const auto policy = privacy::Policy::Parse(log.Policy(1));
  for (const std::string text : {"", "\n", "{}\n", "[1]\n", "hello", "{\"end\":true,\"shown\":0,\"withheld\":0}\n"}) {
    EXPECT_EQ(VerifyExport(TextSource(text), *policy, "").status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(ExportTest, LinesThatDoNotReadAreNamed) {
  const SignedLog log = LogOf(40);
  const auto good = Lines(log.Export());
  for (const std::string& line :
       {std::string("{"), std::string("{}"), std::string("{\"i\":20,\"n\":3,\"node\":\"00\"}"),
        std::string("{\"i\":20,\"i\":21}"), std::string(2'000'000, 'x'),
        std::string("{\"i\":-1,\"entry\":\"\"}"), std::string(100'000, '['),
        "{\"i\":20,\"open\":" + std::string(60, '{')}) {
    auto lines = good;
    lines[LineOf(lines, 20)] = line;
    EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 20u) << line.substr(0, 50);
  }
}

TEST(ExportTest, NodeThatReachesIntoTheRangeIsRefused) {
  const SignedLog log = LogOf(64);
  auto lines = Lines(log.Export(16, 64, "none", [](uint64_t) { return false; }));
  Replace(lines[0], "\"from\":16", "\"from\":8");  // claims to cover more
  EXPECT_EQ(FirstBad(Verify(Joined(lines), log.Policy(2))), 0u);
}

TEST(ExportTest, EveryChangedByteOfASmallExportIsFoundOrHarmless) {
  const SignedLog log = LogOf(5);
  const std::string text = log.Export(1, 5, "even", [](uint64_t i) { return i % 2 == 0; });
  const auto policy = privacy::Policy::Parse(log.Policy(3));
  for (size_t at = 0; at < text.size(); ++at) {
    std::string bad = text;
    bad[at] ^= 1;
    const auto report = VerifyExport(TextSource(bad), *policy, "");
    if (!report.ok() || !report->ok()) continue;
    // Only the filter's words are unsigned, and JSON's own freedom (an unknown key).
    const std::string around = text.substr(at < 12 ? 0 : at - 12, 24);
    EXPECT_TRUE(report->filter != "even" || around.find("\"end\"") != std::string::npos)
        << at << ": " << around;
  }
}

// What FORMAT.md shows as an example has to be what is written.
TEST(ExportTest, LinesAreThoseOfTheFormat) {
  const SignedLog log = LogOf(3);
  const auto lines = Lines(log.Export(0, 3, "f", [](uint64_t i) { return i > 0; }));
  ASSERT_EQ(lines.size(), 6u);
  const auto header = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(header["consilium_audit_export"], 1);
  EXPECT_EQ(header["checkpoint"], log.Checkpoint());
  EXPECT_EQ(nlohmann::json::parse(lines[1])["n"], 1);
  EXPECT_EQ(nlohmann::json::parse(lines[2])["entry"], log.entries()[1]);
  EXPECT_EQ(nlohmann::json::parse(lines[4]), nlohmann::json::parse("{\"tile\":0,\"proof\":[]}"));
  EXPECT_EQ(nlohmann::json::parse(lines[5]),
            nlohmann::json::parse("{\"end\":true,\"shown\":2,\"withheld\":1}"));
}

}  // namespace
}  // namespace consilium::coordinator
