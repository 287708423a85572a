#include "training/loop/private_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "training/loop/batch_source.h"
#include "training/loop/step_loss.h"

namespace consilium::training {
namespace {

// Keeps a clipped norm below `clip` through the rounding of the norm and of the scaling, both in
// double: at most 1e-9 for a billion values.
constexpr double kRoundingMargin = 1e-9;
// Multiples of the grid up to this many are exact in float.
constexpr double kGridStepsMax = 16777216.0;
constexpr uint64_t kSeedPurpose = 16;  // 1 and 2 are BatchSource's

[[noreturn]] void Refuse(const std::string& reason) {
  throw std::invalid_argument("private_training: " + reason);
}

// Statistics over a batch, and the running ones of a batch norm, carry what was never clipped from
// one patient to another. A new kind of network must answer here.
bool NormalisesOverBatch(NetworkConfig::Kind kind) {
  switch (kind) {
    case NetworkConfig::Kind::kUnet:
      return false;  // instance norm, without running statistics
  }
  return true;
}

bool Positive(double value) { return std::isfinite(value) && value > 0.0; }

void CheckRules(const PrivateTraining& rules, int64_t parameters) {
  if (!Positive(rules.clip)) Refuse("clip must be above 0");
  if (!(rules.noise_multiplier >= 0.0 && std::isfinite(rules.noise_multiplier * rules.clip))) {
    Refuse("noise_multiplier must be at least 0");
  }
  if (!Positive(rules.expected_patients)) Refuse("expected_patients must be above 0");
  if (!(rules.sampling_rate > 0.0 && rules.sampling_rate <= 1.0)) {
    Refuse("sampling_rate must be in (0, 1]");
  }
  if (rules.augmentations_averaged < 1 || rules.augmentations_averaged > 64) {
    Refuse("augmentations_averaged must be in 1..64");
  }
  if (!rules.uniform) Refuse("there is no source of draws");
  if (!rules.add_noise) Refuse("there is nothing that adds the noise");
  if (rules.grid == 0.0) return;
  int exponent = 0;
  if (!Positive(rules.grid) || std::frexp(rules.grid, &exponent) != 0.5) {
    Refuse("grid must be 0 or a power of two");
  }
  // Rounding toward zero takes up to one grid step off each value; of a clipped gradient that is
  // spread evenly this leaves all but 1/64.
  if (rules.grid * std::sqrt(static_cast<double>(parameters)) > rules.clip / 64.0) {
    Refuse("grid is too coarse for a network of " + std::to_string(parameters) + " parameters");
  }
}

}  // namespace

ClippedSum::ClippedSum(const std::vector<at::Tensor>& parameters, double clip, double grid)
    : clip_(clip), grid_(grid) {
  for (const at::Tensor& parameter : parameters) {
    sum_.push_back(at::zeros_like(parameter, parameter.options().dtype(at::kDouble)));
  }
}

void ClippedSum::Add(const std::vector<at::Tensor>& gradients) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> squares;
  for (const at::Tensor& gradient : gradients) {
    if (gradient.defined()) squares.push_back(gradient.to(at::kDouble).square().sum());
  }
  if (squares.empty()) return;
  const double norm = std::sqrt(at::stack(squares).sum().item<double>());
  if (!std::isfinite(norm)) {
    throw std::runtime_error("training: the gradient of a patient is not finite");
  }
  const double bound = clip_ * (1.0 - kRoundingMargin);
  const double scale = norm > bound ? bound / norm : 1.0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) continue;
    const at::Tensor value = gradients[i].to(at::kDouble);
    if (grid_ == 0.0) {
      sum_[i].add_(value, scale);
    } else {
      sum_[i].add_(at::trunc(value * (scale / grid_)), grid_);
    }
  }
}

std::vector<float> ClippedSum::Flat() const {
  std::vector<float> flat;
  int64_t count = 0;
  for (const at::Tensor& sum : sum_) count += sum.numel();
  flat.reserve(static_cast<size_t>(count));
  for (const at::Tensor& sum : sum_) {
    const double limit = grid_ * kGridStepsMax;
    const at::Tensor held = grid_ == 0.0 ? sum : sum.clamp(-limit, limit);
    const at::Tensor values = held.to(at::kFloat).to(at::kCPU).contiguous();
    const float* begin = values.data_ptr<float>();
    flat.insert(flat.end(), begin, begin + values.numel());
  }
  return flat;
}

