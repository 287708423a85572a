#include "coordinator/cli/format.h"

#include <limits>

#include "coordinator/cli/audit_time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

v1::Study SomeStudy() {
  v1::Study study;
  study.set_name("hippocampus");
  study.set_state("running");
  study.set_round(3);
  study.set_rounds(20);
  study.set_round_phase("training");
  study.set_latest_version("hippocampus/2");
  study.add_label_names("Anterior");
  study.add_label_names("Posterior");
  v1::StudySite* site = study.add_sites();
  site->set_name("amc");
  site->set_role("trainer");
  site->set_phase("training");
  site->set_done(12);
  site->set_total(20);
  site->set_loss(0.4123);
  site->set_cases(80);
  site->set_bytes_up(3 << 20);
  site->set_bytes_down(512);
  (*site->mutable_rejected_by_reason())["too few slices"] = 4;
  v1::Evaluation* evaluation = study.add_evaluations();
  evaluation->set_version("hippocampus/2");
  for (const char* name : {"amc", "umc"}) {
    v1::SiteEvaluation* one = evaluation->add_sites();
    one->set_site(name);
    one->set_role("trainer");
    const bool first = std::string(name) == "amc";
    one->add_mean_dice(first ? 0.8 : 0.6);
    one->add_mean_dice(first ? 0.7 : kNaN);
    for (int i = 0; i < (first ? 1 : 3); ++i) {
      v1::CaseDice* dice = one->add_cases();
      dice->add_dice(first ? 0.8 : 0.6);
      dice->add_dice(first ? 0.7 : kNaN);
    }
  }
  return study;
}

TEST(FormatStudyTest, DiceTableHasEachSiteEachStructureAndAllCases) {
  EXPECT_EQ(FormatEvaluations(SomeStudy()),
            "version        site  role     cases  Anterior  Posterior  mean\n"
            "hippocampus/2  amc   trainer      1     0.800      0.700  0.750\n"
            "hippocampus/2  umc   trainer      3     0.600  -          0.600\n"
            "hippocampus/2  all   -            4     0.650      0.700  0.675\n");
}

