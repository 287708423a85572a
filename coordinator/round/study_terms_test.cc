#include "coordinator/round/study_terms.h"

#include "absl/strings/str_cat.h"
#include "coordinator/round/capabilities.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_checks.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A study with these keys of `aggregation` and `rounds`, and these lines.
std::string Study(const std::string& aggregation, const std::string& lines,
                  const std::string& rounds = "count: 20") {
  return absl::StrCat("name: hippo\ntask: {labels: {1: Anterior}}\naggregation: {", aggregation,
                      "}\nrounds: {", rounds, "}\n", lines);
}

StudySpec Read(const std::string& yaml) {
  const auto spec = ParseStudy(yaml);
  EXPECT_TRUE(spec.ok()) << spec.status() << "\n" << yaml;
  return spec.ok() ? *spec : StudySpec();
}

std::string ErrorOf(const std::string& yaml) {
  const auto spec = ParseStudy(yaml);
  EXPECT_TRUE(absl::IsInvalidArgument(spec.status())) << yaml;
  return std::string(spec.status().message());
}

TEST(StudyTermsTest, EveryFormReadsBackToTheSameTerms) {
  const std::string forms[] = {
      Study("min_sites: 2", ""),
      Study("min_sites: 5", ""),
      Study("min_sites: 5, server_optimizer: fedadam", "purpose: research of \"tumours\"\n"),
      Study("min_sites: 5, server_optimizer: {name: momentum, learning_rate: 0.7, beta1: 0.85}",
            "protection: {kind: sealed, norm_max: 12.5}\n"),
      Study("min_sites: 5, server_optimizer: {name: fedadagrad, tau: 1e-5}", ""),
      Study("min_sites: 5, server_optimizer: {name: fedyogi, beta2: 0.123456789012}",
            "protection: {bits: 16, clip: 0.05, norm_max: 3, min_cohort: 4}\n"),
      Study("min_sites: 12, rule: median, hostile: 1",
            "protection: {kind: secure-aggregation, group: 4}\n"),
      Study("min_sites: 9, rule: {name: fltrust, root: centre}", "sites: {required: [centre]}\n"),
      Study("min_sites: 9, rule: {name: dnc, hostile: 2}", ""),
      Study("min_sites: 5",
            "privacy: {level: site, epsilon: 4, delta: 0.01, clip: 0.3, noise_multiplier: "
            "3.141592653589793}\n"),
      Study("min_sites: 5",
            "privacy: {level: sample, epsilon: 8, delta: 1e-4, clip: 1, patients_per_step: 6.5}\n"
            "algorithm: {kind: fedprox, proximal_mu: 0.1, local_layers: [\"*.norm*\"], "
            "personal_lambda: 0.5}\n"),
      Study("min_sites: 5", "algorithm: scaffold\n"),
  };
  for (const std::string& form : forms) {
    const StudySpec spec = Read(form);
    const std::string yaml = StudyToYaml(spec);
    const StudySpec again = Read(yaml);
    EXPECT_EQ(StudyToYaml(again), yaml);
    EXPECT_EQ(again.protection, spec.protection) << yaml;
    EXPECT_EQ(again.privacy, spec.privacy) << yaml;
    EXPECT_EQ(again.algorithm, spec.algorithm) << yaml;
    EXPECT_EQ(again.rule, spec.rule) << yaml;
    EXPECT_EQ(again.optimizer, spec.optimizer) << yaml;
    EXPECT_EQ(again.purpose, spec.purpose) << yaml;
    EXPECT_EQ(wire::PlanToJson(ProvisionalPlan(again)), wire::PlanToJson(ProvisionalPlan(spec)));
  }
}

TEST(StudyTermsTest, NumbersOfOtherSectionsReadBackExactlyToo) {
  const StudySpec spec = Read(Study("min_sites: 2, unlabelled_weight: 0.123456789",
                                    "plan: {learning_rate: 0.00123456789}\n"));
  const StudySpec again = Read(StudyToYaml(spec));
  EXPECT_EQ(again.unlabelled_weight, spec.unlabelled_weight);
  EXPECT_EQ(again.plan.training.learning_rate, spec.plan.training.learning_rate);
}