PrivateStep::PrivateStep(const Unet3d& student, const NetworkConfig& network,
                         const TrainingConfig& config, at::Device device, CaseSource& cases,
                         const RunOptions& options)
    : student_(student),
      network_(network),
      config_(config),
      device_(device),
      cases_(cases),
      options_(options),
      rules_(*options.private_training),
      parameters_(student.tensors()) {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
  int64_t count = 0;
  for (const at::Tensor& parameter : parameters_) count += parameter.numel();
  CheckRules(rules_, count);
  if (NormalisesOverBatch(network.kind)) Refuse("the network normalises over a batch");
  if (static_cast<int64_t>(rules_.patient_of_case.size()) != cases.size()) {
    Refuse(std::to_string(rules_.patient_of_case.size()) + " patients for " +
           std::to_string(cases.size()) + " cases");
  }
  std::map<int64_t, Patient> by_number;
  const auto use = [&](int64_t index) {
    const int64_t number = rules_.patient_of_case[static_cast<size_t>(index)];
    Patient& patient = by_number[number];
    patient.number = number;
    patient.cases.push_back(index);
    if (config.consistency_weight > 0 || cases.labelled(index)) patient.has_loss = true;
  };
  for (int64_t index : options.cases) {
    if (index < 0 || index >= cases.size()) {
      Refuse("case " + std::to_string(index) + " of " + std::to_string(cases.size()));
    }
    use(index);
  }
  for (int64_t i = 0; options.cases.empty() && i < cases.size(); ++i) use(i);
  for (auto& [number, patient] : by_number) patients_.push_back(std::move(patient));
  if (std::none_of(patients_.begin(), patients_.end(),
                   [](const Patient& patient) { return patient.has_loss; })) {
    Refuse("no case can give a loss");
  }
}

std::vector<at::Tensor> PrivateStep::Gradients(const MeanTeacher& teacher, double ramp,
                                               int64_t done) {
  std::vector<float> flat;
  {
    ClippedSum sum(parameters_, rules_.clip, rules_.grid);
    const uint64_t step_seed =
        DeriveSeed(options_.seed, kSeedPurpose + static_cast<uint64_t>(done));
    for (const Patient& patient : patients_) {
      if (Drawn()) AddContribution(patient, teacher, ramp, step_seed, sum);
    }
    flat = sum.Flat();
  }
  rules_.add_noise(flat, rules_.noise_multiplier * rules_.clip);
  if (!std::all_of(flat.begin(), flat.end(), [](float v) { return std::isfinite(v); })) {
    throw std::runtime_error("training: a noised gradient is not finite");
  }
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  const float* next = flat.data();
  for (const at::Tensor& parameter : parameters_) {
    at::Tensor gradient = at::empty(parameter.sizes(), at::kFloat);
    const size_t n = static_cast<size_t>(gradient.numel());
    std::memcpy(gradient.data_ptr<float>(), next, n * sizeof(float));
    next += n;
    gradients.push_back(gradient.to(device_).div_(rules_.expected_patients));
  }
  return gradients;
}

bool PrivateStep::Drawn() const {
  const double draw = rules_.uniform();
  if (!(draw >= 0.0 && draw < 1.0)) {
    throw std::runtime_error("training: a draw is not in [0, 1)");
  }
  return draw < rules_.sampling_rate;
}

void PrivateStep::AddContribution(const Patient& patient, const MeanTeacher& teacher, double ramp,
                                  uint64_t step_seed, ClippedSum& sum) {
  if (!patient.has_loss) return;
  // By the patient's number and not by how many came before, so that what one patient gives does
  // not depend on who else is there.
  BatchSource source(cases_, patient.cases, network_, config_, device_,
                     DeriveSeed(step_seed, static_cast<uint64_t>(patient.number)));
  const double share = 1.0 / static_cast<double>(rules_.augmentations_averaged);
  for (int64_t i = 0; i < rules_.augmentations_averaged; ++i) {
    const at::Tensor loss = NextLoss(source, student_, teacher, config_, ramp).total;
    (share == 1.0 ? loss : loss * share).backward();  // adds to the gradients so far
  }
  std::vector<at::Tensor> gradients;
  for (at::Tensor& parameter : parameters_) {
    gradients.push_back(parameter.grad());
    parameter.mutable_grad() = at::Tensor();  // nothing of one patient stays with the network
  }
  sum.Add(gradients);
}

}  // namespace consilium::training
