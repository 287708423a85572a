#include "site_agent/round/private_run.h"

#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <utility>

#include "proto/base/status.h"

namespace consilium::agent {

absl::StatusOr<std::unique_ptr<PrivateRun>> PrivateRun::Create(
    const wire::Plan& plan, const BudgetPart& part, int64_t parameters,
    const std::vector<std::string>& patient_of_case, bool site_has_labels) {
  CSL_ASSIGN_OR_RETURN(dp::LocalNoise noise,
                       dp::LocalNoise::Create({.clip = plan.privacy.clip,
                                               .noise_multiplier = part.noise_multiplier,
                                               .dimensions = parameters}));
  std::unique_ptr<PrivateRun> run(new PrivateRun(plan, part, std::move(noise)));
  std::map<std::string, int64_t> numbers;
  for (const std::string& patient : patient_of_case) {
    const auto number = static_cast<int64_t>(numbers.size());
    run->patient_of_case_.push_back(numbers.try_emplace(patient, number).first->second);
  }
  run->site_has_labels_ = site_has_labels;
  return run;
}

training::PrivateTraining PrivateRun::Rules() {
  training::PrivateTraining rules;
  rules.clip = clip_;
  rules.noise_multiplier = part_.noise_multiplier;
  rules.expected_patients = expected_;
  rules.sampling_rate = part_.sampling_rate;
  rules.patient_of_case = patient_of_case_;
  rules.site_has_labels = site_has_labels_;
  rules.grid = noise_.grid();  // the noise's own, so that its snapping finds nothing to do
  rules.uniform = [this] { return Uniform(); };
  rules.add_noise = [this](std::span<float> sum, double) { AddNoise(sum); };
  rules.should_stop_before_step = [this] { return MayNotStep(); };
  return rules;
}

bool PrivateRun::MayNotStep() {
  if (!status_.ok() || steps_begun_ >= part_.steps) return true;
  ++steps_begun_;
  return false;
}

double PrivateRun::Uniform() { return static_cast<double>(draws_.Next() >> 11) * 0x1p-53; }

void PrivateRun::AddNoise(std::span<float> sum) {
  status_ = noise_.AddTo(noise_words_, absl::MakeSpan(sum.data(), sum.size()));
  // Nothing of a sum without noise may get into the weights: what is no number ends the run.
  if (!status_.ok()) {
    std::fill(sum.begin(), sum.end(), std::numeric_limits<float>::quiet_NaN());
  }
}

}  // namespace consilium::agent
