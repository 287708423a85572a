#include "site_agent/policy/judge.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

absl::Time At(int day, int hour, int minute = 0) {
  return absl::FromCivil(absl::CivilSecond(2026, 5, day, hour, minute), absl::UTCTimeZone());
}

// A task that keeps to the strictest policies below.
TaskTerms Good() {
  TaskTerms terms;
  terms.task_id = "train/1";
  terms.study = "hippocampus";
  terms.purpose = "research";
  terms.algorithms = {"fedavg"};
  terms.plan_sha256 = std::string(64, 'a');
  terms.modalities = {"MR"};
  terms.series_rules = {{"ImageType", "!LOCALIZER"}};
  terms.protection = Protection::kSecureAggregation;
  terms.min_cohort = 5;
  terms.sites = 6;
  terms.roster = std::vector<Peer>{{"site-b", std::string(64, 'b')}, {"site-c", ""}};
  terms.norm_bound = 10;
  terms.privacy = {.level = PrivacyLevel::kSample,
                   .epsilon = 3,
                   .delta = 1e-5,
                   .clip = 1,
                   .epsilon_per_round = 0.2,
                   .noise_multiplier = 1.5};
  terms.now = At(1, 21);
  terms.zone = absl::UTCTimeZone();
  return terms;
}

std::string TextOf(absl::string_view yaml, const TaskTerms& terms, const PolicyState& state = {}) {
  const auto policy = ParsePolicy(yaml);
  EXPECT_TRUE(policy.ok()) << policy.status();
  const auto refusal = Judge(*policy, terms, state);
  if (!refusal) return "";
  EXPECT_LE(refusal->text.size(), kDeclineBytesMax);
  return refusal->text;
}

// Changes one thing of a good task.
template <typename F>
TaskTerms Good(F change) {
  TaskTerms terms = Good();
  change(terms);
  return terms;
}

TEST(JudgeTest, AGoodTaskKeepsToEachClause) {
  for (const char* yaml :
       {"{}", "studies: {allow: [hippo*], deny: [liver]}", "purposes: [research]",
        "algorithms: [fedavg]", "series: {modalities: [MR], keywords_deny: [ProtocolName]}",
        "series: {rules: [{BodyPartExamined: \"!HEAD\"}]}", "peers: {deny: [site-x]}",
        "secure_aggregation: {min_cohort: 5, bits_min: 32}", "update: {norm_max: 10}",
        "privacy: {level: sample, epsilon_max: 3, delta_max: 1e-5, epsilon_per_round_max: 0.2, "
        "noise_multiplier_min: 1.5, clip_max: 1}",
        "training: {hours: [\"20:00-06:00\"], rounds_per_day: 1}"}) {
    EXPECT_EQ(TextOf(yaml, Good()), "") << yaml;
  }
}

TEST(JudgeTest, FiveSitesAreDemandedOfAPlanOfThree) {
  const char* yaml = "secure_aggregation: {min_cohort: 5}";
  EXPECT_EQ(TextOf(yaml, Good([](TaskTerms& t) { t.min_cohort = 3, t.sites = std::nullopt; })),
            "site policy (secure_aggregation.min_cohort): wants at least 5 sites in a sum; got 3 "
            "promised by the plan");
  EXPECT_EQ(
      TextOf(yaml, Good([](TaskTerms& t) { t.sites = 4; })),
      "site policy (secure_aggregation.min_cohort): wants at least 5 sites in a sum; got 4 in "
      "the round");
  EXPECT_EQ(
      TextOf(yaml, Good([](TaskTerms& t) { t.group_size = 4; })),
      "site policy (secure_aggregation.min_cohort): wants at least 5 sites in a sum; got 4 in "
      "a group");
  EXPECT_THAT(TextOf(yaml, Good([](TaskTerms& t) { t.group_size = -1; })), HasSubstr("got -1"));
}

TEST(JudgeTest, TheFloorOfThreeHoldsWithoutAPolicy) {
  EXPECT_THAT(TextOf("{}", Good([](TaskTerms& t) { t.min_cohort = 2; })),
              HasSubstr("wants at least 3 sites in a sum; got 2"));
  SitePolicy lowered;
  lowered.min_cohort = 1;  // not that a file could say so
  EXPECT_TRUE(Judge(lowered, Good([](TaskTerms& t) { t.min_cohort = 2; }), {}));
}

