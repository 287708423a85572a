#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_clock.h"
#include "tests/support/status_matchers.h"

namespace consilium::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}

TEST(StatusMatchersTest, TellOkFromErrors) {
  EXPECT_OK(absl::OkStatus());
  EXPECT_OK(Half(4));
  EXPECT_THAT(Half(3), Not(IsOk()));
  EXPECT_THAT(Half(3), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Half(3).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("odd")));
  EXPECT_THAT(Half(3), Not(StatusIs(absl::StatusCode::kInvalidArgument, "even")));
  EXPECT_THAT(Half(4), Not(StatusIs(absl::StatusCode::kInternal)));
}

TEST(StatusMatchersTest, AssignMovesTheValueOut) {
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<int> half, Half(8));
  EXPECT_EQ(*half, 4);
}

TEST(SimClockTest, MovesOnlyWhenTold) {
  SimClock clock;
  const absl::Time start = clock.Now();
  const absl::Duration monotonic = clock.Monotonic();
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(absl::Minutes(5));
  EXPECT_EQ(clock.Now() - start, absl::Minutes(5));
  EXPECT_EQ(clock.Monotonic() - monotonic, absl::Minutes(5));
}

TEST(SimClockTest, WallClockJumpLeavesMonotonicTimeAlone) {
  SimClock clock;
  const absl::Duration monotonic = clock.Monotonic();
  clock.SetWallClock(clock.Now() - absl::Hours(2));
  EXPECT_EQ(clock.Monotonic(), monotonic);
}

}  // namespace
}  // namespace consilium::testing
