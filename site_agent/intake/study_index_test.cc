#include "site_agent/intake/study_index.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class StudyIndexTest : public testing::Test {
 protected:
  StudyIndexTest() : dir_(TempDir::Create("index_test").value()) {}
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  TempDir dir_;
};

TEST_F(StudyIndexTest, GroupsByPatientAndSeriesAndSetsSegmentationsApart) {
  WriteLabel(WriteSeries(Path("a/images")), Path("a/seg"));
  WriteOtherPatient(Path("b"));
  ASSERT_TRUE(WriteFileAtomic(Path("readme.txt"), "no DICOM").ok());
  std::vector<int64_t> done;
  const auto index = BuildStudyIndex(
      {dir_.path()}, {}, [&](int64_t at, int64_t) { done.push_back(at); }, nullptr);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->files_seen, 14);
  EXPECT_EQ(index->files_unreadable, 1);
  ASSERT_EQ(index->patients.size(), 2u);
  EXPECT_EQ(index->patients[0].patient_id, "PHANTOM-1");
  EXPECT_EQ(index->patients[0].paths.size(), 7u);
  ASSERT_EQ(index->patients[0].series.size(), 1u);
  EXPECT_EQ(index->patients[0].series[0].files.size(), 6u);
  ASSERT_EQ(index->patients[0].segmentations.size(), 1u);
  EXPECT_EQ(index->patients[0].segmentations[0].referenced_series_uid, "2.25.12");
  EXPECT_EQ(done.back(), 14);
}

TEST_F(StudyIndexTest, FollowsNoLinksAndKeepsItsBounds) {
  WriteSeries(Path("a/b"));
  std::filesystem::create_directory_symlink(Path("a"), Path("a/loop"));
  auto index = BuildStudyIndex({Path("a"), Path("a/b")}, {}, nullptr, nullptr);
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->files_seen, 6);
  EXPECT_EQ(index->files_skipped, 1);
  EXPECT_FALSE(index->truncated);
  index = BuildStudyIndex({Path("a")}, {.files_max = 3}, nullptr, nullptr);
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->files_seen, 3);
  EXPECT_TRUE(index->truncated);
  index = BuildStudyIndex({Path("a")}, {.depth_max = 1}, nullptr, nullptr);
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->files_seen, 0);
  EXPECT_TRUE(index->truncated);
}

TEST_F(StudyIndexTest, AMissingPathIsNamedByItsPlace) {
  const auto index = BuildStudyIndex({dir_.path(), Path("Okafor")}, {}, nullptr, nullptr);
  EXPECT_EQ(index.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(index.status().message()), testing::HasSubstr("path 2 of 2"));
  EXPECT_THAT(std::string(index.status().message()), testing::Not(testing::HasSubstr("Okafor")));
}

TEST_F(StudyIndexTest, StopsWhenAsked) {
  WriteSeries(Path("a"));
  const std::atomic<bool> stop = true;
  EXPECT_TRUE(absl::IsCancelled(BuildStudyIndex({Path("a")}, {}, nullptr, &stop).status()));
}

}  // namespace
}  // namespace consilium::agent
