#include "site_agent/round/masking/metrics.h"

#include <algorithm>
#include <iterator>

#include "privacy/secagg/quantise.h"
#include "proto/base/check.h"

namespace consilium::agent {
namespace {

struct Metric {
  absl::string_view name;
  double (*value)(const UpdateFacts&);
};

constexpr Metric kMetrics[] = {
    {"loss", [](const UpdateFacts& f) { return f.summary.mean_loss; }},
    {"supervised_loss", [](const UpdateFacts& f) { return f.summary.mean_supervised_loss; }},
    {"consistency_loss", [](const UpdateFacts& f) { return f.summary.mean_consistency_loss; }},
    {"teacher_certainty", [](const UpdateFacts& f) { return f.summary.teacher_certainty; }},
    {"pseudo_foreground",
     [](const UpdateFacts& f) { return f.summary.pseudo_foreground_fraction; }},
    {"saturated", [](const UpdateFacts& f) { return f.saturated; }},
    {"labelled_cases", [](const UpdateFacts& f) { return static_cast<double>(f.labelled_cases); }},
    {"unlabelled_cases",
     [](const UpdateFacts& f) { return static_cast<double>(f.unlabelled_cases); }},
    {"steps", [](const UpdateFacts& f) { return static_cast<double>(f.summary.steps); }},
};

const Metric* Find(absl::string_view name) {
  const auto* const found = std::find_if(std::begin(kMetrics), std::end(kMetrics),
                                         [&](const Metric& metric) { return metric.name == name; });
  return found == std::end(kMetrics) ? nullptr : found;
}

}  // namespace

bool IsMetric(absl::string_view name) { return Find(name) != nullptr; }

std::vector<double> MetricValues(absl::Span<const std::string> names, const UpdateFacts& facts) {
  std::vector<double> values;
  for (const std::string& name : names) {
    const Metric* const metric = Find(name);
    CSL_CHECK(metric != nullptr);
    const double value = metric->value(facts);
    values.push_back(value > 0 ? std::min(value, secagg::kMetricMax) : 0);  // NaN: 0
  }
  return values;
}

}  // namespace consilium::agent
