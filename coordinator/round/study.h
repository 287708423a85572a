// A study file: what an administrator writes, read strictly and with every default filled in.
//
// An unknown key, a key given twice, a wrong type or a value that cannot work is INVALID_ARGUMENT;
// the message names the key, its line, and what to write instead. Functions are pure.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/wire/plan.h"

namespace consilium::coordinator {

inline constexpr size_t kStudyBytesMax = 64 * 1024;

// The part of the plan that a study may leave to the sites' data: an empty one is "auto".
struct PlanSpec {
  std::optional<std::array<double, 3>> spacing_xyz_mm;
  std::optional<std::array<int64_t, 3>> patch_xyz;
  std::optional<std::vector<int64_t>> features;
  std::optional<std::vector<std::array<int64_t, 3>>> strides_xyz;
  std::optional<int64_t> steps_per_round;
  std::optional<int64_t> consistency_rampup_steps;
  std::string normalisation = "z-score";  // proto/wire/normalisation.h
  // The rest is fixed; what stands above, rounds, seed and semi_supervised are not read from here.
  wire::PlanTraining training;
};

// Who closes a round: everyone (kFedAvg), or the updates of a buffer (kFedBuff; study_buffer.cc).
enum class Strategy { kFedAvg, kFedBuff };

// How the updates of a round become one change (aggregation/).
struct RuleSpec {
  std::string name = "mean";  // mean | median | trimmed_mean | multi_krum | dnc | fltrust
  int64_t hostile = 0;        // f: how many sites may send anything; not with mean
  std::string root;           // fltrust: the site that holds the coordinator's own public cases
  friend bool operator==(const RuleSpec&, const RuleSpec&) = default;
};

// What the coordinator does with that change (aggregation/server_optimizer.h).
struct OptimizerSpec {
  std::string name = "none";  // none | momentum | fedadagrad | fedadam | fedyogi
  double learning_rate = 1;
  double beta1 = 0.9;   // momentum, fedadam, fedyogi
  double beta2 = 0.99;  // fedadam, fedyogi
  double tau = 1e-3;    // fedadagrad, fedadam, fedyogi
  friend bool operator==(const OptimizerSpec&, const OptimizerSpec&) = default;
};

inline constexpr int64_t kSecureSitesMin = 3;  // of secure aggregation: two would read each other

inline constexpr absl::Duration kLeaseDefault = absl::Seconds(60);
inline constexpr absl::Duration kStallDefault = absl::Minutes(10);

struct StudySpec {
  std::string name;
  std::vector<wire::PlanLabel> labels;
  std::string modality = "MR";
  std::vector<wire::SeriesRule> rules;
  std::vector<wire::PlanChannel> channels;  // after the first, which is the two above
  double coverage_min = wire::Plan().coverage_min;
  PlanSpec plan;
  std::string network = "unet";
  std::string semi_supervised = "mean_teacher";
  // At least so many trainers before the plan is fixed and before a round opens.
  int64_t min_sites = 2;
  double unlabelled_weight = 0.2;  // of a case without labels, against one with
  int64_t unlabelled_after = 2;    // committed rounds before sites without labels train
  int64_t rounds = 20;             // committed ones
  int64_t local_epochs = 1;
  absl::Duration deadline = absl::Minutes(30);  // of a round, and of an evaluation
  int64_t quorum = 2;  // updates with which a round may end at its deadline; at most min_sites
  // A site of which nothing was heard for so long is silent: a round that has its quorum does not
  // wait for it.
  absl::Duration lease = kLeaseDefault;
  // A site whose task's counters stand still for so long is not waited for either, though it is heard of.
  absl::Duration stall = kStallDefault;
  std::vector<std::string> evaluators;  // sites that only evaluate
  std::vector<std::string> required;    // without one of them no round is committed
  Strategy strategy = Strategy::kFedAvg;
  // kFedBuff only.
  int64_t buffer = 0;  // updates that make a version; at most min_sites, so that it can fill
  double staleness_exponent = 0.5;
  int64_t staleness_max = 10;  // versions; an update whose base is older is refused
  RuleSpec rule;
  OptimizerSpec optimizer;
  // These four are part of the plan, so that sites can judge them. Without `protection` in the file it
  // is secure-aggregation where min_sites is kSecureSitesMin or more and nothing needs single updates.
  wire::PlanProtection protection;
  wire::PlanPrivacy privacy;
  wire::PlanAlgorithm algorithm;
  std::string purpose;
  int64_t evaluate_every = 0;           // rounds; 0: only at the end
  uint64_t seed = 0;

  bool masked() const { return protection.kind == "secure-aggregation"; }
  bool IsEvaluator(absl::string_view site) const;
  bool IsRequired(absl::string_view site) const;
};

absl::StatusOr<StudySpec> ParseStudy(const std::string& yaml);

// The whole study with every default written out. ParseStudy gives `spec` back.
std::string StudyToYaml(const StudySpec& spec);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_H_
