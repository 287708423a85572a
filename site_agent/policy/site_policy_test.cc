#include "site_agent/policy/site_policy.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kFull = R"(
studies: {allow: [hippocampus, "liver-*"], deny: [liver-test]}
purposes: [research, quality]
algorithms: [fedavg, fedprox]
approval: each-plan
peers: {deny: [acme-*, "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]}
series:
  modalities: [MR]
  rules: [{BodyPartExamined: "!HEAD"}, {SliceThickness: "<= 3"}]
  keywords_deny: [SeriesDescription]
protections: [secure-aggregation, sealed]
sealed: {studies: [pilot-*]}
secure_aggregation: {min_cohort: 5, bits_min: 32}
update: {norm_max: 10}
privacy:
  level: sample
  epsilon_max: 3
  delta_max: 0.0001
  epsilon_per_round_max: 0.2
  noise_multiplier_min: 1.1
  clip_max: 1
budget: {epsilon: 6, delta: 1e-6}
training:
  rounds_per_day: 24
  hours: ["20:00-06:00"]
  days: [mon, tue]
  time_zone: Europe/Amsterdam
)";

std::string ErrorOf(absl::string_view yaml) {
  const auto policy = ParsePolicy(yaml);
  EXPECT_TRUE(absl::IsInvalidArgument(policy.status())) << yaml;
  return std::string(policy.status().message());
}

TEST(ParsePolicyTest, ReadsEveryKey) {
  const auto policy = ParsePolicy(kFull);
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_THAT(policy->studies_allow, ElementsAre("hippocampus", "liver-*"));
  EXPECT_THAT(policy->studies_deny, ElementsAre("liver-test"));
  EXPECT_THAT(*policy->purposes, ElementsAre("research", "quality"));
  EXPECT_THAT(*policy->algorithms, ElementsAre("fedavg", "fedprox"));
  EXPECT_EQ(policy->approval, Approval::kEachPlan);
  EXPECT_EQ(policy->peers_deny.size(), 2u);
  EXPECT_THAT(*policy->modalities, ElementsAre("MR"));
  EXPECT_EQ(policy->series_rules[0], (wire::SeriesRule{"BodyPartExamined", "!HEAD"}));
  EXPECT_THAT(policy->keywords_deny, ElementsAre("SeriesDescription"));
  EXPECT_TRUE(policy->Accepts(Protection::kSealed));
  EXPECT_THAT(policy->sealed_studies, ElementsAre("pilot-*"));
  EXPECT_EQ(policy->min_cohort, 5);
  EXPECT_EQ(policy->bits_min, 32);
  EXPECT_EQ(policy->norm_max, 10);
  EXPECT_EQ(policy->privacy.level, PrivacyLevel::kSample);
  EXPECT_EQ(policy->privacy.epsilon_max, 3);
  EXPECT_EQ(policy->privacy.delta_max, 1e-4);
  EXPECT_EQ(policy->privacy.epsilon_per_round_max, 0.2);
  EXPECT_EQ(policy->privacy.noise_multiplier_min, 1.1);
  EXPECT_EQ(policy->privacy.clip_max, 1);
  EXPECT_EQ(policy->budget.epsilon, 6);
  EXPECT_EQ(policy->budget.delta, 1e-6);
  EXPECT_EQ(policy->rounds_per_day, 24);
  EXPECT_EQ(policy->hours.windows.size(), 1u);
  EXPECT_THAT(policy->hours.days, ElementsAre(true, true, false, false, false, false, false));
  EXPECT_EQ(policy->time_zone, "Europe/Amsterdam");
}

TEST(ParsePolicyTest, WhatHoldsIsPrintedAndReadsBack) {
  for (const char* text : {"{}", kFull, "protections: [sealed]", "privacy: {level: site}"}) {
    const auto policy = ParsePolicy(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    const auto again = ParsePolicy(PolicyToJson(*policy));
    ASSERT_TRUE(again.ok()) << again.status() << PolicyToJson(*policy);
    EXPECT_EQ(*again, *policy) << PolicyToJson(*policy);
  }
}

TEST(ParsePolicyTest, TheExampleOfTheDocsIsRight) {
  const auto page = ReadFile(CONSILIUM_SOURCE_DIR "/docs/policy.md", 1 << 20);
  ASSERT_TRUE(page.ok()) << page.status();
  const size_t begin = page->find("```yaml\n") + 8, end = page->find("\n```", begin);
  ASSERT_NE(end, std::string::npos);
  const auto policy = ParsePolicy(page->substr(begin, end - begin));
  ASSERT_TRUE(policy.ok()) << policy.status();
  // It names every key: with all of them out of the way of their defaults, none is missing.
  for (const auto& row : PolicyTable(SitePolicy())) {
    const std::string key = row[0].substr(row[0].find('.') + 1);
    if (key == "KEY") continue;
    EXPECT_THAT(page->substr(begin, end - begin), HasSubstr(key + ":"));
  }
}

TEST(ParsePolicyTest, DefaultsAreOfSecureAggregationAmongThree) {
  const SitePolicy policy = *ParsePolicy("{}");
  EXPECT_EQ(policy, SitePolicy());
  EXPECT_THAT(policy.protections, ElementsAre(Protection::kSecureAggregation));
  EXPECT_EQ(policy.min_cohort, 3);
}

TEST(ParsePolicyTest, ALevelThatIsDemandedBringsLimits) {
  const SitePolicy policy = *ParsePolicy("privacy: {level: sample, delta_max: 1e-5}");
  EXPECT_EQ(policy.privacy.epsilon_max, 8);
  EXPECT_EQ(policy.privacy.delta_max, 1e-5);
  EXPECT_EQ(policy.budget.epsilon, 8);
}

TEST(ParsePolicyTest, WhatNobodyKnowsIsAnErrorWithLineAndRemedy) {
  EXPECT_THAT(
      ErrorOf("approval: none\nmin_cohort: 5\n"),
      HasSubstr("min_cohort (line 2): is not a known key; remove it or use one of: studies"));
  EXPECT_THAT(ErrorOf("secure_aggregation:\n  cohort: 5\n"),
              HasSubstr("secure_aggregation.cohort (line 2)"));
  EXPECT_THAT(ErrorOf("approval: none\napproval: none\n"), HasSubstr("is there twice"));
  EXPECT_THAT(ErrorOf("a: [\n"), HasSubstr("is not YAML"));
  EXPECT_THAT(ErrorOf("- 1"), HasSubstr("must be a mapping"));
}

TEST(ParsePolicyTest, AnEmptyFileIsNotTheDefaults) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("is empty; write {}"));
  EXPECT_THAT(ErrorOf("# approval: each-plan\n"), HasSubstr("is empty"));
  EXPECT_THAT(ErrorOf("{}\n---\napproval: each-plan\n"), HasSubstr("a second document?"));
  EXPECT_THAT(ErrorOf("{} approval: each-plan"), HasSubstr("policy.yaml: "));
  EXPECT_THAT(ErrorOf("{,},"), HasSubstr("policy.yaml: "));
  EXPECT_THAT(ErrorOf(std::string(kPolicyBytesMax + 1, '#')), HasSubstr("longer than"));
}

