#include "privacy/crypto/expiry.h"

#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"

namespace consilium::privacy {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kDay = absl::Hours(24);

std::string Lasting(absl::Duration lifetime) {
  return MakeRootCa("fed", kStart, lifetime)->certificate_pem;
}

TEST(ExpiryTest, LongOnesByDaysShortOnesByTheirLifetime) {
  const std::string year = Lasting(365 * kDay);
  EXPECT_EQ(*ExpiryOf(year, kStart + 334 * kDay), Expiry::kFar);
  EXPECT_EQ(*ExpiryOf(year, kStart + 336 * kDay), Expiry::kSoon);
  EXPECT_EQ(*ExpiryOf(year, kStart + 357 * kDay), Expiry::kSoon);
  EXPECT_EQ(*ExpiryOf(year, kStart + 359 * kDay), Expiry::kUrgent);
  EXPECT_EQ(*ExpiryOf(year, kStart + 365 * kDay), Expiry::kOver);
  const std::string week = Lasting(6 * kDay);
  EXPECT_EQ(*ExpiryOf(week, kStart), Expiry::kFar);
  EXPECT_EQ(*ExpiryOf(week, kStart + 4 * kDay + absl::Hours(1)), Expiry::kSoon);
  EXPECT_EQ(*ExpiryOf(week, kStart + 6 * kDay - absl::Hours(11)), Expiry::kUrgent);
  EXPECT_TRUE(absl::IsInvalidArgument(ExpiryOf("", kStart).status()));
}

TEST(ExpiryTest, IsSaidOnceADayAndWhenItGetsWorse) {
  ExpiryWatch watch;
  const std::string year = Lasting(365 * kDay);
  const absl::Time soon = kStart + 340 * kDay;
  EXPECT_EQ(watch.Due("server", year, kStart), Expiry::kFar);
  EXPECT_EQ(watch.Due("server", year, soon), Expiry::kSoon);
  EXPECT_EQ(watch.Due("server", year, soon + absl::Hours(23)), Expiry::kFar);
  EXPECT_EQ(watch.Due("admin", year, soon + absl::Hours(23)), Expiry::kSoon);
  EXPECT_EQ(watch.Due("server", year, soon + kDay), Expiry::kSoon);
  const absl::Time urgent = kStart + 365 * kDay - kExpiryUrgent + absl::Minutes(1);
  EXPECT_EQ(watch.Due("server", year, urgent), Expiry::kUrgent);
  EXPECT_EQ(watch.Due("server", year, urgent + absl::Minutes(1)), Expiry::kFar);
  // A new one is in its place: silence, and the old state is forgotten.
  EXPECT_EQ(watch.Due("server", Lasting(900 * kDay), urgent + absl::Minutes(2)), Expiry::kFar);
  EXPECT_EQ(watch.Due("server", year, urgent + absl::Minutes(3)), Expiry::kUrgent);
}

}  // namespace
}  // namespace consilium::privacy
