#include <cmath>
#include <limits>

#include "proto/base/check.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/ledger_entry.h"
#include "site_agent/policy/site_policy.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

// Terms that are as strange as a coordinator can make them, for whatever policy was accepted.
std::vector<agent::TaskTerms> StrangeTerms() {
  agent::TaskTerms empty;
  empty.zone = absl::UTCTimeZone();
  agent::TaskTerms wild = empty;
  wild.study = wild.purpose = std::string(1000, '\xff');
  wild.modalities = {wild.study, ""};
  wild.algorithms = {"\n", ""};
  wild.series_rules = {{"BodyPartExamined", "HEAD"}, {"", ""}};
  wild.protection = agent::Protection::kSecureAggregation;
  wild.min_cohort = wild.group_size = std::numeric_limits<int64_t>::min();
  wild.sites = std::numeric_limits<int64_t>::max();
  wild.roster = std::vector<agent::Peer>{{"", ""}, {std::string(1000, '*'), "\n"}};
  wild.norm_bound = -std::numeric_limits<double>::infinity();
  wild.privacy = {.level = agent::PrivacyLevel::kSample,
                  .epsilon = std::nan(""),
                  .delta = 1e308,
                  .clip = -0.0,
                  .epsilon_per_round = std::nan(""),
                  .noise_multiplier = std::nan("")};
  wild.now = absl::FromUnixSeconds(1793000000);
  return {empty, wild};
}

void RunSitePolicy(absl::string_view bytes) {
  const auto policy = agent::ParsePolicy(bytes);
  if (!policy.ok()) return;
  CSL_CHECK(policy->min_cohort >= agent::kMinCohortFloor);
  const std::string json = agent::PolicyToJson(*policy);
  const auto again = agent::ParsePolicy(json);
  CSL_CHECK(again.ok());
  CSL_CHECK(*again == *policy);
  (void)agent::PolicyTable(*policy);
  for (const agent::TaskTerms& terms : StrangeTerms()) {
    const auto refusal = agent::Judge(*policy, terms, {.rounds_today = 1});
    // No policy takes a training that does not say how it is protected, or that sums fewer than
    // three.
    CSL_CHECK(refusal.has_value());
    CSL_CHECK(refusal->text.size() <= agent::kDeclineBytesMax);
    for (const char c : refusal->text) CSL_CHECK(c >= ' ' && c <= '~');
    const auto carried = agent::RefusalIn(agent::ToStatus(*refusal));
    CSL_CHECK(carried.has_value());
    CSL_CHECK(carried->clause == refusal->clause);
  }
}

std::vector<std::string> SitePolicySeeds() {
  return {
      "studies: {allow: [hippocampus, \"liver-*\"], deny: [liver-test]}\n"
      "purposes: [research]\n"
      "algorithms: [fedavg, fedprox]\n"
      "approval: each-plan\n"
      "peers: {deny: [\"acme-*\"]}\n"
      "series: {modalities: [MR], rules: [{BodyPartExamined: \"!HEAD\"}], keywords_deny: [KVP]}\n"
      "protections: [secure-aggregation, sealed]\n"
      "sealed: {studies: [pilot-*]}\n"
      "secure_aggregation: {min_cohort: 5, bits_min: 32}\n"
      "update: {norm_max: 10}\n"
      "privacy: {level: sample, epsilon_max: 3, delta_max: 1e-5, epsilon_per_round_max: 0.2,\n"
      "          noise_multiplier_min: 1.1, clip_max: 1}\n"
      "budget: {epsilon: 8, delta: 1e-5}\n"
      "training: {rounds_per_day: 24, hours: [\"20:00-06:00\"], days: [mon, fri],\n"
      "           time_zone: UTC}\n",
      "{}",
      "protections: [sealed]\n",
      "a: &x [1]\nb: *x\n",
      "{}\n---\n{}\n",
      "&a [*a]\n",
      "privacy: {level: site}\n",
      "{{{{[[[["};
}

void RunLedgerEntry(absl::string_view bytes) {
  const auto entry = agent::LedgerEntryFromJson(bytes, 7);
  if (!entry.ok()) return;
  const std::string json = agent::LedgerEntryToJson(*entry, 7);
  const auto again = agent::LedgerEntryFromJson(json, 7);
  CSL_CHECK(again.ok());
  CSL_CHECK(agent::LedgerEntryToJson(*again, 7) == json);
}

std::vector<std::string> LedgerEntrySeeds() {
  using namespace agent;
  const absl::Time time = absl::FromUnixSeconds(1793000000);
  return {
      LedgerEntryToJson(StartEntry{"00ff", time}, 7),
      LedgerEntryToJson(CohortEntry{"ab", 0, 2, {std::string(kPatientTagBytes, 'a')}}, 7),
      LedgerEntryToJson(
          ReserveEntry{"ab", {"liver", 3, "t/1", {Mechanism::kGaussian, 0.1, 1.5, 20}, 1e-5}, time},
          7),
      LedgerEntryToJson(SettleEntry{5, 2, time}, 7),
      "{}",
      "[[[["};
}

}  // namespace

std::vector<Target> SiteTargets() {
  return {{"site_policy", RunSitePolicy, SitePolicySeeds},
          {"ledger_entry", RunLedgerEntry, LedgerEntrySeeds}};
}

}  // namespace consilium::fuzz
