#include "site_agent/policy/training_hours.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"

namespace consilium::agent {
namespace {

constexpr int kDayMinutes = 24 * 60;
constexpr int kSearchDays = 8;  // a week, and today's window that may have begun already

// -1: not HH:MM.
int MinuteOf(absl::string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  for (const size_t at : {0u, 1u, 3u, 4u}) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(text[at]))) return -1;
  }
  int hour = 0, minute = 0;
  if (!absl::SimpleAtoi(text.substr(0, 2), &hour) || !absl::SimpleAtoi(text.substr(3), &minute)) {
    return -1;
  }
  const int all = hour * 60 + minute;
  return minute < 60 && all <= kDayMinutes ? all : -1;
}

bool IsDay(const TrainingHours& hours, absl::CivilDay day) {
  return hours.days[static_cast<size_t>(absl::GetWeekday(day))];
}

std::vector<HourWindow> WindowsOf(const TrainingHours& hours) {
  return hours.windows.empty() ? std::vector<HourWindow>{HourWindow()} : hours.windows;
}

}  // namespace

absl::StatusOr<HourWindow> ParseHourWindow(absl::string_view text) {
  const size_t dash = text.find('-');
  HourWindow window{-1, -1};
  if (dash != absl::string_view::npos) {
    window = {MinuteOf(text.substr(0, dash)), MinuteOf(text.substr(dash + 1))};
  }
  if (window.begin_minute < 0 || window.begin_minute == kDayMinutes || window.end_minute < 0 ||
      window.begin_minute == window.end_minute) {
    return absl::InvalidArgumentError(
        "must be a window of local time such as 20:00-06:00, or 00:00-24:00 for the whole day");
  }
  return window;
}

std::string FormatHourWindow(const HourWindow& window) {
  return absl::StrFormat("%02d:%02d-%02d:%02d", window.begin_minute / 60, window.begin_minute % 60,
                         window.end_minute / 60, window.end_minute % 60);
}

bool MayTrainAt(const TrainingHours& hours, absl::Time now, const absl::TimeZone& zone) {
  const absl::CivilSecond local = zone.At(now).cs;
  const absl::CivilDay today(local);
  const int minute = local.hour() * 60 + local.minute();
  for (const HourWindow& window : WindowsOf(hours)) {
    const bool begun = minute >= window.begin_minute;
    const bool ended = minute >= window.end_minute;
    if (!window.over_midnight()) {
      if (begun && !ended && IsDay(hours, today)) return true;
      continue;
    }
    if (begun && IsDay(hours, today)) return true;
    if (!ended && IsDay(hours, today - 1)) return true;
  }
  return false;
}

absl::Time NextOpening(const TrainingHours& hours, absl::Time from, const absl::TimeZone& zone) {
  if (MayTrainAt(hours, from, zone)) return from;
  const absl::CivilDay today(zone.At(from).cs);
  absl::Time first = absl::InfiniteFuture();
  for (int ahead = 0; ahead <= kSearchDays; ++ahead) {
    const absl::CivilDay day = today + ahead;
    if (!IsDay(hours, day)) continue;
    for (const HourWindow& window : WindowsOf(hours)) {
      // An hour that a change of the clocks leaves out begins where the clocks go on.
      const absl::TimeZone::TimeInfo begin =
          zone.At(absl::CivilSecond(day) + 60 * window.begin_minute);
      const absl::Time at =
          begin.kind == absl::TimeZone::TimeInfo::SKIPPED ? begin.trans : begin.pre;
      if (at > from) first = std::min(first, at);
    }
  }
  return first;
}

}  // namespace consilium::agent