TEST(StudyTermsTest, ProtectionDefaultsToSecureAggregationWhereItCanBe) {
  EXPECT_TRUE(Read(Study("min_sites: 3", "")).masked());
  EXPECT_TRUE(Read(Study("min_sites: 3", "protection: {norm_max: 5}\n")).masked());
  EXPECT_TRUE(Read(Study("min_sites: 12, rule: median", "protection: {group: 4}\n")).masked());
  const std::string sealed[] = {
      Study("min_sites: 2", ""),
      Study("min_sites: 2", "protection: {norm_max: 5}\n"),
      Study("min_sites: 3, strategy: fedbuff, buffer: 2", ""),
      Study("min_sites: 5, rule: median", ""),
      Study("min_sites: 7, rule: {name: multi_krum, hostile: 2}", ""),
      Study("min_sites: 256", ""),
      Study("min_sites: 3", "protection: sealed\n"),
  };
  for (const std::string& yaml : sealed) EXPECT_FALSE(Read(yaml).masked()) << yaml;
}

TEST(StudyTermsTest, BareNamesHaveTheDefaultsOfTheirPapers) {
  const StudySpec adam = Read(Study("min_sites: 3, server_optimizer: fedadam", ""));
  EXPECT_EQ(adam.optimizer, (OptimizerSpec{"fedadam", 0.01, 0.9, 0.99, 1e-3}));
  const StudySpec momentum = Read(Study("min_sites: 3, server_optimizer: momentum", ""));
  EXPECT_EQ(momentum.optimizer.learning_rate, 1);
  EXPECT_EQ(Read(Study("min_sites: 3", "algorithm: fedprox\n")).algorithm.proximal_mu, 0.01);
  const std::string rest = ", delta: 1e-4, clip: 1}\n";
  EXPECT_EQ(Read(Study("min_sites: 3", "privacy: {level: standard" + rest)).privacy,
            (wire::PlanPrivacy{"sample", 8, 1e-4, 1, 8, 0}));
  EXPECT_EQ(Read(Study("min_sites: 3", "privacy: {level: strict" + rest)).privacy.epsilon, 3);
}

TEST(StudyTermsTest, WhatIsNotAStudysIsNamedWithItsLineAndTheRemedy) {
  const struct {
    std::string yaml;
    const char *key, *says;
  } cases[] = {
      {Study("min_sites: 3, rule: krum", ""), "aggregation.rule (line 3)", "multi_krum"},
      {Study("min_sites: 3, rule: {hostile: 1}", ""), "aggregation.rule.name", "missing"},
      {Study("min_sites: 3, rule: {name: dnc, f: 1}", ""), "aggregation.rule.f (line 3)",
       "hostile"},
      {Study("min_sites: 7, rule: {name: dnc, hostile: 1}, hostile: 1", ""),
       "aggregation.hostile (line 3)", "keep one"},
      {Study("min_sites: 3, hostile: few", ""), "aggregation.hostile", "whole number"},
      {Study("min_sites: 3, server_optimizer: adam", ""), "server_optimizer (line 3)", "fedyogi"},
      {Study("min_sites: 3, server_optimizer: {name: momentum, tau: 1}", ""),
       "server_optimizer.tau", "remove it"},
      {Study("min_sites: 3, server_optimizer: {name: none, learning_rate: 1}", ""),
       "server_optimizer.learning_rate", "none has no"},
      {Study("min_sites: 3, server_optimizer: {name: fedadam, rate: 1}", ""),
       "server_optimizer.rate", "learning_rate"},
      {Study("min_sites: 3", "protection: plain\n"), "protection (line 5)", "secure-aggregation"},
      {Study("min_sites: 3", "protection: {kind: sealed, bits: 32}\n"), "protection.bits (line 5)",
       "secure-aggregation"},
      {Study("min_sites: 3", "protection: {cohort: 3}\n"), "protection.cohort", "min_cohort"},
      {Study("min_sites: 3", "privacy: none\n"), "privacy (line 5)", "mapping"},
      {Study("min_sites: 3", "privacy: {epsilon: 8}\n"), "privacy (line 5)", "level: sample"},
      {Study("min_sites: 3", "privacy: {level: strict, epsilon: 8}\n"), "privacy.epsilon",
       "level: sample"},
      {Study("min_sites: 3", "privacy: {level: site, patients_per_step: 8}\n"),
       "privacy.patients_per_step", "level: sample"},
      {Study("min_sites: 3", "privacy: {level: sample, noise_multiplier: 8}\n"),
       "privacy.noise_multiplier", "its number of patients"},
      {Study("min_sites: 3", "algorithm: fedsgd\n"), "algorithm (line 5)", "scaffold"},
      {Study("min_sites: 3", "algorithm: {kind: scaffold, proximal_mu: 1}\n"),
       "algorithm.proximal_mu", "fedprox"},
      {Study("min_sites: 3", "algorithm: {local_layers: norm}\n"), "algorithm.local_layers",
       "list"},
      {Study("min_sites: 3", "purpose: [a]\n"), "purpose", "text"},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(c.yaml), AllOf(HasSubstr(c.key), HasSubstr(c.says))) << c.yaml;
  }
}

