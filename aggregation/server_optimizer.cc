#include "aggregation/server_optimizer.h"

#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::aggregation {
namespace {

constexpr double kEtaMax = 1000;
constexpr double kTauMin = 1e-10;  // its square is still a float

constexpr std::array<std::pair<ServerOptimizer, absl::string_view>, 5> kNames = {{
    {ServerOptimizer::kFedAvg, "fedavg"},
    {ServerOptimizer::kFedAvgM, "fedavgm"},
    {ServerOptimizer::kFedAdagrad, "fedadagrad"},
    {ServerOptimizer::kFedYogi, "fedyogi"},
    {ServerOptimizer::kFedAdam, "fedadam"},
}};

// Written so that NaN, which compares false with everything, is refused.
absl::Status CheckEta(double eta) {
  if (eta > 0 && eta <= kEtaMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the server's learning rate must be above 0 and at most ", kEtaMax));
}

absl::Status CheckDecay(absl::string_view name, double beta) {
  if (beta >= 0 && beta < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " must be at least 0 and below 1"));
}

struct AdagradMoment {
  double operator()(double v, double square) const { return v + square; }
};

struct YogiMoment {
  double rest;  // 1 - beta2
  double operator()(double v, double square) const {
    const double step = rest * square;
    return v > square ? v - step : (v < square ? v + step : v);
  }
};

struct AdamMoment {
  double beta2;
  double rest;  // 1 - beta2
  double operator()(double v, double square) const { return beta2 * v + rest * square; }
};

template <typename Moment>
void Adapt(const ServerOptimizerOptions& options, absl::Span<const float> delta, Moment moment,
           absl::Span<float> base, ServerState state) {
  const double beta1 = options.beta1;
  const double rest1 = 1 - beta1;
  const double eta = options.eta;
  const double tau = options.tau;
  const float* d = delta.data();
  float* x = base.data();
  float* m = state.m.data();
  float* v = state.v.data();
  for (size_t i = 0; i < delta.size(); ++i) {
    const double gradient = d[i];
    const double first = beta1 * m[i] + rest1 * gradient;
    const double second = moment(static_cast<double>(v[i]), gradient * gradient);
    m[i] = static_cast<float>(first);
    v[i] = static_cast<float>(second);
    x[i] = static_cast<float>(x[i] + eta * first / (std::sqrt(second) + tau));
  }
}

void AddScaled(absl::Span<const float> delta, double factor, absl::Span<float> to) {
  for (size_t i = 0; i < delta.size(); ++i) {
    to[i] = static_cast<float>(to[i] + factor * static_cast<double>(delta[i]));
  }
}

void AddWithMomentum(const ServerOptimizerOptions& options, absl::Span<const float> delta,
                     absl::Span<float> base, absl::Span<float> m) {
  for (size_t i = 0; i < delta.size(); ++i) {
    const double momentum = options.beta1 * m[i] + static_cast<double>(delta[i]);
    m[i] = static_cast<float>(momentum);
    base[i] = static_cast<float>(base[i] + options.eta * momentum);
  }
}

}  // namespace

absl::string_view ServerOptimizerName(ServerOptimizer optimizer) {
  for (const auto& [named, name] : kNames) {
    if (named == optimizer) return name;
  }
  return "unknown";
}

absl::StatusOr<ServerOptimizer> ParseServerOptimizer(absl::string_view name) {
  for (const auto& [optimizer, known] : kNames) {
    if (known == name) return optimizer;
  }
  return absl::InvalidArgumentError("no server optimiser has this name");
}

bool UsesFirstMoment(ServerOptimizer optimizer) { return optimizer != ServerOptimizer::kFedAvg; }

bool UsesSecondMoment(ServerOptimizer optimizer) {
  return optimizer == ServerOptimizer::kFedAdagrad || optimizer == ServerOptimizer::kFedYogi ||
         optimizer == ServerOptimizer::kFedAdam;
}

float InitialSecondMoment(const ServerOptimizerOptions& options) {
  return static_cast<float>(options.tau * options.tau);
}

absl::Status CheckServerOptimizer(const ServerOptimizerOptions& options) {
  CSL_RETURN_IF_ERROR(CheckEta(options.eta));
  if (UsesFirstMoment(options.optimizer)) CSL_RETURN_IF_ERROR(CheckDecay("beta1", options.beta1));
  if (!UsesSecondMoment(options.optimizer)) return absl::OkStatus();
  if (options.optimizer != ServerOptimizer::kFedAdagrad) {
    CSL_RETURN_IF_ERROR(CheckDecay("beta2", options.beta2));
  }
  if (options.tau >= kTauMin && options.tau <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tau must be ", kTauMin, " to 1"));
}

absl::Status ApplyServerOptimizer(const ServerOptimizerOptions& options,
                                  absl::Span<const float> mean_delta, absl::Span<float> base,
                                  ServerState state) {
  CSL_RETURN_IF_ERROR(CheckServerOptimizer(options));
  const size_t size = mean_delta.size();
  if (base.size() != size || state.m.size() != (UsesFirstMoment(options.optimizer) ? size : 0) ||
      state.v.size() != (UsesSecondMoment(options.optimizer) ? size : 0)) {
    return absl::InvalidArgumentError("the delta, the base and the state differ in length");
  }
  switch (options.optimizer) {
    case ServerOptimizer::kFedAvg:
      AddScaled(mean_delta, options.eta, base);
      break;
    case ServerOptimizer::kFedAvgM:
      AddWithMomentum(options, mean_delta, base, state.m);
      break;
    case ServerOptimizer::kFedAdagrad:
      Adapt(options, mean_delta, AdagradMoment{}, base, state);
      break;
    case ServerOptimizer::kFedYogi:
      Adapt(options, mean_delta, YogiMoment{1 - options.beta2}, base, state);
      break;
    case ServerOptimizer::kFedAdam:
      Adapt(options, mean_delta, AdamMoment{options.beta2, 1 - options.beta2}, base, state);
      break;
  }
  return absl::OkStatus();
}

absl::Status ApplyScaffold(const ScaffoldRound& round, absl::Span<const float> mean_delta_y,
                           absl::Span<const float> mean_delta_c, absl::Span<float> x,
                           absl::Span<float> c) {
  CSL_RETURN_IF_ERROR(CheckEta(round.eta_global));
  if (round.sites < 1 || round.sites > round.population) {
    return absl::InvalidArgumentError("of the study's sites 1 or more have to have taken part");
  }
  const size_t size = x.size();
  if (mean_delta_y.size() != size || mean_delta_c.size() != size || c.size() != size) {
    return absl::InvalidArgumentError("the deltas, the model and the variate differ in length");
  }
  AddScaled(mean_delta_y, round.eta_global, x);
  AddScaled(mean_delta_c, static_cast<double>(round.sites) / static_cast<double>(round.population),
            c);
  return absl::OkStatus();
}

}  // namespace consilium::aggregation
