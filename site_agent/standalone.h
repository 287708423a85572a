// One site without a coordinator: train from a folder of labelled DICOM, and measure any exported
// model on one. Both go the way of a federation's round: de-identify, prepare, train, compare.
#ifndef CONSILIUM_SITE_AGENT_STANDALONE_H_
#define CONSILIUM_SITE_AGENT_STANDALONE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/agent_options.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/segmenter.h"

namespace consilium::agent {

// Plan JSON as `consilium study plan NAME --output json` prints it; white space is allowed.
absl::StatusOr<wire::Plan> ReadPlanFile(const std::string& path);

// `stage` is what is being done ("ingest"), `unit` what is counted, `note` may be empty.
using StageProgress = std::function<void(const char* stage, const char* unit, int64_t done,
                                         int64_t total, const std::string& note)>;

struct Environment {
  ComputeOptions compute;
  uint64_t cache_bytes_max = uint64_t{20} << 30;
  StageProgress progress;  // may be empty
  const std::atomic<bool>& stop;
};

// Dice of a model by structure and case.
struct ModelEvaluation {
  std::string study;
  std::string model_version;
  std::string model_sha256;
  std::vector<std::string> structures;
  std::vector<CaseResult> cases;
  int64_t cases_left_out = 0;  // labelled, but not readable
  // Over the cases where it is defined; NaN where in none.
  double mean(size_t structure) const;
  double mean_of_all() const;  // of the structures' means
};
std::string EvaluationToJson(const ModelEvaluation& evaluation);
std::vector<std::vector<std::string>> EvaluationTable(const ModelEvaluation& evaluation);

// All labelled cases under `data` that fit the model's plan; they are taken into `home`.
// NOT_FOUND: there is none.
absl::StatusOr<ModelEvaluation> EvaluateOnData(const std::string& model_path,
                                               const std::vector<std::string>& data,
                                               const std::string& home,
                                               const Environment& environment);

struct TrainAloneOptions {
  std::vector<std::string> data;
  std::string out;                      // gets home/, model.safetensors, evaluation.json
  wire::Plan plan;
  std::vector<std::string> evaluate;    // other data to measure on; empty: the held-out part
};

struct TrainAloneResult {
  std::string model_path;
  int64_t training_cases = 0;
  int64_t labelled_cases = 0;
  int64_t steps = 0;
  double mean_loss = 0;
  ModelEvaluation evaluation;  // no cases: nothing is labelled to measure on
};

// Takes `data` into OUT/home, trains plan.training.rounds * steps_per_round steps in one run from
// the plan's seed, writes OUT/model.safetensors and OUT/evaluation.json. The plan's local
// validation part is held out in either case. CANCELLED: stopped; nothing is written.
absl::StatusOr<TrainAloneResult> TrainAlone(const TrainAloneOptions& options,
                                            const Environment& environment);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_STANDALONE_H_
