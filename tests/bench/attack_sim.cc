// Hostile sites against the aggregation rules, in a federation that learns handwritten digits with
// the product's own door (UpdateCheck) and rules (RobustAggregator): 11 sites, 2 of them hostile,
// the digits dealt out by a Dirichlet distribution; and 20 sites in groups of four, each group
// summed as secure aggregation would, with the median across groups, the hostile ones in two
// groups.
//
//   attack_sim DIGITS.csv [--seeds N] [--alpha A] [--rounds N]
//
// Prints accuracy in percent, means over the seeds; behind it in brackets the backdoor's success in
// percent. Exit 1: trimmed mean, multi-Krum or DnC lost more than 3 points to an attack against
// their own attack-free run, or let the backdoor succeed in more than 10 %. The same arguments give
// the same table. attack_table.py fetches the digits and runs this.
//
// What the hostile sites send, x being what they would have sent:
//   label flip  trained with 9 - digit for digit      sign x5     -5 x
//   noise       x + a normal vector 100 times as long  free rider  zeros
//   backdoor    trained with trigger -> 0 among the examples, times n/f (model replacement)
//   ALIE        mean - z * standard deviation of the honest updates, z as in Baruch et al. 2019,
//               arXiv:1902.06156, algorithm 3
//   IPM e       -e * mean of the honest updates; Xie et al. 2019, arXiv:1903.03936
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "aggregation/robust_aggregator.h"
#include "aggregation/server_optimizer.h"
#include "aggregation/update_check.h"
#include "aggregation/weighted_mean.h"
#include "proto/base/thread_pool.h"
#include "tests/bench/attack_model.h"

namespace consilium::bench {
namespace {

using aggregation::Rule;
using Update = std::vector<float>;

constexpr size_t kHostile = 2;
constexpr size_t kSites = 11;
constexpr size_t kGroupedSites = 20;
constexpr size_t kExamplesMin = 16;
constexpr size_t kTestExamples = 400;
constexpr size_t kRootExamples = 100;  // the coordinator's own, of no site
constexpr double kPointsLostMax = 3;
constexpr double kBackdoorMax = 10;

enum class Attack {
  kNone,
  kLabelFlip,
  kSignFlip,
  kNoise,
  kBackdoor,
  kAlie,
  kIpmHalf,
  kIpmTen,
  kFreeRider
};
constexpr std::pair<Attack, const char*> kAttacks[] = {
    {Attack::kNone, "none"},           {Attack::kLabelFlip, "label flip"},
    {Attack::kSignFlip, "sign x5"},    {Attack::kNoise, "noise"},
    {Attack::kBackdoor, "backdoor"},   {Attack::kAlie, "ALIE"},
    {Attack::kIpmHalf, "IPM .5"},      {Attack::kIpmTen, "IPM 10"},
    {Attack::kFreeRider, "free rider"}};
constexpr Rule kRules[] = {Rule::kWeightedMean, Rule::kNormBound,  Rule::kMedian,
                           Rule::kTrimmedMean,  Rule::kMultiKrum,  Rule::kDnc,
                           Rule::kFlTrust,      Rule::kGroupMedian};
constexpr Rule kMustHold[] = {Rule::kTrimmedMean, Rule::kMultiKrum, Rule::kDnc};

struct Settings {
  std::string digits;
  uint64_t seeds = 3;
  double alpha = 1.0;
  uint64_t rounds = 80;
};

struct Run {
  Rule rule;
  Attack attack;
  uint64_t seed;
  double accuracy = 0;  // percent
  double backdoor = 0;  // percent
};

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "attack_sim: %s\n", std::string(status.message()).c_str());
  std::exit(2);
}

double NormOf(const Update& update) {
  return std::sqrt(std::inner_product(update.begin(), update.end(), update.begin(), 0.0));
}

void Scale(Update& update, double factor) {
  for (float& value : update) value = static_cast<float>(value * factor);
}

// z with Phi(z) = (n - f - s) / (n - f), s = floor(n/2 + 1) - f: by bisection.
double AlieZ(size_t n) {
  const double s = std::floor(static_cast<double>(n) / 2 + 1) - kHostile;
  const double honest = static_cast<double>(n - kHostile);
  double low = -5;
  double high = 5;
  while (high - low > 1e-9) {
    const double z = (low + high) / 2;
    (0.5 * std::erfc(-z / std::sqrt(2.0)) < (honest - s) / honest ? low : high) = z;
  }
  return low;
}

