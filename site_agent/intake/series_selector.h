// Which series a channel of a plan takes: a modality, rules on attributes, and a unit that the
// series has to deliver.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_SERIES_SELECTOR_H_
#define CONSILIUM_SITE_AGENT_INTAKE_SERIES_SELECTOR_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/intake/catalog.h"

namespace consilium::agent {

// Immutable.
class SeriesSelector {
 public:
  // INVALID_ARGUMENT: a condition that cannot be read ("<= many").
  static absl::StatusOr<SeriesSelector> Create(const wire::PlanChannel& channel);

  const std::string& modality() const { return modality_; }
  // What the series does not meet, in the plan's words and without values, or nothing.
  std::optional<std::string> Objection(const CaseRecord& record) const;

 private:
  struct Condition {
    enum class Kind { kEquals, kNotEquals, kAtMost, kAtLeast, kBelow, kAbove };
    Kind kind = Kind::kEquals;
    std::string text;
    double number = 0;
  };
  static absl::StatusOr<Condition> ParseCondition(const wire::SeriesRule& rule);
  static bool Compare(const Condition& condition, double value);
  static bool Meets(const Condition& condition, const std::vector<std::string>& values);

  std::string modality_;
  std::vector<std::pair<wire::SeriesRule, Condition>> rules_;
  bool needs_suv_ = false;
};

// One for each channel of the plan, the first included.
absl::StatusOr<std::vector<SeriesSelector>> SelectorsOf(const wire::Plan& plan);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_SERIES_SELECTOR_H_
