// When a site lets its machine train: windows of local time on days of the week.
//
// Pure functions on values. Thread-safe.
#ifndef CONSILIUM_SITE_AGENT_POLICY_TRAINING_HOURS_H_
#define CONSILIUM_SITE_AGENT_POLICY_TRAINING_HOURS_H_

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::agent {

// From `begin` to before `end`, minutes after local midnight, 0..1440. An end that is not after the
// begin is on the next day: 20:00-06:00 is {1200, 360}.
struct HourWindow {
  int begin_minute = 0;
  int end_minute = 24 * 60;
  bool over_midnight() const { return end_minute <= begin_minute; }
  friend bool operator==(const HourWindow&, const HourWindow&) = default;
};

// "20:00-06:00"; "00:00-24:00" is the whole day. INVALID_ARGUMENT: not of that form, or empty
// ("06:00-06:00"); the message is the remedy.
absl::StatusOr<HourWindow> ParseHourWindow(absl::string_view text);
std::string FormatHourWindow(const HourWindow& window);

struct TrainingHours {
  std::vector<HourWindow> windows;  // empty: at any hour
  // Monday first. The days on which a window may begin: with Friday's 20:00-06:00 that is until
  // Saturday at six.
  std::array<bool, 7> days = {true, true, true, true, true, true, true};
  friend bool operator==(const TrainingHours&, const TrainingHours&) = default;
};

bool MayTrainAt(const TrainingHours& hours, absl::Time now, const absl::TimeZone& zone);

// The first moment from `from` on at which training is allowed: `from` itself, or the beginning of
// a window. InfiniteFuture when no day is.
absl::Time NextOpening(const TrainingHours& hours, absl::Time from, const absl::TimeZone& zone);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_TRAINING_HOURS_H_