TEST(StudyTermsTest, ValuesOutOfTheirRangeAreRefusedByName) {
  const std::string sample = "epsilon: 8, delta: 1e-4, clip: 1";
  const struct {
    std::string yaml;
    const char* says;
  } cases[] = {
      {Study("min_sites: 3, server_optimizer: {name: fedadam, learning_rate: 0}", ""),
       "learning_rate"},
      {Study("min_sites: 3, server_optimizer: {name: momentum, learning_rate: nan}", ""),
       "learning_rate"},
      {Study("min_sites: 3, server_optimizer: {name: momentum, beta1: 1}", ""), "beta1"},
      {Study("min_sites: 3, server_optimizer: {name: fedyogi, beta2: -0.1}", ""), "beta2"},
      {Study("min_sites: 3, server_optimizer: {name: fedadagrad, tau: 0}", ""), "tau"},
      {Study("min_sites: 3", "protection: {bits: 24}\n"), "protection.bits"},
      {Study("min_sites: 3", "protection: {clip: 0}\n"), "protection.clip"},
      {Study("min_sites: 3", "protection: {clip: inf}\n"), "protection.clip"},
      {Study("min_sites: 3", "protection: {norm_max: -1}\n"), "protection.norm_max"},
      {Study("min_sites: 3", "protection: {min_cohort: 2}\n"), "protection.min_cohort"},
      {Study("min_sites: 5", "protection: {min_cohort: 6}\n"), "aggregation.min_sites (5)"},
      {Study("min_sites: 5", "protection: {group: -4}\n"), "protection.group"},
      {Study("min_sites: 3", "", "quorum: 2"), "rounds.quorum"},
      {Study("min_sites: 5", "protection: {min_cohort: 4}\n", "quorum: 3"),
       "raise the quorum to 4"},
      {Study("min_sites: 3", "privacy: {level: sample, delta: 1e-4, clip: 1}\n"),
       "privacy.epsilon"},
      {Study("min_sites: 3", "privacy: {level: site, epsilon: 1, clip: 1}\n"), "privacy.delta"},
      {Study("min_sites: 3", "privacy: {level: sample, epsilon: 1, delta: 1e-4}\n"),
       "privacy.clip"},
      {Study("min_sites: 3", "privacy: {level: sample, epsilon: nan, delta: 1e-4, clip: 1}\n"),
       "privacy.epsilon"},
      {Study("min_sites: 3", "privacy: {level: sample, epsilon: 8, delta: 1, clip: 1}\n"),
       "privacy.delta"},
      {Study("min_sites: 3", "privacy: {level: sample, patients_per_step: 0.5, " + sample + "}\n"),
       "patients_per_step"},
      {Study("min_sites: 3", "algorithm: {kind: fedprox, proximal_mu: 0}\n"), "proximal_mu"},
      {Study("min_sites: 3", "algorithm: {personal_lambda: -1}\n"), "personal_lambda"},
      {Study("min_sites: 3", "algorithm: {local_layers: [\"**\"]}\n"), "every layer"},
      {Study("min_sites: 3", "algorithm: {local_layers: [\"\"]}\n"), "local_layers"},
      {Study("min_sites: 3", "purpose: \"a\\tb\"\n"), "purpose"},
  };
  for (const auto& c : cases) EXPECT_THAT(ErrorOf(c.yaml), HasSubstr(c.says)) << c.yaml;
}

