#include "aggregation/robust_aggregator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregation/weighted_mean.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::aggregation {
namespace {

constexpr int64_t kParametersMax = int64_t{1} << 32;
constexpr double kRoundingMargin = 1000;

absl::Status CheckWeights(const std::vector<int64_t>& weights_milli) {
  if (weights_milli.size() > kRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kRowsMax, " updates"));
  }
  int64_t total = 0;
  for (const int64_t weight : weights_milli) {
    if (weight <= 0) return absl::InvalidArgumentError("the weight must be positive");
    if (weight > kWeightTotalMaxMilli - total) {
      return absl::InvalidArgumentError("the weights of a round add up to too much");
    }
    total += weight;
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const RobustOptions& options) {
  if (options.rule == Rule::kNormBound &&
      !(std::isfinite(options.norm_max) && options.norm_max > 0)) {
    return absl::InvalidArgumentError("the bound of the norm must be positive");
  }
  if (options.rule != Rule::kDnc) return absl::OkStatus();
  const DncOptions& dnc = options.dnc;
  if (dnc.seed.empty()) return absl::InvalidArgumentError("dnc needs a seed");
  if (dnc.iterations < 1 || dnc.iterations > kDncIterationsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("dnc takes 1 to ", kDncIterationsMax, " iterations"));
  }
  if (dnc.sample_parameters < 1 || dnc.sample_parameters > kDncSampleMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("dnc takes samples of 1 to ", kDncSampleMax, " parameters"));
  }
  return absl::OkStatus();
}

std::unique_ptr<UpdateStatistics> StatisticsFor(Rule rule, size_t updates) {
  using Gather = UpdateStatistics::Gather;
  switch (rule) {
    case Rule::kNormBound:
      return std::make_unique<UpdateStatistics>(Gather::kNorms, updates);
    case Rule::kKrum:
    case Rule::kMultiKrum:
      return std::make_unique<UpdateStatistics>(Gather::kDistances, updates);
    case Rule::kFlTrust:
      return std::make_unique<UpdateStatistics>(Gather::kNormsAndRoot, updates);
    default:
      return nullptr;
  }
}

void Drop(UpdateVerdict& verdict, std::string reason) {
  verdict = {.factor = 0, .reason = std::move(reason), .dropped = true};
}

}  // namespace

std::vector<double> Decision::Factors() const {
  std::vector<double> factors;
  factors.reserve(updates.size());
  for (const UpdateVerdict& verdict : updates) factors.push_back(verdict.factor);
  return factors;
}

RobustAggregator::RobustAggregator(const RobustOptions& options, int64_t parameters,
                                   std::vector<int64_t> weights_milli)
    : options_(options),
      parameters_(parameters),
      weights_milli_(std::move(weights_milli)),
      statistics_(StatisticsFor(options.rule, updates())) {
  if (options.rule == Rule::kDnc) {
    dnc_ = std::make_unique<DncFilter>(options.dnc, parameters, updates());
  }
}

absl::StatusOr<std::unique_ptr<RobustAggregator>> RobustAggregator::Create(
    const RobustOptions& options, int64_t parameters, std::vector<int64_t> weights_milli) {
  const auto n = static_cast<int64_t>(weights_milli.size());
  const Rule rule = options.rule == Rule::kGroupMedian ? Rule::kMedian : options.rule;
  CSL_RETURN_IF_ERROR(CheckRule(rule, n, options.hostile_max));
  CSL_RETURN_IF_ERROR(CheckWeights(weights_milli));
  CSL_RETURN_IF_ERROR(CheckOptions(options));
  if (parameters < 1 || parameters > kParametersMax) {
    return absl::InvalidArgumentError("the model's size is out of range");
  }
  return std::unique_ptr<RobustAggregator>(
      new RobustAggregator(options, parameters, std::move(weights_milli)));
}

absl::Status RobustAggregator::Observe(int64_t offset, Rows rows, absl::Span<const float> root) {
  if (rows.size() != updates()) {
    return absl::InvalidArgumentError("a block is not of every update");
  }
  const auto count = static_cast<int64_t>(rows.front().size());
  if (offset < 0 || offset > parameters_ || count > parameters_ - offset) {
    return absl::InvalidArgumentError("the block lies beyond the model's parameters");
  }
  if (statistics_ != nullptr) return statistics_->Add(offset, rows, root);
  if (dnc_ == nullptr) return absl::OkStatus();
  const bool equal = std::all_of(rows.begin(), rows.end(), [count](absl::Span<const float> row) {
    return static_cast<int64_t>(row.size()) == count;
  });
  if (!equal) return absl::InvalidArgumentError("the updates' blocks differ in length");
  dnc_->Add(offset, rows);
  absl::MutexLock lock(&mutex_);
  sampled_ += count;
  return absl::OkStatus();
}

// Weighted mean of what was not dropped.
void RobustAggregator::SetFactorsByWeight(Decision& decision) const {
  int64_t total = 0;
  for (size_t i = 0; i < updates(); ++i) {
    if (!decision.updates[i].dropped) total += weights_milli_[i];
  }
  for (size_t i = 0; i < updates(); ++i) {
    UpdateVerdict& verdict = decision.updates[i];
    if (verdict.dropped) continue;
    verdict.factor = static_cast<double>(weights_milli_[i]) / static_cast<double>(total);
  }
}

