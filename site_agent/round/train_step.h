// The seam between training/, which throws, and the rest of the agent, which does not.
//
// Errors: INVALID_ARGUMENT for std::invalid_argument (a plan, an array or a case that does not
// fit), RESOURCE_EXHAUSTED for std::bad_alloc, INTERNAL for everything else. Messages are the first line
// of what LibTorch says, bounded.
#ifndef CONSILIUM_SITE_AGENT_ROUND_TRAIN_STEP_H_
#define CONSILIUM_SITE_AGENT_ROUND_TRAIN_STEP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "training/session.h"

namespace consilium::agent {

absl::StatusOr<std::unique_ptr<training::Session>> MakeSession(
    const training::SessionOptions& options);

// Consumes the arrays: they are released before the call returns.
absl::Status ImportWeights(training::Session& session, std::vector<training::NamedArray> weights);

absl::StatusOr<std::vector<training::NamedArray>> ExportWeights(const training::Session& session);

// As ImportWeights, with the site's own local layers in place of the model's; `own` may be empty.
absl::Status ImportGlobal(training::Session& session, std::vector<training::NamedArray> global,
                          const std::vector<training::NamedArray>& own);
absl::StatusOr<std::vector<training::NamedArray>> ExportLocal(const training::Session& session);

// Loads case `index` or says why not. Called from one thread.
using CaseLoader = std::function<absl::StatusOr<training::Case>(int64_t index)>;

// Where the cases of a run come from: `labelled[i]` says it of case i.
struct CaseSet {
  std::vector<bool> labelled;
  CaseLoader load;
};

// A loader's error ends the run and is what the call returns.
absl::StatusOr<training::RunResult> RunSteps(
    training::Session& session, const CaseSet& cases, const training::RunOptions& options,
    const std::function<void(const training::StepReport&)>& observe, const std::atomic<bool>* stop);

// Trains the personal model in place (Session::RunPersonal); unchanged where it fails.
absl::StatusOr<training::RunResult> RunPersonalSteps(
    training::Session& session, std::vector<training::NamedArray>& personal, double lambda,
    const CaseSet& cases, const training::RunOptions& options,
    const std::function<void(const training::StepReport&)>& observe, const std::atomic<bool>* stop);

// Class probabilities [classes][D][H][W]. `moved`, if there is one, is called for each window that is
// done.
absl::StatusOr<std::vector<float>> PredictVolume(training::Session& session,
                                                 const training::Case& volume,
                                                 const std::function<void()>& moved = {});

// By label, 1.. in order; NaN where neither has a voxel of it.
absl::StatusOr<std::vector<double>> DiceByLabel(absl::Span<const uint8_t> prediction,
                                                absl::Span<const uint8_t> truth, int64_t classes);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TRAIN_STEP_H_
