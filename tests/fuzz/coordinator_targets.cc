#include "coordinator/round/study.h"
#include "proto/base/check.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

void RunStudy(absl::string_view bytes) {
  const auto spec = coordinator::ParseStudy(std::string(bytes));
  if (!spec.ok()) return;
  const std::string yaml = coordinator::StudyToYaml(*spec);
  const auto again = coordinator::ParseStudy(yaml);
  CSL_CHECK(again.ok());
  CSL_CHECK(coordinator::StudyToYaml(*again) == yaml);
}

std::vector<std::string> StudySeeds() {
  return {
      "name: hippocampus\n"
      "task: {labels: {1: Anterior, 2: Posterior}, codes: {1: HIPPOCAMPUS_ANTERIOR}}\n"
      "series: {modality: MR, rules: [{ImageType: \"!LOCALIZER\"}, {SliceThickness: \"<= 3\"}]}\n"
      "plan: {features: [8, 16, 32], strides_xyz: [[1,1,1],[2,2,2],[2,2,2]],\n"
      "       spacing_xyz_mm: [3, 3, 3], patch_xyz: [32, 40, 32], batch: 2, steps_per_round: 6}\n"
      "aggregation: {min_sites: 3, unlabelled_after: 1}\n"
      "protection: sealed\n"
      "rounds: {count: 3, deadline: 10m, quorum: 2}\n"
      "sites: {evaluators: [validation]}\n"
      "evaluation: {every: 0}\n",
      "name: h\ntask: {labels: {1: A}}\nprotection: sealed\n",
      "name: h\ntask: {labels: {1: A}}\npurpose: research\n"
      "aggregation: {min_sites: 12, server_optimizer: {name: fedadam, learning_rate: 0.01},\n"
      "              rule: median, hostile: 1}\n"
      "protection: {kind: secure-aggregation, bits: 32, clip: 1, min_cohort: 3, group: 4}\n"
      "privacy: {level: sample, epsilon: 8, delta: 1e-4, clip: 1, patients_per_step: 8}\n"
      "algorithm: {kind: fedprox, proximal_mu: 0.1, local_layers: [\"*.norm*\"]}\n",
      "name: h\ntask: {labels: {1: A}}\nprotection: sealed\nplan: {coverage_min: 0.9}\n"
      "series: [{modality: CT, rules: [{SliceThickness: \"<= 3\"}], normalisation: window lung},\n"
      "         {modality: PT, normalisation: suv window 5 10}]\n",
      "name: h\nname: h\n", "&a [*a]\n", "a: &x [1, 2]\nb: *x\n", "{{{{[[[[", "? ? ? ?\n"};
}

}  // namespace

std::vector<Target> CoordinatorTargets() { return {{"study", RunStudy, StudySeeds}}; }

}  // namespace consilium::fuzz