void RobustAggregator::DecideNormBound(Decision& decision) const {
  SetFactorsByWeight(decision);
  for (size_t i = 0; i < updates(); ++i) {
    const double norm = std::sqrt(statistics_->SquaredNorm(i));
    if (norm <= options_.norm_max) continue;
    UpdateVerdict& verdict = decision.updates[i];
    verdict.factor *= options_.norm_max / norm;
    verdict.reason = absl::StrFormat("its norm %.4g was cut to %.4g", norm, options_.norm_max);
  }
}

void RobustAggregator::DecideKrum(Decision& decision) const {
  const size_t n = updates();
  const auto f = static_cast<size_t>(options_.hostile_max);
  std::vector<double> scores(n);
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> distances;
    for (size_t j = 0; j < n; ++j) {
      if (j != i) distances.push_back(statistics_->SquaredDistance(i, j));
    }
    std::sort(distances.begin(), distances.end());
    scores[i] =
        std::accumulate(distances.begin(), distances.begin() + static_cast<long>(n - f - 2), 0.0);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&scores](size_t a, size_t b) { return scores[a] < scores[b]; });
  const size_t kept = options_.rule == Rule::kKrum ? 1 : n - f;
  const double last = scores[order[kept - 1]];
  for (size_t k = kept; k < n; ++k) {
    Drop(decision.updates[order[k]],
         absl::StrFormat("its distance score %.4g is rank %d of %d; kept were %d, up to %.4g",
                         scores[order[k]], k + 1, n, kept, last));
  }
  SetFactorsByWeight(decision);
}

void RobustAggregator::DecideDnc(Decision& decision) const {
  const std::vector<int64_t> times = dnc_->TimesDropped(options_.hostile_max);
  for (size_t i = 0; i < updates(); ++i) {
    if (times[i] == 0) continue;
    Drop(decision.updates[i],
         absl::StrFormat("it stood out along the direction of most variance in %d of %d samples",
                         times[i], options_.dnc.iterations));
  }
  SetFactorsByWeight(decision);
}

absl::Status RobustAggregator::DecideFlTrust(Decision& decision) const {
  const double root_norm = std::sqrt(statistics_->RootSquaredNorm());
  const double squared_min = kRoundingMargin * statistics_->RoundingErrorMax();
  if (root_norm * root_norm <= squared_min) {
    return absl::FailedPreconditionError("the root update is zero or too short");
  }
  double total = 0;
  for (size_t i = 0; i < updates(); ++i) {
    UpdateVerdict& verdict = decision.updates[i];
    const double squared = statistics_->SquaredNorm(i);
    // Rescaling what was mostly lost in rounding would blow it up beyond the root's norm.
    if (squared <= squared_min) {
      Drop(verdict, "it is zero or too short to have a direction");
      continue;
    }
    const double norm = std::sqrt(squared);
    const double cosine = statistics_->RootProduct(i) / (norm * root_norm);
    if (!(cosine > 0)) {
      Drop(verdict, absl::StrFormat("its cosine to the root update is %.4f", cosine));
      continue;
    }
    total += cosine;
    verdict.factor = cosine * root_norm / norm;
    verdict.reason = absl::StrFormat("trusted by its cosine to the root update, %.4f", cosine);
  }
  if (total == 0) {
    return absl::FailedPreconditionError("no update points the way of the root update");
  }
  for (UpdateVerdict& verdict : decision.updates) verdict.factor /= total;
  return absl::OkStatus();
}

absl::StatusOr<Decision> RobustAggregator::Decide() const {
  if (NeedsFirstPass()) {
    int64_t observed = 0;
    if (statistics_ != nullptr) {
      observed = statistics_->parameters();
    } else {
      absl::MutexLock lock(&mutex_);
      observed = sampled_;
    }
    if (observed != parameters_) {
      return absl::FailedPreconditionError(
          absl::StrCat("of ", parameters_, " parameters ", observed, " were observed"));
    }
  }
  Decision decision;
  decision.updates.resize(updates());
  switch (options_.rule) {
    case Rule::kWeightedMean:
      SetFactorsByWeight(decision);
      break;
    case Rule::kNormBound:
      DecideNormBound(decision);
      break;
    case Rule::kKrum:
    case Rule::kMultiKrum:
      DecideKrum(decision);
      break;
    case Rule::kDnc:
      DecideDnc(decision);
      break;
    case Rule::kFlTrust:
      CSL_RETURN_IF_ERROR(DecideFlTrust(decision));
      break;
    case Rule::kMedian:
    case Rule::kGroupMedian:
    case Rule::kTrimmedMean:
      break;
  }
  return decision;
}

absl::Status RobustAggregator::Combine(const Decision& decision, Rows rows,
                                       absl::Span<float> delta) const {
  if (rows.size() != updates() || decision.updates.size() != updates()) {
    return absl::InvalidArgumentError("a block is not of every update");
  }
  switch (options_.rule) {
    case Rule::kMedian:
    case Rule::kGroupMedian:
      return Median(rows, delta);
    case Rule::kTrimmedMean:
      return TrimmedMean(rows, options_.hostile_max, delta);
    default:
      return WeightedSum(rows, decision.Factors(), delta);
  }
}

}  // namespace consilium::aggregation