TEST(JudgeTest, ProtectionIsOneThatTheSiteAccepts) {
  const auto sealed = Good([](TaskTerms& t) { t.protection = Protection::kSealed; });
  EXPECT_EQ(TextOf("{}", sealed),
            "site policy (protections): wants secure-aggregation; got sealed");
  EXPECT_EQ(TextOf("protections: [sealed]", sealed), "");
  EXPECT_EQ(
      TextOf("{protections: [sealed, secure-aggregation], sealed: {studies: [pilot-*]}}", sealed),
      "site policy (sealed.studies): wants pilot-*; got hippocampus");
  EXPECT_EQ(TextOf("protections: [sealed]", Good()),
            "site policy (protections): wants sealed; got secure-aggregation");
  EXPECT_EQ(TextOf("secure_aggregation: {bits_min: 32}", Good([](TaskTerms& t) { t.bits = 16; })),
            "site policy (secure_aggregation.bits_min): wants at least 32 bits; got 16");
}

TEST(JudgeTest, TrainingHasToSayHowItIsProtected) {
  const auto silent = Good([](TaskTerms& t) { t.protection = std::nullopt; });
  EXPECT_EQ(TextOf("{}", silent),
            "site policy (protections): wants secure-aggregation; got nothing");
  EXPECT_EQ(
      TextOf("{}", Good([](TaskTerms& t) { t.protection = std::nullopt, t.complete = false; })),
      "");
}

TEST(JudgeTest, WhatTheSiteCalibratesIsJudgedWhenItIsKnown) {
  const char* yaml = "privacy: {level: sample, epsilon_per_round_max: 1, noise_multiplier_min: 1}";
  auto terms = Good([](TaskTerms& t) {
    t.privacy.epsilon_per_round = t.privacy.noise_multiplier = std::nullopt;
    t.complete = false;
  });
  EXPECT_EQ(TextOf(yaml, terms), "");
  terms.complete = true;
  EXPECT_EQ(TextOf(yaml, terms),
            "site policy (privacy.epsilon_per_round_max): wants at most 1; got nothing");
  terms.privacy.epsilon_per_round = 0.5;
  EXPECT_EQ(TextOf(yaml, terms),
            "site policy (privacy.noise_multiplier_min): wants at least 1; got nothing");
  terms.privacy.noise_multiplier = 1;
  EXPECT_EQ(TextOf(yaml, terms), "");
}

TEST(PlanTermsTest, APlanSaysWhatThePolicyJudges) {
  wire::Plan plan;
  plan.study = "hippocampus";
  plan.purpose = "research";
  plan.labels = {{1, "A", ""}};
  plan.series_rules = {{"ImageType", "!LOCALIZER"}};
  plan.channels = {{"PT", {{"ProtocolName", "WB"}}, "z-score"}};
  plan.protection = {.kind = "secure-aggregation",
                     .norm_max = 7,
                     .bits = 16,
                     .clip = 1,
                     .min_cohort = 4,
                     .group = 5};
  plan.privacy = {.level = "site",
                  .epsilon = 3,
                  .delta = 1e-4,
                  .clip = 2,
                  .patients_per_step = 8,
                  .noise_multiplier = 1.5};
  plan.algorithm = {
      .kind = "fedprox", .proximal_mu = 0.1, .local_layers = {"norm*"}, .personal_lambda = 1};
  TaskTerms terms = PlanTerms(plan);
  EXPECT_FALSE(terms.trains || terms.complete);
  EXPECT_TRUE(terms.sends_update);
  EXPECT_EQ(terms.plan_sha256.size(), 64u);
  EXPECT_THAT(terms.algorithms, testing::ElementsAre("fedprox", "fedbn", "ditto"));
  const auto clause = [&](const char* yaml) {
    const auto refusal = Judge(*ParsePolicy(yaml), terms, {});
    return refusal ? refusal->clause + " " + refusal->got : "";
  };
  EXPECT_EQ(clause("{}"), "");
  EXPECT_EQ(clause("purposes: [x]"), "purposes research");
  EXPECT_EQ(clause("algorithms: [fedprox, fedbn]"), "algorithms ditto");
  EXPECT_EQ(clause("series: {keywords_deny: [ImageType]}"),
            "series.keywords_deny a rule on ImageType");
  EXPECT_EQ(clause("secure_aggregation: {bits_min: 32}"), "secure_aggregation.bits_min 16");
  EXPECT_EQ(clause("secure_aggregation: {min_cohort: 5}"),
            "secure_aggregation.min_cohort 4 promised by the plan");
  EXPECT_EQ(clause("update: {norm_max: 6}"), "update.norm_max 7");
  EXPECT_EQ(clause("privacy: {noise_multiplier_min: 2}"), "privacy.noise_multiplier_min 1.5");
  EXPECT_EQ(clause("privacy: {delta_max: 1e-5}"), "privacy.delta_max 0.0001");
  EXPECT_EQ(clause("privacy: {clip_max: 1}"), "privacy.clip_max 2");
  plan.protection = {};
  plan.privacy = {.level = "sample", .epsilon = 3, .delta = 1e-4, .clip = 2};
  terms = PlanTerms(plan);
  EXPECT_EQ(clause("{}"), "protections sealed");
  EXPECT_FALSE(terms.privacy.noise_multiplier);  // a site's own matter
}

