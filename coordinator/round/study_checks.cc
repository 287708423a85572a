#include "coordinator/round/study_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_terms.h"
#include "proto/base/check.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kRosterMax = 255;     // sites of one masked sum: Shamir's shares over GF(2^8)
constexpr int64_t kShortSitesMax = 50;  // beyond it 16-bit words err by more than 1 % of the mean
constexpr int64_t kGroupsMin = 3;       // of two groups a median is their mean

bool Buffered(const StudySpec& s) { return s.strategy == Strategy::kFedBuff; }
bool Robust(const StudySpec& s) { return s.rule.name != "mean"; }
bool Grouped(const StudySpec& s) { return s.masked() && s.protection.group > 0; }
bool Scaffold(const StudySpec& s) { return s.algorithm.kind == "scaffold"; }
bool BySite(const StudySpec& s) { return s.privacy.level == "site"; }
bool FlTrust(const StudySpec& s) { return s.rule.name == "fltrust"; }

struct Row {
  const char* key;
  const char* together;
  const char* reason;
  bool (*there)(const StudySpec&);
};

// In the order in which they are looked for: the first one says it best.
constexpr Row kRows[] = {
    {"protection", "secure-aggregation, aggregation.min_sites below 3",
     "of two sites each would read the other's update by taking its own from the sum; raise "
     "aggregation.min_sites to 3, or write protection: sealed",
     [](const StudySpec& s) { return s.masked() && s.min_sites < kSecureSitesMin; }},
    {"protection", "secure-aggregation, strategy: fedbuff",
     "masks cancel in the sum of one round that all its sites enter together, and a buffer takes "
     "updates as they come; write strategy: fedavg or protection: sealed",
     [](const StudySpec& s) { return s.masked() && Buffered(s); }},
    {"aggregation.min_sites", "secure-aggregation, more than 255 sites in one sum",
     "the shares that repair a drop-out have numbers up to 255; write protection: sealed, or rule: "
     "median with protection: {group: 4}",
     [](const StudySpec& s) { return s.masked() && !Grouped(s) && s.min_sites > kRosterMax; }},
    {"aggregation.rule", "robust rule, secure-aggregation",
     "the rule compares single updates, which secure aggregation hides; write protection: sealed, "
     "or rule: median with protection: {group: 4}",
     [](const StudySpec& s) {
       return s.masked() && Robust(s) && !(s.rule.name == "median" && Grouped(s));
     }},
    {"protection.group", "protection.group, rule: mean",
     "groups tell the coordinator the sum of each few sites, which only a median needs; remove "
     "group, or write rule: median",
     [](const StudySpec& s) { return Grouped(s) && !Robust(s); }},
    {"protection.group", "protection.group, aggregation.min_sites below 3 groups",
     "a median of fewer than three groups stops nobody; raise aggregation.min_sites to three times "
     "the group (12 for groups of 4)",
     [](const StudySpec& s) { return Grouped(s) && GroupsMin(s) < kGroupsMin; }},
    {"protection.min_cohort", "protection.min_cohort above protection.group",
     "no group's sum could ever be revealed; lower min_cohort or raise group",
     [](const StudySpec& s) { return Grouped(s) && s.protection.min_cohort > s.protection.group; }},
    {"protection.bits", "bits: 16, more than 50 sites",
     "words of 16 bits leave each of so many sites too few steps; write bits: 32",
     [](const StudySpec& s) {
       return s.masked() && s.protection.bits == 16 && s.min_sites > kShortSitesMax;
     }},
    {"protection.bits", "bits: 16, privacy level site",
     "the noise is on an integer grid that needs words of 32 bits; write bits: 32",
     [](const StudySpec& s) { return s.masked() && s.protection.bits == 16 && BySite(s); }},
    {"protection", "privacy level site, sealed",
     "each site adds only its share of the noise, which protects nobody before it is summed under "
     "masks; write protection: secure-aggregation, or level: sample",
     [](const StudySpec& s) { return BySite(s) && !s.masked(); }},
    {"aggregation.rule", "privacy level site, robust rule",
     "the noise is calibrated for the sum of all sites; write rule: mean, or level: sample",
     [](const StudySpec& s) { return BySite(s) && Robust(s); }},
    {"algorithm.kind", "scaffold, privacy level sample or site",
     "its control variates would be a second release of the same patients, which the budget does "
     "not hold; write fedavg or fedprox",
     [](const StudySpec& s) { return Scaffold(s) && s.privacy.level != "none"; }},
    {"algorithm.kind", "scaffold, strategy: fedbuff",
     "its control variates are of one round's sites; write strategy: fedavg or algorithm: fedprox",
     [](const StudySpec& s) { return Scaffold(s) && Buffered(s); }},
    {"algorithm.kind", "scaffold, robust rule",
     "the rule judges updates, and a hostile site would steer the others by its control variate; "
     "write rule: mean or algorithm: fedprox",
     [](const StudySpec& s) { return Scaffold(s) && Robust(s); }},
    {"aggregation.server_optimizer", "server_optimizer, strategy: fedbuff",
     "its moments are of one synchronous change after another; write server_optimizer: none or "
     "strategy: fedavg",
     [](const StudySpec& s) { return s.optimizer.name != "none" && Buffered(s); }},
    {"aggregation.rule", "robust rule, strategy: fedbuff",
     "a buffer's updates start from different versions, so that honest ones differ as hostile ones "
     "do, and a fast site fills the buffer; write rule: mean or strategy: fedavg",
     [](const StudySpec& s) { return Robust(s) && Buffered(s); }},
    {"aggregation.hostile", "hostile, rule: mean",
     "a mean is at the mercy of one site; write the rule that shall stand so many, or remove "
     "hostile",
     [](const StudySpec& s) { return s.rule.hostile > 0 && !Robust(s); }},
    {"aggregation.hostile", "trimmed_mean, multi_krum or dnc, hostile 0 or missing",
     "the rule leaves out as many updates as hostile says, so it would leave out none; write "
     "hostile: 1 or more, or rule: mean",
     [](const StudySpec& s) {
       return s.rule.hostile == 0 && (s.rule.name == "trimmed_mean" ||
                                      s.rule.name == "multi_krum" || s.rule.name == "dnc");
     }},
    {"aggregation.root", "fltrust, root missing",
     "the rule measures each update by that of a site with public cases; write root: SITE",
     [](const StudySpec& s) { return FlTrust(s) && s.rule.root.empty(); }},
    {"aggregation.root", "root, another rule than fltrust",
     "only fltrust measures updates by a root; remove root, or write rule: fltrust",
     [](const StudySpec& s) { return !FlTrust(s) && !s.rule.root.empty(); }},
    {"aggregation.root", "fltrust, root among sites.evaluators",
     "an evaluator sends no update to measure by; take it out of sites.evaluators",
     [](const StudySpec& s) { return FlTrust(s) && s.IsEvaluator(s.rule.root); }},
    {"sites.required", "fltrust, root not among sites.required",
     "a round without the root's update has nothing to measure by; write sites: {required: [SITE]} "
     "with it",
     [](const StudySpec& s) { return FlTrust(s) && !s.IsRequired(s.rule.root); }},
};