// One study for each row of the table of combinations, in its order.
TEST(StudyTermsTest, EachCombinationThatCannotWorkIsRefusedWithItsReason) {
  const std::string masked = "protection: secure-aggregation\n";
  const std::string site = "privacy: {level: site, epsilon: 4, delta: 0.01, clip: 0.3}\n";
  const std::string sample = "privacy: {level: sample, epsilon: 4, delta: 0.01, clip: 0.3}\n";
  const std::string buffer = "min_sites: 9, strategy: fedbuff, buffer: 3";
  const std::string studies[] = {
      Study("min_sites: 2", masked),
      Study(buffer, masked),
      Study("min_sites: 256", masked),
      Study("min_sites: 9, rule: {name: trimmed_mean, hostile: 1}", masked),
      Study("min_sites: 12", "protection: {group: 4}\n"),
      Study("min_sites: 11, rule: median", "protection: {group: 4}\n"),
      Study("min_sites: 12, rule: median", "protection: {group: 3, min_cohort: 4}\n"),
      Study("min_sites: 51", "protection: {bits: 16}\n"),
      Study("min_sites: 9", "protection: {bits: 16}\n" + site),
      Study("min_sites: 9", "protection: sealed\n" + site),
      Study("min_sites: 12, rule: median", "protection: {group: 4}\n" + site),
      Study("min_sites: 9", "algorithm: scaffold\n" + sample),
      Study(buffer, "algorithm: scaffold\n"),
      Study("min_sites: 9, rule: median", "algorithm: scaffold\n"),
      Study(buffer + ", server_optimizer: momentum", ""),
      Study(buffer + ", rule: median", ""),
      Study("min_sites: 9, hostile: 1", ""),
      Study("min_sites: 9, rule: multi_krum", ""),
      Study("min_sites: 9, rule: fltrust", ""),
      Study("min_sites: 9, rule: median, root: centre", ""),
      Study("min_sites: 9, rule: fltrust, root: centre", "sites: {evaluators: [centre]}\n"),
      Study("min_sites: 9, rule: fltrust, root: centre", ""),
  };
  const std::vector<Combination> rows = RefusedCombinations();
  ASSERT_EQ(rows.size(), std::size(studies));
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(ErrorOf(studies[i]),
              absl::StrCat("study: ", rows[i].key, ": (", rows[i].together, ") ", rows[i].reason))
        << studies[i];
  }
}

