#include "proto/wire/normalisation.h"

#include "gtest/gtest.h"

namespace consilium::wire {
namespace {

using Scale = Normalisation::Scale;

TEST(NormalisationTest, WhatMayBeWritten) {
  const std::pair<const char*, Normalisation> good[] = {
      {"z-score", {}},
      {"range", {.scale = Scale::kRange, .window = {}}},
      {"percentile", {.scale = Scale::kPercentile, .window = {}}},
      {"percentile 1 99", {.scale = Scale::kPercentile, .percentiles = {1, 99}, .window = {}}},
      {"window lung", {.scale = Scale::kRange, .window = {{-1350, 150}}}},
      {"window bone", {.scale = Scale::kRange, .window = {{-500, 1300}}}},
      {"window soft-tissue", {.scale = Scale::kRange, .window = {{-160, 240}}}},
      {"window brain z-score", {.scale = Scale::kZScore, .window = {{0, 80}}}},
      {"window 50 350.5 range", {.scale = Scale::kRange, .window = {{-125.25, 225.25}}}},
      {"suv window 5 10",
       {.unit = Normalisation::Unit::kSuvBodyWeight, .scale = Scale::kRange, .window = {{0, 10}}}},
      {"suv z-score", {.unit = Normalisation::Unit::kSuvBodyWeight, .window = {}}},
      {"window 40 400 percentile 0 90",
       {.scale = Scale::kPercentile, .percentiles = {0, 90}, .window = {{-160, 240}}}}};
  for (const auto& [text, wanted] : good) {
    const auto parsed = ParseNormalisation(text);
    ASSERT_TRUE(parsed.ok()) << text << parsed.status();
    EXPECT_EQ(*parsed, wanted) << text;
  }
}

TEST(NormalisationTest, WhatMayNot) {
  for (const char* text :
       {"", "zscore", "z-score ", "window", "window liver", "window 40", "window 40 0",
        "window 40 -1", "window nan 3", "window 40 1e300", "percentile 99 1", "percentile -1 50",
        "percentile 1 101", "percentile 1", "range range", "suv", "suv suv range", "range suv", "z-score window lung"}) {
    EXPECT_EQ(ParseNormalisation(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace consilium::wire