absl::Status Refuse(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("study: ", key, ": ", what));
}

absl::Status InRange(absl::string_view key, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();  // not for NaN
  return Refuse(key, absl::StrCat("must be between ", NumberText(low), " and ", NumberText(high)));
}

// How many of `updates` may be hostile.
int64_t HostileMax(const RuleSpec& rule, int64_t updates) {
  int64_t most = 0;
  while (most < updates && aggregation::UpdatesMin(RuleOf(rule), most + 1) <= updates) ++most;
  return most;
}

// The least updates that a rule is ever given: a round may close with its quorum.
absl::Status CheckRule(const StudySpec& spec) {
  const RuleSpec& rule = spec.rule;
  if (rule.name == "mean") return absl::OkStatus();
  const bool grouped = Grouped(spec);
  const int64_t updates = grouped ? GroupsMin(spec) : spec.quorum;
  const int64_t most = HostileMax(rule, updates);
  if (rule.hostile < 0) return Refuse("aggregation.hostile", "must be 0 or more");
  if (rule.hostile > most) {
    return Refuse("aggregation.hostile",
                  absl::StrCat("is ", rule.hostile, ", but ", rule.name, " of ", updates,
                               grouped ? " groups (aggregation.min_sites over protection.group)"
                                       : " updates (rounds.quorum: a round may close with so few)",
                               " stands at most ", most, "; raise ",
                               grouped ? "min_sites" : "the quorum", " or lower hostile"));
  }
  return rule.root.empty() ? absl::OkStatus() : CheckName("study: aggregation.root", rule.root);
}

