// A study of simulated sites against a real coordinator: all of a round but the training.
#include "tests/support/sim_fleet.h"

#include "coordinator/service/test_federation.h"
#include "gtest/gtest.h"
#include "tests/support/sim_enrol.h"

namespace consilium::simulated {
namespace {

constexpr int kSites = 5;

TEST(SimFleetTest, AStudyRunsToItsEnd) {
  coordinator::TestFederation federation;
  const std::string homes = JoinPath(federation.folder(), "homes");
  auto enrolled =
      EnrolAsAdmin(JoinPath(federation.home(), "admin"), homes, kSites, Clock::System());
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  FleetOptions options;
  options.homes = *enrolled;
  options.retry_max = absl::Milliseconds(200);
  auto fleet = Fleet::Start(options, Clock::System());
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  federation.CreateAndStart(coordinator::TestStudy(kSites, 2));
  federation.AwaitState("hippo", "finished");
  (*fleet)->Stop();
  EXPECT_TRUE((*fleet)->Wait().ok());
  EXPECT_EQ((*fleet)->updates_delivered(), 2 * kSites);
  EXPECT_EQ(federation.Model("hippo/2").layout, LayoutFor(options.work.parameters));
}

TEST(SimFleetTest, OnceEndsWithTheFirstUpdateOfEach) {
  coordinator::TestFederation federation;
  const std::string homes = JoinPath(federation.folder(), "homes");
  auto enrolled = EnrolAsAdmin(JoinPath(federation.home(), "admin"), homes, 2, Clock::System());
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  EXPECT_EQ(*EnrolledHomes(homes), *enrolled);
  federation.CreateAndStart(coordinator::TestStudy(2, 1));
  FleetOptions options;
  options.homes = *enrolled;
  options.retry_max = absl::Milliseconds(200);
  options.until = FleetOptions::Until::kOneUpdate;
  auto fleet = Fleet::Start(options, Clock::System());
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  EXPECT_TRUE((*fleet)->Wait().ok());
  EXPECT_EQ((*fleet)->updates_delivered(), 2);
}

TEST(SimWorkTest, TheSameSeedGivesTheSameValuesInRange) {
  const wire::TensorMap map = RandomMap(LayoutFor(2'500'000), 3, 0.5f);
  ASSERT_EQ(map.layout.tensors.size(), 3u);
  EXPECT_EQ(map.values, RandomMap(LayoutFor(2'500'000), 3, 0.5f).values);
  for (const float value : map.values) ASSERT_TRUE(value >= -0.5f && value < 0.5f);
}

}  // namespace
}  // namespace consilium::simulated