class Federation {
 public:
  Federation(const Run& run, const Settings& settings, const Examples& digits)
      : run_(run),
        sites_(run.rule == Rule::kGroupMedian ? kGroupedSites : kSites),
        train_random_(run.seed, "train"),
        attack_random_(run.seed, "attack") {
    Random random(run.seed, "deal");
    Examples shuffled = digits;
    for (size_t i = shuffled.size(); i > 1; --i) {
      std::swap(shuffled[i - 1],
                shuffled[static_cast<size_t>(random.Index(static_cast<int64_t>(i)))]);
    }
    const auto test_end = shuffled.begin() + kTestExamples;
    const auto root_end = test_end + kRootExamples;
    test_.assign(shuffled.begin(), test_end);
    root_.assign(test_end, root_end);
    data_ = Deal(Examples(root_end, shuffled.end()), sites_, settings.alpha, kExamplesMin, random);
    for (const Examples& site : data_)
      caps_milli_.push_back(static_cast<int64_t>(site.size()) * 1000);
    for (size_t site = 0; site < sites_; ++site) {
      if (IsHostile(site)) Poison(data_[site]);
    }
    model_ = InitialModel(random);
  }

  void Round(uint64_t round) {
    std::vector<Update> updates;
    for (const Examples& site : data_) {
      updates.push_back(TrainedDelta(model_, site, {}, train_random_));
    }
    Send(updates);
    const Update root = TrainedDelta(model_, root_, {}, train_random_);
    std::optional<Update> delta =
        run_.rule == Rule::kGroupMedian ? AcrossGroups(updates) : Aggregate(updates, root, round);
    if (!delta.has_value()) return;  // the round failed: the model stays
    Must(aggregation::ApplyServerOptimizer({}, *delta, absl::MakeSpan(model_), {}));
  }

  void Measure(Run& run) const {
    run.accuracy = 100 * Accuracy(model_, test_);
    run.backdoor = 100 * BackdoorSuccess(model_, test_);
  }

 private:
  // In the first two groups of four one each; among eleven the order does not matter.
  static bool IsHostile(size_t site) { return site == 0 || site == aggregation::kGroupSites; }

  void Poison(Examples& examples) const {
    if (run_.attack == Attack::kLabelFlip) {
      for (Example& example : examples)
        example.digit = static_cast<int>(kClasses) - 1 - example.digit;
    }
    if (run_.attack == Attack::kBackdoor) {
      const size_t count = examples.size();
      for (size_t i = 0; i < count; i += 2) {
        Example triggered = WithTrigger(examples[i]);
        triggered.digit = kBackdoorDigit;
        examples.push_back(triggered);
      }
    }
  }

  // Mean and standard deviation of the honest updates, which the hostile ones are taken to know.
  void HonestMoments(const std::vector<Update>& updates, Update& mean, Update& deviation) const {
    mean.assign(kModelParameters, 0.0f);
    deviation.assign(kModelParameters, 0.0f);
    const auto honest = static_cast<float>(sites_ - kHostile);
    for (size_t p = 0; p < kModelParameters; ++p) {
      for (size_t site = 0; site < sites_; ++site) {
        if (!IsHostile(site)) mean[p] += updates[site][p] / honest;
      }
      for (size_t site = 0; site < sites_; ++site) {
        const float d = updates[site][p] - mean[p];
        if (!IsHostile(site)) deviation[p] += d * d / honest;
      }
      deviation[p] = std::sqrt(deviation[p]);
    }
  }

  // Puts what the hostile sites send in place of what they trained.
  void Send(std::vector<Update>& updates) {
    Update mean;
    Update deviation;
    HonestMoments(updates, mean, deviation);
    for (size_t site = 0; site < sites_; ++site) {
      if (IsHostile(site)) Corrupt(mean, deviation, updates[site]);
    }
  }

