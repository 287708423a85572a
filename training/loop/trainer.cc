#include "training/loop/trainer.h"

#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "training/loop/adamw.h"
#include "training/loop/batch_source.h"
#include "training/loop/mean_teacher.h"
#include "training/loop/private_step.h"
#include "training/loop/proximal.h"
#include "training/loop/scaffold.h"
#include "training/loop/schedule.h"
#include "training/loop/sgd.h"
#include "training/loop/step_loss.h"
#include "training/loss/consistency.h"

namespace consilium::training {
namespace {

constexpr double kGradientNormMax = 12.0;  // nnU-Net's
constexpr double kProximalMuMax = 1000.0;

[[noreturn]] void Refuse(const std::string& reason) {
  throw std::invalid_argument("training: " + reason);
}

// Where the gradient of a plain run's step comes from.
class PlainStep {
 public:
  PlainStep(const Unet3d& student, const NetworkConfig& network, const TrainingConfig& config,
            at::Device device, CaseSource& cases, const RunOptions& options)
      : student_(student),
        config_(config),
        parameters_(student.tensors()),
        source_(cases, options.cases, network, config, device, options.seed) {
    source_.ReadAhead(options.steps);
  }

  bool has_labelled() const { return source_.has_labelled(); }

  // Fills in the losses of `report` and adds to the teacher's figures in `result`.
  std::vector<at::Tensor> Gradients(const MeanTeacher& teacher, double ramp, StepReport& report,
                                    RunResult& result);

 private:
  const Unet3d& student_;
  const TrainingConfig& config_;
  std::vector<at::Tensor> parameters_;
  BatchSource source_;
};

std::vector<at::Tensor> PlainStep::Gradients(const MeanTeacher& teacher, double ramp,
                                             StepReport& report, RunResult& result) {
  const StepLoss loss = NextLoss(source_, student_, teacher, config_, ramp);
  if (loss.supervised.defined()) report.supervised_loss = loss.supervised.item<double>();
  if (loss.consistency.defined()) report.consistency_loss = loss.consistency.item<double>();
  if (loss.unlabelled_probabilities.defined()) {
    const auto [certainty, best] = loss.unlabelled_probabilities.max(1);
    result.teacher_certainty += certainty.mean().item<double>();
    result.pseudo_foreground_fraction += best.gt(0).to(at::kFloat).mean().item<double>();
  }
  report.loss = loss.total.item<double>();
  if (!std::isfinite(report.loss)) throw std::runtime_error("training: the loss is not finite");

  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
  loss.total.backward();
  std::vector<at::Tensor> gradients;
  for (at::Tensor& parameter : parameters_) gradients.push_back(parameter.grad());
  const double norm = ClipGradients(gradients, kGradientNormMax);
  if (!std::isfinite(norm)) throw std::runtime_error("training: a gradient is not finite");
  return gradients;
}

// Everything of one run that lives from its first step to its last.
class Run {
 public:
  Run(Unet3d& student, const Unet3d& anchor, const NetworkConfig& network,
      const TrainingConfig& config, at::Device device, CaseSource& cases,
      const RunOptions& options);

  // Step number `done` (0-based) of the run; adds to the sums in `result`.
  StepReport Step(int64_t done, RunResult& result);
  std::vector<NamedArray> ScaffoldControl() const {
    return scaffold_ ? scaffold_->NewControl() : std::vector<NamedArray>();
  }

 private:
  void Update(std::vector<at::Tensor>& gradients, double rate);