TEST(JudgeTest, StudiesAndPurposesAreNamed) {
  EXPECT_EQ(TextOf("studies: {deny: [hippo*]}", Good()),
            "site policy (studies.deny): wants another study; got hippocampus");
  EXPECT_EQ(TextOf("studies: {allow: [liver]}", Good()),
            "site policy (studies.allow): wants liver; got hippocampus");
  EXPECT_EQ(TextOf("purposes: [quality]", Good()),
            "site policy (purposes): wants quality; got research");
  EXPECT_EQ(TextOf("purposes: [quality]", Good([](TaskTerms& t) { t.purpose = ""; })),
            "site policy (purposes): wants quality; got nothing");
  EXPECT_EQ(TextOf("algorithms: [fedprox]", Good()),
            "site policy (algorithms): wants fedprox; got fedavg");
}

TEST(JudgeTest, SeriesThatTheSiteKeepsOutAreNotAskedFor) {
  EXPECT_EQ(TextOf("series: {modalities: [CT]}", Good()),
            "site policy (series.modalities): wants CT; got MR");
  EXPECT_EQ(TextOf("series: {modalities: [MR]}",
                   Good([](TaskTerms& t) { t.modalities = {"MR", "PT"}; })),
            "site policy (series.modalities): wants MR; got PT");
  EXPECT_EQ(TextOf("series: {keywords_deny: [ImageType]}", Good()),
            "site policy (series.keywords_deny): wants no rule on it; got a rule on ImageType");
  const char* no_heads = "series: {rules: [{BodyPartExamined: \"!HEAD\"}]}";
  EXPECT_EQ(TextOf(no_heads, Good([](TaskTerms& t) {
                     t.series_rules.push_back({"BodyPartExamined", " HEAD "});
                   })),
            "site policy (series.rules): wants no series that the site keeps out; got "
            "BodyPartExamined  HEAD ");
  EXPECT_EQ(TextOf(no_heads, Good([](TaskTerms& t) {
                     t.series_rules.push_back({"BodyPartExamined", "CHEST"});
                   })),
            "");
}

TEST(JudgeTest, PeersAreRefusedByNameOrCertificate) {
  EXPECT_EQ(TextOf("peers: {deny: [\"*-c\"]}", Good()),
            "site policy (peers.deny): wants a round without it; got site-c");
  EXPECT_EQ(TextOf(absl::StrCat("peers: {deny: [\"sha256:", std::string(64, 'b'), "\"]}"), Good()),
            "site policy (peers.deny): wants a round without it; got site-b");
  const auto unknown = Good([](TaskTerms& t) { t.roster = std::nullopt; });
  EXPECT_EQ(TextOf("peers: {deny: [site-x]}", unknown),
            "site policy (peers.deny): wants to know who takes part; got no roster");
}

TEST(JudgeTest, UpdatesAreClippedAsTheSiteWants) {
  EXPECT_EQ(TextOf("update: {norm_max: 5}", Good()),
            "site policy (update.norm_max): wants updates clipped to at most 5; got 10");
  EXPECT_EQ(TextOf("update: {norm_max: 5}", Good([](TaskTerms& t) { t.norm_bound = 0; })),
            "site policy (update.norm_max): wants updates clipped to at most 5; got no clipping");
}