TEST(FormatStudyTest, ShowsStateSitesRejectionsAndTraffic) {
  const std::string text = FormatStudy(SomeStudy());
  for (const char* part : {"state   running", "round   3 of 20, training", "60 %", "0.4123",
                           "3.0 MiB", "512 B", "too few slices", "hippocampus/2"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(FormatStudyTest, PromisesAndWarningsAreLines) {
  v1::Study study = SomeStudy();
  EXPECT_EQ(FormatPromise(study), "");
  study.add_promises("protection: sealed. \x1b[2JAll of it.");
  study.add_warnings("protection: two sites");
  EXPECT_EQ(FormatPromise(study),
            "protection: sealed.  [2JAll of it.\nwarning: protection: two sites\n");
  EXPECT_THAT(FormatStudy(study), HasSubstr("\nwarning: protection: two sites\n"));
}

TEST(FormatStudyTest, ForeignTextCannotMoveTheCursor) {
  v1::Study study = SomeStudy();
  study.set_reason("bad\x1b[2Jthing\n");
  study.mutable_sites(0)->set_phase("x\x1b[1A");
  EXPECT_THAT(FormatStudy(study), Not(HasSubstr("\x1b")));
  EXPECT_THAT(FormatWatch(study, absl::UnixEpoch()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(WatchFacts(study).at("1 study"), Not(HasSubstr("\x1b")));
}

TEST(FormatStudyTest, EmptyStudyAndMoreDiceThanLabelsAreHarmless) {
  EXPECT_THAT(FormatStudy(v1::Study()), HasSubstr("No site"));
  v1::Study study = SomeStudy();
  study.clear_label_names();
  EXPECT_THAT(FormatEvaluations(study), HasSubstr("umc"));
}

TEST(WatchFactsTest, ChangeWithPhaseAndEachTenthOnly) {
  v1::Study study = SomeStudy();
  const auto before = WatchFacts(study);
  EXPECT_EQ(before.at("2 amc"), "site amc: training 60 %, loss 0.4123");
  study.mutable_sites(0)->set_done(13);
  EXPECT_EQ(WatchFacts(study), before);
  study.mutable_sites(0)->set_done(14);
  EXPECT_NE(WatchFacts(study), before);
}

TEST(FormatStudyTest, CountersAreShownAndAStalledSiteSaysWhereItStands) {
  v1::Study study = SomeStudy();
  study.mutable_sites(0)->set_counters("step 12 of 20");
  EXPECT_THAT(FormatStudy(study), HasSubstr("60 %, step 12 of 20"));
  study.mutable_sites(0)->set_phase("stalled");
  EXPECT_EQ(WatchFacts(study).at("2 amc"), "site amc: stalled at step 12 of 20, loss 0.4123");
  v1::Site site;
  site.set_working_on("hippocampus: step 12 of 20");
  site.set_advanced_unix(1'700'000'000);
  EXPECT_THAT(FormatSite(site, absl::FromUnixSeconds(1'700'000'600)),
              HasSubstr("hippocampus: step 12 of 20, advanced 10 min ago"));
}

TEST(FormatTest, TimesAndAges) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(FormatTime(1'700'000'000), "2023-11-14 22:13:20Z");
  EXPECT_EQ(FormatTime(0), "-");
  EXPECT_EQ(FormatAge(0, now), "never");
  EXPECT_EQ(FormatAge(1'699'999'970, now), "30 s ago");
  EXPECT_EQ(FormatAge(1'699'990'000, now), "2 h ago");
  EXPECT_EQ(FormatAge(1'700'000'100, now), "0 s ago");
}

TEST(FormatTest, SitesRoundsReleasesAndAudit) {
  v1::ListSitesReply sites;
  EXPECT_THAT(FormatSites(sites, absl::UnixEpoch()), HasSubstr("site invite"));
  v1::Site* site = sites.add_sites();
  site->set_name("amc");
  site->set_key_sha256("0123456789abcdef");
  EXPECT_THAT(FormatSites(sites, absl::UnixEpoch()), HasSubstr("0123456789ab  -"));
  v1::Round round;
  round.set_number(2);
  v1::Contribution* part = round.add_contributions();
  part->set_site("amc");
  part->set_outcome("refused");
  part->set_reason("too large");
  EXPECT_THAT(FormatRound(round), HasSubstr("too large"));
  v1::Release release;
  release.add_publications()->set_target("oci-layout");
  EXPECT_THAT(FormatRelease(release), HasSubstr("oci-layout"));
  v1::AuditEntry entry;
  entry.set_index(7);
  entry.set_json(R"({"action":"site.approve","actor":"admin","time_us":1700000000000000,"v":1})");
  EXPECT_THAT(FormatAudit({entry}), HasSubstr("2023-11-14 22:13:20Z  admin  site.approve"));
  EXPECT_THAT(FormatAuditEntry(entry), HasSubstr(entry.json()));
  entry.set_json("not json");
  EXPECT_THAT(FormatAudit({entry}), HasSubstr("7"));
}

TEST(AuditTimeTest, DaysTimesAndAgo) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(*ParseAuditTime("--since", "1970-01-02", now), absl::FromUnixSeconds(86400));
  EXPECT_EQ(*ParseAuditTime("--since", "1970-01-01T00:00:05Z", now), absl::FromUnixSeconds(5));
  EXPECT_EQ(*ParseAuditTime("--since", "7d", now), now - absl::Hours(168));
  EXPECT_EQ(*ParseAuditTime("--since", "90m", now), now - absl::Minutes(90));
  for (const char* wrong : {"", "soon", "-1d", "-5m", "2026-13-01"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseAuditTime("--since", wrong, now).status())) << wrong;
  }
}

}  // namespace
}  // namespace consilium::coordinator