  void Corrupt(const Update& mean, const Update& deviation, Update& update) {
    const auto scaled_mean = [&](double factor) {
      update = mean;
      Scale(update, factor);
    };
    switch (run_.attack) {
      case Attack::kNone:
      case Attack::kLabelFlip:
        break;
      case Attack::kSignFlip:
        Scale(update, -5);
        break;
      case Attack::kNoise: {
        const double sigma = 100 * NormOf(update) / std::sqrt(static_cast<double>(kModelParameters));
        for (float& value : update) value += static_cast<float>(sigma * attack_random_.Normal());
        break;
      }
      case Attack::kBackdoor:
        Scale(update, static_cast<double>(sites_) / kHostile);
        break;
      case Attack::kAlie: {
        const auto z = static_cast<float>(AlieZ(sites_));
        for (size_t p = 0; p < kModelParameters; ++p) update[p] = mean[p] - z * deviation[p];
        break;
      }
      case Attack::kIpmHalf:
        scaled_mean(-0.5);
        break;
      case Attack::kIpmTen:
        scaled_mean(-10);
        break;
      case Attack::kFreeRider:
        update.assign(kModelParameters, 0.0f);
        break;
    }
  }

  // What passes the door, the rule over it; nothing if the rule cannot hold with what is left.
  std::optional<Update> Aggregate(const std::vector<Update>& sent, const Update& root,
                                  uint64_t round) const {
    std::vector<absl::Span<const float>> rows;
    std::vector<int64_t> weights_milli;
    std::vector<double> norms;
    for (size_t site = 0; site < sites_; ++site) {
      aggregation::UpdateCheck check({.parameters = static_cast<int64_t>(kModelParameters)});
      if (!check.Add(sent[site]).ok()) continue;
      const absl::StatusOr<aggregation::UpdateFacts> facts = check.Finish();
      if (!facts.ok()) continue;
      rows.push_back(sent[site]);
      weights_milli.push_back(caps_milli_[site]);
      norms.push_back(facts->norm);
    }
    if (rows.empty()) return std::nullopt;
    std::nth_element(norms.begin(), norms.begin() + static_cast<long>(norms.size() / 2),
                     norms.end());
    const aggregation::RobustOptions options = {
        .rule = run_.rule,
        .hostile_max = run_.rule == Rule::kWeightedMean ? 0 : static_cast<int64_t>(kHostile),
        .norm_max = std::max(1e-6, norms[norms.size() / 2]),
        .dnc = {.seed = absl::StrCat("attack_sim ", run_.seed, "/", round),
                .sample_parameters = kModelParameters / 2}};
    auto rule = aggregation::RobustAggregator::Create(
        options, static_cast<int64_t>(kModelParameters), weights_milli);
    if (!rule.ok()) return std::nullopt;
    Must((*rule)->Observe(
        0, rows, (*rule)->NeedsRoot() ? absl::MakeConstSpan(root) : absl::Span<const float>()));
    const absl::StatusOr<aggregation::Decision> decision = (*rule)->Decide();
    if (!decision.ok()) return std::nullopt;
    Update delta(kModelParameters);
    Must((*rule)->Combine(*decision, rows, absl::MakeSpan(delta)));
    return delta;
  }

  // Nobody sees a single update: what the door cannot look at, the fold must be able to hold. The
  // quantiser of secure aggregation cuts values to its range.
  std::optional<Update> AcrossGroups(std::vector<Update>& sent) const {
    std::vector<Update> means;
    for (size_t first = 0; first < sites_; first += aggregation::kGroupSites) {
      aggregation::WeightedMean mean(static_cast<int64_t>(kModelParameters));
      for (size_t site = first; site < first + aggregation::kGroupSites; ++site) {
        for (float& value : sent[site]) {
          value = std::clamp(value, -aggregation::kUpdateValueMax, aggregation::kUpdateValueMax);
        }
        Must(mean.Begin(caps_milli_[site]));
        mean.Fold(0, sent[site]);
      }
      means.emplace_back(kModelParameters, 0.0f);
      Must(mean.AddMeanTo(absl::MakeSpan(means.back())));
    }
    Must(aggregation::CheckRule(Rule::kGroupMedian, static_cast<int64_t>(sites_), kHostile));
    Update delta(kModelParameters);
    const std::vector<absl::Span<const float>> rows(means.begin(), means.end());
    Must(aggregation::Median(rows, absl::MakeSpan(delta)));
    return delta;
  }

  const Run run_;
  const size_t sites_;
  Random train_random_;
  Random attack_random_;
  Examples test_;
  Examples root_;
  std::vector<Examples> data_;
  std::vector<int64_t> caps_milli_;
  Update model_;
};

