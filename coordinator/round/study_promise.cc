#include "coordinator/round/study_promise.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_checks.h"
#include "coordinator/round/study_privacy.h"
#include "coordinator/round/study_terms.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kSitesComfortable =
    5;  // below it two sites that collude learn much of the others
constexpr int64_t kGroupRecommended = 4;
constexpr double kDeltaComfortable = 1e-3;
constexpr double kEpsilonWeak = 8;                 // level: standard
constexpr int64_t kExampleCohorts[] = {100, 500};  // patients of a site

std::string Count(int64_t n, absl::string_view noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

// A convolution without bias and its norm's weight and bias, twice.
int64_t BlockParameters(int64_t in, int64_t out) {
  return 27 * in * out + 27 * out * out + 4 * out;
}

class Writer {
 public:
  // `steps`: of a round; 0: not known yet.
  Writer(const StudySpec& spec, int64_t parameters, int64_t steps)
      : spec_(spec), parameters_(parameters), steps_(steps) {}

  StudyPromise Write() && {
    Protection();
    Dropouts();
    Traffic();
    Rule();
    Algorithm();
    Privacy();
    return std::move(out_);
  }

 private:
  template <typename... Parts>
  void Promise(const Parts&... parts) {
    out_.promises.push_back(absl::StrCat(parts...));
  }
  template <typename... Parts>
  void Warn(const Parts&... parts) {
    out_.warnings.push_back(absl::StrCat(parts...));
  }

  void Protection();
  void Dropouts();
  void Traffic();
  void Rule();
  void Algorithm();
  void Privacy();
  void SitePrivacy();
  void SamplePrivacy();

  const StudySpec& spec_;
  const int64_t parameters_;
  const int64_t steps_;
  StudyPromise out_;
};

void Writer::Protection() {
  const wire::PlanProtection& p = spec_.protection;
  if (!spec_.masked()) {
    Promise(
        "protection: sealed. The coordinator opens each update and can read what it says of its "
        "site; nobody else can.");
    if (DefaultProtection(spec_) != "sealed") {
      Warn(
          "protection: secure-aggregation would work here, and nobody could read a site's update; "
          "leave the key protection out to have it.");
    } else if (spec_.min_sites < kSecureSitesMin) {
      Warn("protection: with fewer than ", kSecureSitesMin,
           " sites (aggregation.min_sites) the coordinator reads each update.");
    }
  } else if (p.group > 0) {
    Promise("protection: secure aggregation in groups of ", p.group, ", words of ", p.bits,
            " bits. Nobody, the coordinator included, can read one site's update; the coordinator "
            "sees the sum of each group, never of fewer than ",
            p.min_cohort, " sites.");
    if (p.group < kGroupRecommended) {
      Warn("protection.group: none of a group of ", p.group,
           " may drop out, or its sum is lost; groups of ", kGroupRecommended, " stand one.");
    }
  } else {
    Promise("protection: secure aggregation, words of ", p.bits,
            " bits. Nobody, the coordinator included, can read one site's update; the coordinator, "
            "and whoever has two versions in a row, sees the sum of all, never of fewer than ",
            p.min_cohort, " sites.");
    if (spec_.min_sites < kSitesComfortable) {
      Warn("protection: a sum of fewer than ", kSitesComfortable,
           " sites says much about each: all but one who collude take their own from it and have "
           "the other's.");
    }
  }
  if (p.norm_max > 0) {
    Promise("norm: an update of more than ", NumberText(p.norm_max),
            spec_.masked() ? " is scaled down to it by its own site, which nobody else can check."
                           : " is refused.");
  }
}

void Writer::Dropouts() {
  const int64_t n = spec_.min_sites;
  if (spec_.strategy == Strategy::kFedBuff) {
    Promise("drop-outs: a version is made of ", Count(spec_.buffer, "update"),
            ", whoever sends them; at the deadline ", spec_.quorum, " suffice.");
    return;
  }
  if (!spec_.masked()) {
    Promise("drop-outs: a round of ", Count(n, "site"), " ends with ", spec_.quorum,
            " at its deadline, so ", n - spec_.quorum, " may be missing.");
    return;
  }
  if (spec_.protection.group > 0) {
    const int64_t group = spec_.protection.group, groups = GroupsMin(spec_);
    const int64_t needed = std::max(MaskedThreshold(group), spec_.protection.min_cohort);
    const int64_t groups_needed = std::max<int64_t>(3, 2 * spec_.rule.hostile + 1);
    Promise("drop-outs: of ", Count(n, "site"), " ", n - spec_.quorum,
            " may be missing (rounds.quorum), ", group - needed, " of a group of ", group,
            " without loss of its sum; of the ", groups, " groups ", groups - groups_needed,
            " may be lost.");
    return;
  }
  const int64_t threshold = MaskedThreshold(n);
  const int64_t needed = std::max({threshold, spec_.protection.min_cohort, spec_.quorum});
  Promise("drop-outs: the sum of a round of ", Count(n, "site"), " is opened by ", needed, ", so ",
          n - needed, " may drop out; of more sites it takes two thirds and one.");
  if (spec_.quorum < threshold) {
    Warn("rounds.quorum: is ", spec_.quorum, ", but a masked round of ", Count(n, "site"),
         " needs ", threshold, " (floor(2n/3) + 1) to be opened; the larger number counts.");
  }
}

void Writer::Traffic() {
  const bool controls = spec_.algorithm.kind == "scaffold";
  const int64_t word = spec_.masked() ? spec_.protection.bits / 8 : 4;
  const double megabytes = static_cast<double>(parameters_ * word * (controls ? 2 : 1)) / 1e6;
  Promise("traffic: each site sends ", spec_.algorithm.local_layers.empty() ? "" : "at most ",
          absl::StrFormat("%.1f MB", megabytes), " a round (",
          absl::StrFormat("%.2f million", static_cast<double>(parameters_) / 1e6), " parameters",
          controls ? ", twice for the control variates" : "", ").");
  if (spec_.masked() && spec_.protection.bits == 16) {
    Promise(
        "precision: 16 bits change the mean of a round by about 0.1 % at 10 sites and 0.3 % at "
        "50.");
  }
}

void Writer::Rule() {
  const RuleSpec& rule = spec_.rule;
  if (rule.name == "mean") {
    Promise("robustness: none. The rule is a mean, which one hostile site can put anywhere",
            spec_.protection.norm_max > 0 && !spec_.masked() ? " within protection.norm_max" : "",
            ".");
    return;
  }
  const bool grouped = spec_.masked();
  Promise("robustness: ", rule.name, " of ", grouped ? GroupsMin(spec_) : spec_.quorum,
          grouped ? " groups" : " updates or more", " stands ", rule.hostile, " hostile",
          rule.name == "fltrust" ? absl::StrCat(", measured by the update of ", rule.root) : "",
          ". All updates count equally.");
  if (rule.hostile == 0 && rule.name == "median") {
    Warn("aggregation.hostile: is 0; with hostile: 1 a study that is too small for it is refused.");
  }
}

void Writer::Algorithm() {
  const wire::PlanAlgorithm& a = spec_.algorithm;
  if (!a.local_layers.empty()) {
    Promise("local layers: what matches ", absl::StrJoin(a.local_layers, ", "),
            " never leaves its site.");
  }
  if (a.personal_lambda > 0) {
    Promise("personal models: each site keeps one of its own, which never leaves it.");
    if (spec_.privacy.level != "none") {
      Warn(
          "algorithm.personal_lambda: personal models are trained without noise; whoever takes "
          "one out of its site breaks the promise of privacy.");
    }
  }
}

void Writer::Privacy() {
  if (spec_.privacy.level == "none") {
    Warn(
        "privacy: no guarantee. Nothing bounds what sums and models say about a patient; level: "
        "sample or level: site would.");
    return;
  }
  spec_.privacy.level == "site" ? SitePrivacy() : SamplePrivacy();
  Warn(
      "privacy: the promise is of training. Counts of cases, and Dice of held-out cases, are "
      "reported as they are.");
}

void Writer::SitePrivacy() {
  const wire::PlanPrivacy& p = spec_.privacy;
  const absl::StatusOr<dp::PrivacyPromise> promise = SitePromise(spec_, parameters_);
  if (!promise.ok()) {
    Warn("privacy: no guarantee can be given: ", promise.status().message(), ".");
    return;
  }
  Promise(
      "privacy: of a whole site, epsilon ", absl::StrFormat("%.3g", promise->epsilon), ", delta ",
      NumberText(p.delta), " over ", Count(spec_.rounds, "round"),
      ": each site clips its update to ", NumberText(p.clip), " and adds its share of noise of ",
      absl::StrFormat("%.4g", promise->noise_multiplier),
      " times that; the noise is there in full when the fewest sites that open a sum are left.");
  Promise("cost: the noise in the mean of ", Count(spec_.min_sites, "site"), " is ",
          absl::StrFormat("%.3g", promise->noise_to_signal),
          " times as long as an update on which all agree.");
  for (const std::string& warning : promise->warnings) Warn("privacy: ", warning, ".");
}

void Writer::SamplePrivacy() {
  const wire::PlanPrivacy& p = spec_.privacy;
  Promise("privacy: of a patient, epsilon ", NumberText(p.epsilon), ", delta ", NumberText(p.delta),
          " over the whole study, by DP-SGD at each site: each patient's gradient is clipped to ",
          NumberText(p.clip), ", ", NumberText(p.patients_per_step),
          " patients are expected in a step. A site stops at its budget.");
  if (p.delta > kDeltaComfortable) {
    Warn("privacy.delta: is ", NumberText(p.delta),
         "; of a cohort of N patients it should be at most min(1e-3, 1/(10 N)).");
  }
  if (p.epsilon > kEpsilonWeak) {
    Warn("privacy.epsilon: is ", NumberText(p.epsilon), "; above ", NumberText(kEpsilonWeak),
         " the bound is weak.");
  }
  if (steps_ == 0) {
    Promise(
        "cost: depends on the steps of a round, which follow from the sites' data; `study show` "
        "says it when the plan is fixed.");
    return;
  }
  bool possible = false;
  for (const int64_t patients : kExampleCohorts) {
    const absl::StatusOr<dp::PrivacyPromise> one =
        SamplePromise(spec_, parameters_, steps_, patients);
    if (!one.ok()) continue;
    possible = true;
    Promise("cost: a site of ", patients, " patients adds noise of ",
            absl::StrFormat("%.3g", one->noise_multiplier), " times the clip in each of ",
            one->releases, " steps, ", absl::StrFormat("%.3g", one->noise_to_signal),
            " times as long as gradients that all agree; ",
            absl::StrFormat("%.3g", one->noise_to_signal_study), " times over the study and ",
            Count(spec_.min_sites, "site"), ".");
  }
  if (!possible) {
    Warn("privacy: no site of up to ", kExampleCohorts[std::size(kExampleCohorts) - 1],
         " patients can keep this budget over ", spec_.rounds, " rounds of ", steps_, " steps.");
  }
}

}  // namespace

int64_t ParameterCount(const wire::Plan& plan) {
  const std::vector<int64_t>& features = plan.network.features;
  int64_t count = BlockParameters(plan.network.in_channels, features[0]);
  for (size_t level = 1; level < features.size(); ++level) {
    const auto& stride = plan.network.strides_xyz[level];
    const int64_t in = features[level], out = features[level - 1];
    count += BlockParameters(out, in);                      // on the way down
    count += in * out * stride[0] * stride[1] * stride[2];  // up: kernel equals stride
    count += BlockParameters(2 * out, out);
  }
  return count + plan.classes() * (features[0] + 1);
}

StudyPromise PromiseOf(const StudySpec& spec, const wire::Plan* fixed) {
  const wire::Plan plan = fixed != nullptr ? *fixed : ProvisionalPlan(spec);
  const bool steps_known = fixed != nullptr || spec.plan.steps_per_round.has_value();
  return Writer(spec, ParameterCount(plan), steps_known ? plan.training.steps_per_round : 0)
      .Write();
}

}  // namespace consilium::coordinator