TEST(ParsePolicyTest, ValuesThatCannotWorkSayWhatToWrite) {
  EXPECT_THAT(ErrorOf("secure_aggregation: {min_cohort: 2}"), HasSubstr("must be 3 or more"));
  EXPECT_THAT(ErrorOf("secure_aggregation: {min_cohort: 256}"), HasSubstr("3 to 255"));
  EXPECT_THAT(ErrorOf("secure_aggregation: {bits_min: 24}"), HasSubstr("16 or 32"));
  EXPECT_THAT(ErrorOf("protections: [plain]"), HasSubstr("secure-aggregation or sealed"));
  EXPECT_THAT(ErrorOf("protections: []"), HasSubstr("no update could ever leave"));
  EXPECT_THAT(ErrorOf("sealed: {studies: [x]}"), HasSubstr("not among protections"));
  EXPECT_THAT(ErrorOf("approval: maybe"), HasSubstr("first-task-of-a-study"));
  EXPECT_THAT(ErrorOf("purposes: []"), HasSubstr("allows nothing"));
  EXPECT_THAT(ErrorOf("purposes: [Any Thing]"), HasSubstr("must be a name"));
  EXPECT_THAT(ErrorOf("studies: {allow: [\"a b\"]}"), HasSubstr("* stands for"));
  EXPECT_THAT(ErrorOf("studies: {allow: [a, a]}"), HasSubstr("has a twice"));
  EXPECT_THAT(ErrorOf("peers: {deny: [\"sha256:12\"]}"), HasSubstr("64 lower-case hex"));
  EXPECT_THAT(ErrorOf("series: {modalities: [mr]}"), HasSubstr("DICOM modality"));
  EXPECT_THAT(ErrorOf("series: {rules: [{PatientName: x}]}"), HasSubstr("is not one of"));
  EXPECT_THAT(ErrorOf("series: {rules: [{SliceThickness: \"<= thick\"}]}"),
              HasSubstr("needs a number"));
  EXPECT_THAT(ErrorOf("series: {keywords_deny: [PatientName]}"), HasSubstr("DICOM keyword"));
  for (const char* value : {"0", "-1", "nan", "inf", "1e300", "x", "[1]"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("privacy: {epsilon_max: ", value, "}")),
                HasSubstr("privacy.epsilon_max"));
    EXPECT_THAT(ErrorOf(absl::StrCat("budget: {delta: ", value, "}")), HasSubstr("budget.delta"));
  }
  EXPECT_THAT(ErrorOf("privacy: {level: patient}"), HasSubstr("none, sample or site"));
  EXPECT_THAT(ErrorOf("training: {hours: [\"8-9\"]}"), HasSubstr("20:00-06:00"));
  EXPECT_THAT(ErrorOf("training: {days: [monday]}"), HasSubstr("mon, tue"));
  EXPECT_THAT(ErrorOf("training: {days: []}"), HasSubstr("name a day"));
  EXPECT_THAT(ErrorOf("training: {time_zone: Europe/Atlantis}"), HasSubstr("Europe/Berlin"));
  EXPECT_THAT(ErrorOf("training: {time_zone: ../../etc/passwd}"), HasSubstr("Europe/Berlin"));
  EXPECT_THAT(ErrorOf("training: {rounds_per_day: 0}"), HasSubstr("1 to 10000"));
}