TEST(JudgeTest, PrivacyOfThePlanIsWithinEachLimit) {
  EXPECT_EQ(TextOf("privacy: {level: site}", Good()),
            "site policy (privacy.level): wants site or stronger; got sample");
  EXPECT_EQ(TextOf("privacy: {level: sample}", Good([](TaskTerms& t) { t.privacy = {}; })),
            "site policy (privacy.level): wants sample or stronger; got none");
  EXPECT_EQ(TextOf("privacy: {level: sample}",
                   Good([](TaskTerms& t) { t.privacy.level = PrivacyLevel::kSite; })),
            "");
  EXPECT_EQ(TextOf("privacy: {epsilon_max: 2.5}", Good()),
            "site policy (privacy.epsilon_max): wants at most 2.5; got 3");
  EXPECT_EQ(TextOf("privacy: {delta_max: 1e-6}", Good()),
            "site policy (privacy.delta_max): wants at most 1e-06; got 1e-05");
  EXPECT_EQ(TextOf("privacy: {epsilon_per_round_max: 0.1}", Good()),
            "site policy (privacy.epsilon_per_round_max): wants at most 0.1; got 0.2");
  EXPECT_EQ(TextOf("privacy: {noise_multiplier_min: 2}", Good()),
            "site policy (privacy.noise_multiplier_min): wants at least 2; got 1.5");
  EXPECT_EQ(TextOf("privacy: {clip_max: 0.5}", Good()),
            "site policy (privacy.clip_max): wants at most 0.5; got 1");
  // Limits on what a plan spends say nothing of one that promises nothing.
  EXPECT_EQ(TextOf("privacy: {epsilon_max: 1}", Good([](TaskTerms& t) { t.privacy = {}; })), "");
}

TEST(JudgeTest, NumbersThatAreNoneAreNeverWithinALimit) {
  const char* yaml =
      "{privacy: {level: sample, epsilon_max: 3, delta_max: 1e-5, epsilon_per_round_max: 1, "
      "noise_multiplier_min: 1, clip_max: 1}, update: {norm_max: 10}}";
  ASSERT_EQ(TextOf(yaml, Good()), "");
  for (const double bad : {std::nan(""), -1.0, 0.0, std::numeric_limits<double>::infinity()}) {
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.privacy.epsilon = bad; })), "");
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.privacy.delta = bad; })), "");
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.privacy.epsilon_per_round = bad; })), "");
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.privacy.clip = bad; })), "");
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.norm_bound = bad; })), "");
    if (std::isinf(bad)) continue;  // more noise than any is enough
    EXPECT_NE(TextOf(yaml, Good([&](TaskTerms& t) { t.privacy.noise_multiplier = bad; })), "");
  }
}

TEST(JudgeTest, ApprovalIsAPersonsAndNamesThePlan) {
  EXPECT_EQ(TextOf("approval: each-plan", Good(), {.study_approved = true}),
            "site policy (approval): wants a person's approval of each plan; got none; plan "
            "aaaaaaaaaaaa");
  EXPECT_EQ(TextOf("approval: each-plan", Good(), {.plan_approved = true}), "");
  EXPECT_EQ(TextOf("approval: first-task-of-a-study", Good(), {.study_approved = true}), "");
  EXPECT_THAT(TextOf("approval: first-task-of-a-study", Good()), HasSubstr("of the study"));
  const auto first = Good([](TaskTerms& t) { t.trains = false; });
  EXPECT_NE(TextOf("approval: first-task-of-a-study", first), "");  // before anything is looked at
}

TEST(JudgeTest, AnEvaluationIsHeldToNoClauseOnUpdates) {
  const auto evaluation = Good([](TaskTerms& t) {
    t.trains = t.sends_update = false;
    t.protection = Protection::kSealed;
    t.privacy = {};
    t.norm_bound = 0;
  });
  EXPECT_EQ(
      TextOf("{privacy: {level: sample}, update: {norm_max: 1}, algorithms: [x]}", evaluation), "");
  EXPECT_NE(TextOf("studies: {allow: [liver]}", evaluation), "");
}

TEST(JudgeTest, OutsideTheHoursIsForNowOnly) {
  const SitePolicy policy = *ParsePolicy("training: {hours: [\"22:00-06:00\"]}");
  const auto refusal = Judge(policy, Good(), {});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(
      refusal->text,
      "site policy (training.hours): wants not before 2026-05-01 22:00; got 2026-05-01 21:00");
  EXPECT_EQ(refusal->retry_at, At(1, 22));
  EXPECT_FALSE(Judge(policy, Good([&](TaskTerms& t) { t.now = *refusal->retry_at; }), {}));
  EXPECT_FALSE(Judge(policy, Good([](TaskTerms& t) { t.trains = false; }), {}));
}

