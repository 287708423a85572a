#include "site_agent/receive/watch_folder.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

TEST(WatchFolderTest, TakesWhatHasComeToRestAndOnlyWhatIsNew) {
  const TempDir dir = TempDir::Create("watch_folder_test").value();
  const auto path = [&](const std::string& name) { return JoinPath(dir.path(), name); };
  WatchFolder folder(path("drop"));
  std::vector<IngestReport> reports;
  const auto sink = [&](const PatientOutcome& outcome) {
    reports.push_back(outcome.report);
    return absl::OkStatus();
  };
  const auto take = [&](absl::Time before) {
    return folder.TakeSettled(path("home"), before, sink, nullptr);
  };
  EXPECT_TRUE(absl::IsNotFound(take(absl::InfiniteFuture())));
  const auto images = WriteSeries(path("drop/one"));
  ASSERT_TRUE(take(Clock::System().Now() - absl::Minutes(1)).ok());
  EXPECT_TRUE(reports.empty());
  ASSERT_TRUE(take(absl::InfiniteFuture()).ok());
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].cases_added, 1);
  ASSERT_TRUE(take(absl::InfiniteFuture()).ok());
  EXPECT_EQ(reports.size(), 1u);  // nothing has come
  WriteOtherPatient(path("drop/two"));
  ASSERT_TRUE(take(absl::InfiniteFuture()).ok());
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[1].cases_added, 1);
  EXPECT_EQ(reports[1].already_in_store, 1);
  EXPECT_TRUE(PathExists(images[0]));
}

}  // namespace
}  // namespace consilium::agent