TEST(ParsePolicyTest, TableNamesDefaultsInWords) {
  const auto table = PolicyTable(SitePolicy());
  EXPECT_THAT(table, testing::Contains(ElementsAre("secure_aggregation.min_cohort", "3")));
  EXPECT_THAT(table, testing::Contains(ElementsAre("purposes", "any")));
  EXPECT_THAT(table, testing::Contains(ElementsAre("budget.epsilon", "counted, not limited")));
}

TEST(MatchesPatternTest, StarStandsForAnything) {
  EXPECT_TRUE(MatchesPattern("*", ""));
  EXPECT_TRUE(MatchesPattern("liver-*", "liver-2026"));
  EXPECT_TRUE(MatchesPattern("*-*-b", "a-x-a-b"));
  EXPECT_TRUE(MatchesPattern("a*a*a", "aaaa"));
  EXPECT_FALSE(MatchesPattern("liver", "liver-2026"));
  EXPECT_FALSE(MatchesPattern("liver-*", "xliver-1"));
  EXPECT_FALSE(MatchesPattern("a*b", "a"));
  EXPECT_FALSE(MatchesPattern("", "a"));
}

class ReadPolicyTest : public testing::Test {
 protected:
  void Write(absl::string_view text) {
    ASSERT_TRUE(WriteFileAtomic(PolicyPath(dir_.path()), text, kPrivateFile).ok());
  }
  TempDir dir_ = *TempDir::Create("policy");
};

TEST_F(ReadPolicyTest, NoFileIsTheDefaultsAndAFileIsReadAgainEachTime) {
  EXPECT_EQ(ReadPolicy(dir_.path())->sha256, "");
  Write("secure_aggregation: {min_cohort: 4}");
  EXPECT_EQ(ReadPolicy(dir_.path())->policy.min_cohort, 4);
  EXPECT_EQ(ReadPolicy(dir_.path())->sha256.size(), 64u);
  Write("secure_aggregation: {min_cohort: 7}");
  EXPECT_EQ(ReadPolicy(dir_.path())->policy.min_cohort, 7);
  Write("secure_aggregation: {min_cohort: seven}");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadPolicy(dir_.path()).status()));
}

TEST_F(ReadPolicyTest, AFileThatOthersMayWriteIsNotUsed) {
  Write("{}");
  ASSERT_EQ(::chmod(PolicyPath(dir_.path()).c_str(), 0666), 0);
  const auto policy = ReadPolicy(dir_.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(policy.status()));
  EXPECT_THAT(std::string(policy.status().message()), HasSubstr("chmod go-w"));
}

TEST_F(ReadPolicyTest, WhatIsThereAndCannotBeReadIsNotTheDefaults) {
  ASSERT_TRUE(MakeDirs(PolicyPath(dir_.path())).ok());  // a folder of that name
  EXPECT_FALSE(ReadPolicy(dir_.path()).ok());
}

}  // namespace
}  // namespace consilium::agent