TEST(JudgeTest, HoursAreOfThePolicysZone) {
  const SitePolicy policy =
      *ParsePolicy("training: {hours: [\"22:00-06:00\"], time_zone: Europe/Amsterdam}");
  EXPECT_FALSE(Judge(policy, Good(), {}));  // 21:00 UTC is 23:00 there
}

TEST(JudgeTest, ADaysRoundsAreOverUntilMidnightOrTheNextHours) {
  const SitePolicy policy = *ParsePolicy("training: {rounds_per_day: 2}");
  EXPECT_FALSE(Judge(policy, Good(), {.rounds_today = 1}));
  const auto refusal = Judge(policy, Good(), {.rounds_today = 2});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->text, "site policy (training.rounds_per_day): wants at most 2; got 2 today");
  EXPECT_EQ(refusal->retry_at, At(2, 0));
  const SitePolicy both = *ParsePolicy("training: {rounds_per_day: 2, hours: [\"20:00-23:00\"]}");
  EXPECT_EQ(Judge(both, Good(), {.rounds_today = 2})->retry_at, At(2, 20));
}

TEST(JudgeTest, WhatLastsIsSaidBeforeWhatPasses) {
  const char* yaml = "{training: {hours: [\"22:00-23:00\"]}, purposes: [quality]}";
  EXPECT_THAT(TextOf(yaml, Good()), HasSubstr("(purposes)"));
}

TEST(JudgeTest, ATaskCannotWriteIntoTheLog) {
  const auto hostile = Good([](TaskTerms& t) {
    t.purpose = absl::StrCat("a\n{\"action\":\"ok\"}\x1b[2J\xff", std::string(500, 'x'));
  });
  const std::string text = TextOf("purposes: [quality]", hostile);
  EXPECT_EQ(text.find_first_of("\n\x1b\xff"), std::string::npos);
  EXPECT_THAT(text, testing::EndsWith(".."));
}

TEST(JudgeTest, EveryClauseIsListedWithItsVerdict) {
  const SitePolicy policy = *ParsePolicy(
      "{peers: {deny: [x]}, purposes: [quality], training: {hours: [\"22:00-23:00\"]}}");
  const auto terms = Good([](TaskTerms& t) { t.roster = std::nullopt; });
  std::map<std::string, Verdict> verdicts;
  for (const Finding& finding : JudgeAll(policy, terms, {})) {
    verdicts[finding.clause] = finding.verdict;
  }
  EXPECT_EQ(verdicts["studies.allow"], Verdict::kHolds);
  EXPECT_EQ(verdicts["peers.deny"], Verdict::kUnsaid);
  EXPECT_EQ(verdicts["purposes"], Verdict::kRefused);
  EXPECT_EQ(verdicts["training.hours"], Verdict::kLater);
  EXPECT_THAT(verdicts, SizeIs(7));
}

TEST(RefusalStatusTest, TravelsThroughAStatus) {
  const SitePolicy policy = *ParsePolicy("{purposes: [quality]}");
  const absl::Status lasting = ToStatus(*Judge(policy, Good(), {}));
  EXPECT_TRUE(absl::IsFailedPrecondition(lasting));
  const auto read = RefusalIn(lasting);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->clause, "purposes");
  EXPECT_EQ(read->wanted, "quality");
  EXPECT_EQ(read->got, "research");
  EXPECT_EQ(read->text, lasting.message());
  EXPECT_FALSE(read->retry_at);

  const SitePolicy hours = *ParsePolicy("training: {hours: [\"22:00-06:00\"]}");
  const absl::Status passing = ToStatus(*Judge(hours, Good(), {}));
  EXPECT_TRUE(absl::IsUnavailable(passing));
  EXPECT_EQ(RefusalIn(passing)->retry_at, At(1, 22));

  const auto unusable =
      RefusalIn(ToStatus(UnusablePolicy(absl::InvalidArgumentError("line 3\nx"))));
  EXPECT_EQ(unusable->detail, "line 3\nx");
  EXPECT_THAT(unusable->text, testing::Not(HasSubstr("line 3")));
  EXPECT_FALSE(RefusalIn(absl::FailedPreconditionError("no case")));
}

}  // namespace
}  // namespace consilium::agent
