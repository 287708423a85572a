#include "site_agent/policy/training_hours.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

class TrainingHoursTest : public testing::Test {
 protected:
  TrainingHoursTest() { EXPECT_TRUE(absl::LoadTimeZone("Europe/Amsterdam", &zone_)); }
  absl::Time Local(int day, int hour, int minute = 0) const {
    return absl::FromCivil(absl::CivilSecond(2026, 5, day, hour, minute),
                           zone_);  // the 1st: Friday
  }
  TrainingHours Of(absl::string_view window, std::array<bool, 7> days) const {
    return {{*ParseHourWindow(window)}, days};
  }
  static constexpr std::array<bool, 7> kAlways = {true, true, true, true, true, true, true};
  static constexpr std::array<bool, 7> kWorkdays = {true, true, true, true, true, false, false};
  absl::TimeZone zone_;
};

TEST_F(TrainingHoursTest, WindowsReadBackAndBadOnesSayHowToWriteThem) {
  for (const char* text : {"20:00-06:00", "00:00-24:00", "08:30-08:31", "23:59-00:00"}) {
    const auto window = ParseHourWindow(text);
    ASSERT_TRUE(window.ok()) << text;
    EXPECT_EQ(FormatHourWindow(*window), text);
  }
  for (const char* text :
       {"", "20-06", "20:00", "20:00-20:00", "24:00-06:00", "08:60-09:00", "20:00-25:00",
        "20:00-06:00 ", "+8:00-09:00", "20:00--6:00", "a:bc-d:ef"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHourWindow(text).status())) << text;
  }
}

TEST_F(TrainingHoursTest, NoWindowAndNoDayLeftOutIsAlways) {
  EXPECT_TRUE(MayTrainAt(TrainingHours(), Local(1, 3), zone_));
  EXPECT_EQ(NextOpening(TrainingHours(), Local(1, 3), zone_), Local(1, 3));
}

TEST_F(TrainingHoursTest, ANightBelongsToTheDayOnWhichItBegins) {
  const TrainingHours nights = Of("20:00-06:00", kWorkdays);
  EXPECT_FALSE(MayTrainAt(nights, Local(1, 19, 59), zone_));
  EXPECT_TRUE(MayTrainAt(nights, Local(1, 20), zone_));
  EXPECT_TRUE(MayTrainAt(nights, Local(2, 5, 59), zone_));  // Saturday, Friday's night
  EXPECT_FALSE(MayTrainAt(nights, Local(2, 6), zone_));
  EXPECT_FALSE(MayTrainAt(nights, Local(2, 21), zone_));  // Saturday's own
  EXPECT_FALSE(MayTrainAt(nights, Local(4, 5), zone_));   // Monday: Sunday's night
  EXPECT_EQ(NextOpening(nights, Local(2, 6), zone_), Local(4, 20));
  EXPECT_EQ(NextOpening(nights, Local(1, 19), zone_), Local(1, 20));
}

TEST_F(TrainingHoursTest, TheEarliestOfSeveralWindowsOpensNext) {
  TrainingHours hours = Of("18:00-20:00", kAlways);
  hours.windows.push_back(*ParseHourWindow("12:00-13:00"));
  EXPECT_EQ(NextOpening(hours, Local(1, 8), zone_), Local(1, 12));
  EXPECT_EQ(NextOpening(hours, Local(1, 14), zone_), Local(1, 18));
  EXPECT_EQ(NextOpening(hours, Local(1, 21), zone_), Local(2, 12));
}

TEST_F(TrainingHoursTest, HoursAreThoseOfTheZone) {
  const TrainingHours hours = Of("20:00-21:00", kAlways);
  const absl::Time utc_evening =
      absl::FromCivil(absl::CivilSecond(2026, 5, 1, 20, 30), absl::UTCTimeZone());
  EXPECT_TRUE(MayTrainAt(hours, utc_evening, absl::UTCTimeZone()));
  EXPECT_FALSE(MayTrainAt(hours, utc_evening, zone_));  // half past ten there
}

TEST_F(TrainingHoursTest, AWindowInTheHourThatTheClocksLeaveOutOpensWhenTheyGoOn) {
  // 2026-03-29, 02:00 becomes 03:00.
  const TrainingHours hours = Of("02:30-04:00", kAlways);
  const absl::Time before = absl::FromCivil(absl::CivilSecond(2026, 3, 29, 1, 0), zone_);
  const absl::Time opening = NextOpening(hours, before, zone_);
  EXPECT_EQ(opening, absl::FromCivil(absl::CivilSecond(2026, 3, 29, 3, 0), zone_));
  EXPECT_TRUE(MayTrainAt(hours, opening, zone_));
}

TEST_F(TrainingHoursTest, WhatOpensIsOpen) {
  const TrainingHours hours = Of("23:15-00:45", kWorkdays);
  for (int hour = 0; hour < 24 * 14; ++hour) {
    const absl::Time from = Local(1, 0, 7) + absl::Hours(hour);
    const absl::Time opening = NextOpening(hours, from, zone_);
    EXPECT_TRUE(MayTrainAt(hours, opening, zone_));
    if (opening > from) {
      EXPECT_FALSE(MayTrainAt(hours, opening - absl::Seconds(1), zone_));
    }
  }
}

}  // namespace
}  // namespace consilium::agent