  Unet3d& student_;
  const TrainingConfig& config_;
  const RunOptions& options_;
  std::optional<PlainStep> plain_;  // one of these two
  std::optional<PrivateStep> private_;
  const bool labelled_;  // the site, as far as teacher and rate are concerned
  std::vector<at::Tensor> parameters_;
  const ProximalTerm proximal_;
  std::optional<Scaffold> scaffold_;
  std::optional<AdamW> adamw_;
  MeanTeacher teacher_;
};

Run::Run(Unet3d& student, const Unet3d& anchor, const NetworkConfig& network,
         const TrainingConfig& config, at::Device device, CaseSource& cases,
         const RunOptions& options)
    : student_(student),
      config_(config),
      options_(options),
      labelled_([&] {
        if (options.private_training) {
          private_.emplace(student, network, config, device, cases, options);
          return options.private_training->site_has_labels;
        }
        plain_.emplace(student, network, config, device, cases, options);
        return plain_->has_labelled();
      }()),
      parameters_(student.tensors()),
      proximal_(student, anchor, config.proximal_mu, config.local_layers),
      teacher_(student,
               labelled_ ? MeanTeacher::Kind::kMovingAverage : MeanTeacher::Kind::kFrozen) {
  if (options.scaffold) scaffold_.emplace(student, *options.scaffold, config.local_layers);
  if (config.optimiser == TrainingConfig::Optimiser::kAdamW) {
    adamw_.emplace(parameters_, AdamWOptions{.weight_decay = config.weight_decay});
  }
}

StepReport Run::Step(int64_t done, RunResult& result) {
  const int64_t position = options_.start_step + done;
  const double ramp = ConsistencyRamp(position, config_.consistency_rampup_steps);
  StepReport report;
  report.step = done + 1;
  report.steps = options_.steps;
  std::vector<at::Tensor> gradients = private_ ? private_->Gradients(teacher_, ramp, done)
                                               : plain_->Gradients(teacher_, ramp, report, result);
  double rate = PolynomialRate(config_.learning_rate, position, config_.total_steps);
  // AdamW undoes any factor on the loss, so where consistency is the whole loss its ramp and
  // weight must act on the step instead; else a site without labels moves as far as one with.
  if (!labelled_) rate *= ramp * config_.unlabelled_rate;
  Update(gradients, rate);
  teacher_.Follow(student_, EmaDecay(position, config_.ema_decay));
  return report;
}

void Run::Update(std::vector<at::Tensor>& gradients, double rate) {
  proximal_.AddTo(gradients);
  if (scaffold_) scaffold_->Correct(gradients, rate);
  if (adamw_) {
    adamw_->Step(gradients, rate);
  } else {
    SgdStep(parameters_, gradients, rate, config_.weight_decay);
  }
}

void CheckRunOptions(const RunOptions& options, const TrainingConfig& config) {
  if (options.steps < 0) Refuse("steps must not be negative");
  if (options.start_step < 0) Refuse("start_step must not be negative");
  if (!options.scaffold) return;
  if (config.optimiser != TrainingConfig::Optimiser::kSgd) Refuse("SCAFFOLD needs plain SGD");
  if (config.proximal_mu != 0) Refuse("SCAFFOLD and a proximal term exclude each other");
}

}  // namespace

void CheckTrainingConfig(const TrainingConfig& config, const NetworkConfig& network) {
  CheckNetworkConfig(network);
  const SizeDhw stride = TotalStride(network);
  int64_t deepest = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t n = config.patch[axis];
    if (n < 1 || n > 1024 || n % stride[axis] != 0) {
      Refuse("patch axis of " + std::to_string(n) + " voxels, must be a multiple of " +
             std::to_string(stride[axis]) + " up to 1024");
    }
    deepest *= n / stride[axis];
  }
  // One voxel has no variance: instance norm would erase it.
  if (deepest < 2) Refuse("the patch leaves one voxel at the deepest level");
  const auto fraction = [](double v) { return v >= 0.0 && v <= 1.0; };
  if (config.batch < 1 || config.batch > 64) Refuse("batch must be in 1..64");
  if (!(config.learning_rate > 0.0 && config.learning_rate <= 1.0)) {
    Refuse("learning_rate must be in (0, 1]");
  }
  if (!fraction(config.weight_decay)) Refuse("weight_decay must be in [0, 1]");
  if (config.total_steps < 1) Refuse("total_steps must be at least 1");
  if (!(config.ema_decay >= 0.0 && config.ema_decay < 1.0)) Refuse("ema_decay must be in [0, 1)");
  if (!(config.consistency_weight >= 0.0 && config.consistency_weight <= 1000.0)) {
    Refuse("consistency_weight must be in [0, 1000]");
  }
  if (config.consistency_rampup_steps < 0) Refuse("consistency_rampup_steps must not be negative");
  if (!(config.consistency_temperature > 0.0 && config.consistency_temperature <= 1.0)) {
    Refuse("consistency_temperature must be in (0, 1]");
  }
  if (!fraction(config.unlabelled_rate)) Refuse("unlabelled_rate must be in [0, 1]");
  if (!fraction(config.foreground_fraction)) Refuse("foreground_fraction must be in [0, 1]");
  if (!(config.proximal_mu >= 0.0 && config.proximal_mu <= kProximalMuMax)) {
    Refuse("proximal_mu must be in [0, 1000]");
  }
}

RunResult Train(Unet3d& student, const Unet3d& anchor, const NetworkConfig& network,
                const TrainingConfig& config, at::Device device, CaseSource& cases,
                const RunOptions& options, const std::function<void(const StepReport&)>& observe,
                const std::atomic<bool>* stop) {
  CheckRunOptions(options, config);
  Run run(student, anchor, network, config, device, cases, options);
  RunResult result;
  result.losses_withheld = options.private_training.has_value();
  while (result.steps_done < options.steps) {
    if (stop != nullptr && stop->load()) break;
    if (options.private_training && options.private_training->should_stop_before_step &&
        options.private_training->should_stop_before_step()) {
      break;
    }
    const StepReport report = run.Step(result.steps_done, result);
    ++result.steps_done;
    result.mean_loss += report.loss;
    result.mean_supervised_loss += report.supervised_loss;
    result.mean_consistency_loss += report.consistency_loss;
    if (observe) observe(report);
  }
  if (result.steps_done > 0) {
    const double n = static_cast<double>(result.steps_done);
    for (double* sum : {&result.mean_loss, &result.mean_supervised_loss,
                        &result.mean_consistency_loss, &result.teacher_certainty,
                        &result.pseudo_foreground_fraction}) {
      *sum /= n;
    }
  }
  result.scaffold_control = run.ScaffoldControl();
  return result;
}

}  // namespace consilium::training