TEST(StudyTermsTest, TheDocumentHasTheTableOfCombinations) {
  const auto text = ReadFile(absl::StrCat(CONSILIUM_SOURCE_DIR, "/docs/study.md"), 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  for (const Combination& row : RefusedCombinations()) {
    EXPECT_THAT(*text, HasSubstr(absl::StrCat("| ", row.together, " | ", row.reason, " |\n")));
  }
}

TEST(StudyTermsTest, RulesNeedMoreUpdatesThanTheirHostileOnesCanOutvote) {
  const struct {
    const char* rule;
    int quorum, stands;
  } cases[] = {{"median", 5, 2},     {"median", 4, 1},     {"trimmed_mean", 5, 2},
               {"multi_krum", 5, 1}, {"multi_krum", 7, 2}, {"multi_krum", 8, 2},
               {"dnc", 3, 1},        {"dnc", 6, 2}};
  for (const auto& c : cases) {
    // The quorum counts, not min_sites: a round may close with it.
    const auto with = [&](int hostile) {
      return Study(absl::StrCat("min_sites: 20, rule: ", c.rule, ", hostile: ", hostile), "",
                   absl::StrCat("quorum: ", c.quorum));
    };
    EXPECT_EQ(Read(with(c.stands)).rule.hostile, c.stands);
    EXPECT_THAT(ErrorOf(with(c.stands + 1)),
                AllOf(HasSubstr("aggregation.hostile"), HasSubstr("raise the quorum")));
  }
  // Of groups it is the number of groups: five of four.
  const auto grouped = [](int hostile) {
    return Study(absl::StrCat("min_sites: 21, rule: median, hostile: ", hostile),
                 "protection: {group: 4}\n");
  };
  EXPECT_TRUE(Read(grouped(2)).masked());
  EXPECT_THAT(ErrorOf(grouped(3)), HasSubstr("of 5 groups"));
  EXPECT_THAT(ErrorOf(Study("min_sites: 9, rule: median, hostile: -1", "")),
              HasSubstr("0 or more"));
}

TEST(StudyTermsTest, WhatWorksTogetherIsAccepted) {
  const std::string sample = "privacy: {level: sample, epsilon: 4, delta: 1e-4, clip: 1}\n";
  const std::string studies[] = {
      Study("min_sites: 5, server_optimizer: fedadam", "algorithm: scaffold\n"),
      Study("min_sites: 5",
            "algorithm: {kind: scaffold, local_layers: [\"*.norm*\"], "
            "personal_lambda: 1}\n"),
      Study("min_sites: 5", sample + "algorithm: {kind: fedprox, personal_lambda: 1}\n"),
      Study("min_sites: 7, rule: {name: multi_krum, hostile: 1}, server_optimizer: momentum",
            sample),
      Study("min_sites: 5, strategy: fedbuff, buffer: 3", sample + "algorithm: fedprox\n"),
      Study("min_sites: 12, rule: median, server_optimizer: fedyogi",
            sample + "protection: {group: 4, bits: 16}\n"),
      Study("min_sites: 5", "protection: {bits: 16}\nalgorithm: scaffold\n"),
  };
  for (const std::string& yaml : studies) Read(yaml);
}

TEST(StudyTermsTest, TermsAreInThePlanAndADefaultStudysPlanHasNoneOfThem) {
  const std::string plain = wire::PlanToJson(ProvisionalPlan(Read(Study("min_sites: 2", ""))));
  for (const char* key : {"protection", "privacy", "algorithm", "purpose"}) {
    EXPECT_THAT(plain, Not(HasSubstr(absl::StrCat("\"", key, "\"")))) << plain;
  }
  const wire::Plan plan = ProvisionalPlan(
      Read(Study("min_sites: 5", "purpose: research\nalgorithm: {local_layers: [\"*.norm*\"]}\n")));
  EXPECT_EQ(plan.protection.kind, "secure-aggregation");
  EXPECT_EQ(plan.purpose, "research");
  EXPECT_EQ(plan.algorithm.local_layers, std::vector<std::string>{"*.norm*"});
  EXPECT_EQ(wire::PlanFromJson(wire::PlanToJson(plan)).value(), plan);
}

TEST(CapabilitiesTest, AStudyNeedsWhatItsTermsAskFor) {
  const std::string sample = "privacy: {level: sample, epsilon: 4, delta: 1e-4, clip: 1}\n";
  const struct {
    std::string yaml;
    uint32_t needs;
    const char* name;
  } cases[] = {
      {Study("min_sites: 3", ""), kCanMask, "secure-aggregation"},
      {Study("min_sites: 3", sample), kCanMask | kCanDpSgd, "dp-sgd"},
      {Study("min_sites: 3", "privacy: {level: site, epsilon: 4, delta: 0.01, clip: 1}\n"),
       kCanMask | kCanDpSite, "dp-site"},
      {Study("min_sites: 2", "algorithm: fedprox\n"), kCanFedProx, "fedprox"},
      {Study("min_sites: 2", "algorithm: scaffold\n"), kCanScaffold, "scaffold"},
      {Study("min_sites: 2", "algorithm: {local_layers: [\"*.norm*\"]}\n"), kCanLocalLayers,
       "local-layers"},
      {Study("min_sites: 2", "algorithm: {personal_lambda: 1}\n"), kCanPersonalModel,
       "personal-model"},
  };
  for (const auto& c : cases) {
    const uint32_t needs = CapabilitiesNeeded(Read(c.yaml));
    EXPECT_EQ(needs, kEveryCapability | c.needs) << c.yaml;
    // An agent of the first release names nothing and lacks all of it.
    EXPECT_THAT(LackingText(needs, CapabilitiesOf({})), HasSubstr(c.name));
    EXPECT_NE(CapabilitiesOf({c.name}) & c.needs, 0u);
  }
  EXPECT_EQ(CapabilitiesNeeded(Read(Study("min_sites: 2", ""))), kEveryCapability);
}

TEST(NumberTextTest, IsShortAndReadsBackExactly) {
  EXPECT_EQ(NumberText(0.2), "0.2");
  EXPECT_EQ(NumberText(8), "8");
  EXPECT_EQ(NumberText(1e-5), "1e-05");
  for (const double value : {0.1 + 0.2, 1.0 / 3, 123456.789, 5e-324}) {
    double back = 0;
    ASSERT_TRUE(absl::SimpleAtod(NumberText(value), &back));
    EXPECT_EQ(back, value);
  }
}

}  // namespace
}  // namespace consilium::coordinator
