#include "site_agent/uplink/backoff.h"

#include "gtest/gtest.h"

namespace consilium::agent {
namespace {

BackoffOptions Options() {
  return {.first = absl::Seconds(1), .max = absl::Seconds(60), .min = absl::Milliseconds(50)};
}

TEST(BackoffTest, BoundDoublesUpToTheMaximum) {
  const Backoff backoff(Options(), [] { return 0.5; });
  EXPECT_EQ(backoff.Bound(1), absl::Seconds(1));
  EXPECT_EQ(backoff.Bound(2), absl::Seconds(2));
  EXPECT_EQ(backoff.Bound(6), absl::Seconds(32));
  EXPECT_EQ(backoff.Bound(7), absl::Seconds(60));
  EXPECT_EQ(backoff.Bound(1'000'000'000), absl::Seconds(60));
}

TEST(BackoffTest, DelayIsTheDrawnPartOfTheBound) {
  double draw = 0.25;
  const Backoff backoff(Options(), [&] { return draw; });
  EXPECT_EQ(backoff.Delay(3), absl::Seconds(1));
  draw = 0.999;
  EXPECT_LT(backoff.Delay(20), absl::Seconds(60));
}

TEST(BackoffTest, NoDrawGivesABusyLoopOrALongerWait) {
  double draw = 0;
  const Backoff backoff(Options(), [&] { return draw; });
  EXPECT_EQ(backoff.Delay(1), absl::Milliseconds(50));
  draw = 7;  // a broken source
  EXPECT_EQ(backoff.Delay(10), absl::Seconds(60));
}

}  // namespace
}  // namespace consilium::agent
