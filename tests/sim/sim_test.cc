// Thousands of seeded federations with everything going wrong, and the planted faults that have to be
// found. `--seed=N --schedules=1` repeats the one that a failure names.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/sim/schedule.h"

namespace consilium::sim {
namespace {

uint64_t first_seed = 1;      // NOLINT: set once, by main
uint64_t schedules = 20'000;  // NOLINT

struct Failure {
  uint64_t seed = 0;
  std::string violation;
};

// Runs seeds [first_seed, last) on all cores. The failure with the smallest seed that was met, if any.
std::optional<Failure> RunAll(uint64_t last, Kind kind, Counts& all) {
  std::mutex mutex;
  std::atomic<uint64_t> next = first_seed;
  std::optional<Failure> failure;
  const auto work = [&] {
    for (uint64_t seed = next++; seed < last; seed = next++) {
      const Outcome outcome = RunSchedule(seed, Bug::kNone, kind);
      const std::lock_guard lock(mutex);
      all.Add(outcome.counts);
      if (outcome.violation && (!failure || seed < failure->seed)) {
        failure = Failure{seed, *outcome.violation};
      }
      if (failure) return;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
  return failure;
}

TEST(SimulationTest, NothingAcknowledgedIsLostOrCountedTwice) {
  Counts all;
  const std::optional<Failure> failure = RunAll(first_seed + schedules, Kind::kSealed, all);
  ASSERT_FALSE(failure) << failure->violation << "\nrepeat: --seed=" << failure->seed
                        << " --schedules=1";
  std::printf("%llu schedules: %lld events, %lld versions, %lld acknowledged updates\n"
              "lost messages %lld, repeated %lld, coordinator crashes %lld, site crashes %lld, "
              "hangs %lld, stalls %lld, lost spools %lld\ndeclines %lld, revocations %lld (of an "
              "update: %lld), pauses %lld, failed rounds %lld, closed early %lld (without a stalled "
              "site %lld), folded stale %lld, refused as stale %lld, offered late %lld, lost after "
              "they were accepted %lld\n",
              static_cast<unsigned long long>(schedules), static_cast<long long>(all.events),
              static_cast<long long>(all.versions), static_cast<long long>(all.acknowledged),
              static_cast<long long>(all.drops), static_cast<long long>(all.duplicates),
              static_cast<long long>(all.coordinator_crashes),
              static_cast<long long>(all.site_crashes), static_cast<long long>(all.hangs),
              static_cast<long long>(all.stalls),
              static_cast<long long>(all.lost_spools), static_cast<long long>(all.declines),
              static_cast<long long>(all.revocations),
              static_cast<long long>(all.withdrawn), static_cast<long long>(all.pauses),
              static_cast<long long>(all.failed_rounds), static_cast<long long>(all.closed_early),
              static_cast<long long>(all.left_out_stalled),
              static_cast<long long>(all.stale_folds), static_cast<long long>(all.stale_refusals),
              static_cast<long long>(all.late_updates),
              static_cast<long long>(all.lost_updates));
  if (schedules < 1000) return;
  // Each kind of trouble and each way out has to have been met.
  for (const int64_t met :
       {all.drops, all.duplicates, all.coordinator_crashes, all.site_crashes, all.hangs,
        all.lost_spools, all.declines, all.revocations, all.pauses, all.failed_rounds,
        all.closed_early, all.stalls, all.left_out_stalled, all.withdrawn, all.stale_folds,
        all.stale_refusals, all.late_updates, all.lost_updates}) {
    EXPECT_GT(met, 0);
  }
}

TEST(SimulationTest, AMaskedSumIsRightOrTheRoundEndsCleanly) {
  Counts all;
  const uint64_t last = first_seed + (schedules + 1) / 2;
  const std::optional<Failure> failure = RunAll(last, Kind::kMasked, all);
  ASSERT_FALSE(failure) << failure->violation << "\nrepeat: --seed=" << failure->seed
                        << " --schedules=1";
  std::printf("%llu masked schedules: %lld events, %lld masked versions (%lld with sites that "
              "dropped out), failed rounds %lld, coordinator crashes %lld, site crashes %lld, "
              "lost spools %lld, lost after they were accepted %lld\n",
              static_cast<unsigned long long>(last - first_seed),
              static_cast<long long>(all.events), static_cast<long long>(all.masked_versions),
              static_cast<long long>(all.dropouts_recovered),
              static_cast<long long>(all.failed_rounds),
              static_cast<long long>(all.coordinator_crashes),
              static_cast<long long>(all.site_crashes), static_cast<long long>(all.lost_spools),
              static_cast<long long>(all.lost_updates));
  if (schedules < 1000) return;
  for (const int64_t met : {all.masked_versions, all.dropouts_recovered, all.failed_rounds,
                            all.coordinator_crashes, all.site_crashes, all.lost_spools,
                            all.lost_updates}) {
    EXPECT_GT(met, 0);
  }
}

TEST(SimulationTest, SameSeedIsTheSameFederation) {
  const Outcome first = RunSchedule(first_seed), second = RunSchedule(first_seed);
  EXPECT_EQ(first.counts.events, second.counts.events);
  EXPECT_EQ(first.counts.acknowledged, second.counts.acknowledged);
}

class PlantedBugTest : public testing::TestWithParam<Bug> {};

TEST_P(PlantedBugTest, IsFound) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    const bool masked = GetParam() == Bug::kForgetAgreement || GetParam() == Bug::kMaskTwice;
    if (RunSchedule(seed, GetParam(), masked ? Kind::kMasked : Kind::kSealed).violation) return;
  }
  FAIL() << "500 schedules did not find a planted bug";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugTest,
                         testing::Values(Bug::kFoldTwice, Bug::kForgetAccepted, Bug::kNoDiscount,
                                         Bug::kIgnoreLost, Bug::kKeepRevoked,
                                         Bug::kForgetAgreement, Bug::kMaskTwice));

}  // namespace
}  // namespace consilium::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    const bool known = absl::ConsumePrefix(&argument, "--seed=")
                           ? absl::SimpleAtoi(argument, &consilium::sim::first_seed)
                           : absl::ConsumePrefix(&argument, "--schedules=") &&
                                 absl::SimpleAtoi(argument, &consilium::sim::schedules);
    if (!known) {
      std::fprintf(stderr, "usage: %s [--seed=N] [--schedules=N]\n", argv[0]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