absl::Status CheckOptimizer(const OptimizerSpec& o) {
  constexpr const char* kKey = "aggregation.server_optimizer.";
  constexpr double kBetaMax = 0.9999;  // 1 would never move
  CSL_RETURN_IF_ERROR(InRange(absl::StrCat(kKey, "learning_rate"), o.learning_rate, 1e-6, 10));
  CSL_RETURN_IF_ERROR(InRange(absl::StrCat(kKey, "beta1"), o.beta1, 0, kBetaMax));
  CSL_RETURN_IF_ERROR(InRange(absl::StrCat(kKey, "beta2"), o.beta2, 0, kBetaMax));
  return InRange(absl::StrCat(kKey, "tau"), o.tau, 1e-12, 1);
}

absl::Status CheckCohort(const StudySpec& spec) {
  if (!spec.masked()) return absl::OkStatus();
  const int64_t cohort = spec.protection.min_cohort;
  if (cohort < kSecureSitesMin || cohort > spec.min_sites) {
    return Refuse("protection.min_cohort",
                  absl::StrCat("must be between ", kSecureSitesMin, " and aggregation.min_sites (",
                               spec.min_sites, ")"));
  }
  if (spec.quorum >= cohort) return absl::OkStatus();
  return Refuse("rounds.quorum",
                absl::StrCat("is ", spec.quorum, ", but no sum of fewer than ", cohort,
                             " sites (protection.min_cohort) is revealed; raise the quorum to ",
                             cohort, ", or write protection: sealed"));
}

absl::Status CheckPrivacy(const wire::PlanPrivacy& p) {
  if (p.level == "none") return absl::OkStatus();
  const struct {
    const char* key;
    double value;
  } needed[] = {{"epsilon", p.epsilon}, {"delta", p.delta}, {"clip", p.clip}};
  for (const auto& [key, value] : needed) {
    if (value != 0) continue;  // its range is the plan's to judge
    return Refuse(absl::StrCat("privacy.", key),
                  absl::StrCat("is missing: level ", p.level,
                               " promises (epsilon, delta) for what is clipped to clip; write all "
                               "three, such as epsilon: 8, delta: 1e-4, clip: 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckAlgorithm(const wire::PlanAlgorithm& a) {
  if (a.kind == "fedprox" && !(a.proximal_mu > 0)) {
    return Refuse("algorithm.proximal_mu",
                  "must be above 0; fedprox without its term is algorithm: fedavg");
  }
  for (const std::string& pattern : a.local_layers) {
    if (!pattern.empty() && pattern.find_first_not_of('*') == std::string::npos) {
      return Refuse("algorithm.local_layers",
                    absl::StrCat("'", pattern,
                                 "' keeps every layer at the site, so nothing would "
                                 "be learned together; name some, such as "
                                 "\"*.norm*\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace

aggregation::Rule RuleOf(const RuleSpec& spec) {
  if (spec.name == "median") return aggregation::Rule::kMedian;
  if (spec.name == "trimmed_mean") return aggregation::Rule::kTrimmedMean;
  if (spec.name == "multi_krum") return aggregation::Rule::kMultiKrum;
  if (spec.name == "dnc") return aggregation::Rule::kDnc;
  if (spec.name == "fltrust") return aggregation::Rule::kFlTrust;
  CSL_CHECK(spec.name == "mean");
  return aggregation::Rule::kWeightedMean;
}

std::vector<Combination> RefusedCombinations() {
  std::vector<Combination> out;
  for (const Row& row : kRows) out.push_back({row.key, row.together, row.reason});
  return out;
}

int64_t MaskedThreshold(int64_t sites) { return 2 * sites / 3 + 1; }

int64_t GroupsMin(const StudySpec& spec) {
  return spec.protection.group > 0 ? spec.min_sites / spec.protection.group : 0;
}

absl::Status CheckTerms(const StudySpec& spec) {
  for (const Row& row : kRows) {
    if (row.there(spec)) {
      return Refuse(row.key, absl::StrCat("(", row.together, ") ", row.reason));
    }
  }
  CSL_RETURN_IF_ERROR(CheckCohort(spec));
  CSL_RETURN_IF_ERROR(CheckRule(spec));
  CSL_RETURN_IF_ERROR(CheckOptimizer(spec.optimizer));
  CSL_RETURN_IF_ERROR(CheckPrivacy(spec.privacy));
  return CheckAlgorithm(spec.algorithm);
}

}  // namespace consilium::coordinator