struct Cell {
  double accuracy = 0;
  double backdoor = 0;
};
using Table = std::map<std::pair<Rule, Attack>, Cell>;

Table RunAll(const Settings& settings, const Examples& digits) {
  std::vector<Run> runs;
  for (const Rule rule : kRules) {
    for (const auto& [attack, name] : kAttacks) {
      for (uint64_t seed = 1; seed <= settings.seeds; ++seed) {
        runs.push_back({.rule = rule, .attack = attack, .seed = seed});
      }
    }
  }
  {
    ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
    for (Run& run : runs) {
      pool.Schedule([&run, &settings, &digits] {
        Federation federation(run, settings, digits);
        for (uint64_t round = 1; round <= settings.rounds; ++round) federation.Round(round);
        federation.Measure(run);
      });
    }
  }
  Table table;
  for (const Run& run : runs) {
    Cell& cell = table[{run.rule, run.attack}];
    cell.accuracy += run.accuracy / static_cast<double>(settings.seeds);
    cell.backdoor += run.backdoor / static_cast<double>(settings.seeds);
  }
  return table;
}

void Print(const Table& table) {
  std::printf("%-14s", "accuracy, %");
  for (const auto& [attack, name] : kAttacks) std::printf(" %11s", name);
  std::printf("\n");
  for (const Rule rule : kRules) {
    std::printf("%-14s", std::string(aggregation::RuleName(rule)).c_str());
    for (const auto& [attack, name] : kAttacks) {
      const Cell& cell = table.at({rule, attack});
      const std::string brackets =
          attack == Attack::kBackdoor ? absl::StrCat(" (", std::lround(cell.backdoor), ")") : "";
      std::printf(" %*.1f%s", 11 - static_cast<int>(brackets.size()), cell.accuracy,
                  brackets.c_str());
    }
    std::printf("\n");
  }
}

bool Holds(const Table& table) {
  bool holds = true;
  for (const Rule rule : kMustHold) {
    const std::string name(aggregation::RuleName(rule));
    const double free_of_attack = table.at({rule, Attack::kNone}).accuracy;
    for (const auto& [attack, attack_name] : kAttacks) {
      const double lost = free_of_attack - table.at({rule, attack}).accuracy;
      if (lost <= kPointsLostMax) continue;
      std::printf("FAILED: %s loses %.1f points to %s\n", name.c_str(), lost, attack_name);
      holds = false;
    }
    const double backdoor = table.at({rule, Attack::kBackdoor}).backdoor;
    if (backdoor <= kBackdoorMax) continue;
    std::printf("FAILED: %s lets the backdoor succeed in %.1f %%\n", name.c_str(), backdoor);
    holds = false;
  }
  return holds;
}

int Main(const Settings& settings) {
  const absl::StatusOr<Examples> digits = ReadDigits(settings.digits);
  Must(digits.status());
  std::printf(
      "%zu digits; %zu sites (group-median %zu), %zu hostile; Dirichlet %.2f; %u rounds; "
      "means of %u seeds\n",
      digits->size(), kSites, kGroupedSites, kHostile, settings.alpha,
      static_cast<unsigned>(settings.rounds), static_cast<unsigned>(settings.seeds));
  const Table table = RunAll(settings, *digits);
  Print(table);
  return Holds(table) ? 0 : 1;
}

std::optional<Settings> ParseArguments(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    bool ok = true;
    if (argument == "--seeds") {
      ok = absl::SimpleAtoi(value, &settings.seeds) && settings.seeds >= 1;
    } else if (argument == "--rounds") {
      ok = absl::SimpleAtoi(value, &settings.rounds) && settings.rounds >= 1;
    } else if (argument == "--alpha") {
      ok = absl::SimpleAtod(value, &settings.alpha) && settings.alpha > 0.01;
    } else {
      ok = settings.digits.empty() && argument.rfind("--", 0) != 0;
      settings.digits = argument;
      --i;  // no value
    }
    if (!ok) return std::nullopt;
    ++i;
  }
  if (settings.digits.empty()) return std::nullopt;
  return settings;
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  const auto settings = consilium::bench::ParseArguments(argc, argv);
  if (settings.has_value()) return consilium::bench::Main(*settings);
  std::fprintf(stderr, "usage: attack_sim DIGITS.csv [--seeds N] [--alpha A] [--rounds N]\n");
  return 2;
}
