#include "site_agent/intake/sample_cache.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class SampleCacheTest : public testing::Test {
 protected:
  SampleCacheTest() : dir_(TempDir::Create("cache_test").value()), home_(Path("home")) {
    WriteLabel(WriteSeries(Path("archive/a")), Path("archive/a"));
    WriteOtherPatient(Path("archive/b"));
    EXPECT_TRUE(Ingest(home_, {Path("archive")}, {}, nullptr, nullptr).ok());
    cohort_ = SelectCohort(LoadCatalog(home_).value(), TestPlan()).value();
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  SampleCache Cache(uint64_t bytes_max = 1 << 30) const {
    return SampleCache::Open({.home = home_, .plan = TestPlan(), .bytes_max = bytes_max}).value();
  }
  const CohortCase& Labelled() const {
    return cohort_.cases[0].labelled ? cohort_.cases[0] : cohort_.cases[1];
  }
  std::string FileOf(const SampleCache& cache, const CohortCase& item) const {
    return JoinPath(cache.folder(), item.record.case_id + ".bin");
  }

  TempDir dir_;
  std::string home_;
  Cohort cohort_;
};

TEST_F(SampleCacheTest, PreparesOnceAndLoadsTheSame) {
  SampleCache cache = Cache();
  int64_t done = 0;
  ASSERT_TRUE(cache.Prepare(cohort_, [&](int64_t at, int64_t) { done = at; }, nullptr).ok());
  EXPECT_EQ(done, 2);
  std::filesystem::rename(Path("home/store"), Path("home/away"));  // the cache must do alone
  for (const CohortCase& item : cohort_.cases) {
    const auto prepared = cache.Load(item);
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    const auto size = prepared->size_dhw();
    EXPECT_EQ(static_cast<int64_t>(prepared->image.size()), size[0] * size[1] * size[2]);
    EXPECT_EQ(prepared->label.size(), item.labelled ? prepared->image.size() : 0u);
    EXPECT_EQ(prepared->label_path.empty(), !item.labelled);
    EXPECT_EQ(prepared->source.size_xyz, (std::array<int64_t, 3>{7, 5, 6}));
    EXPECT_EQ(size[0], 12);  // six slices of 2 mm at 1 mm
    double sum = 0;
    for (const float v : prepared->image) sum += v;
    EXPECT_NEAR(sum / static_cast<double>(prepared->image.size()), 0, 1e-4);
  }
}

TEST_F(SampleCacheTest, RebuildsWhatIsDamagedAtAnyPlace) {
  SampleCache cache = Cache();
  const auto good = cache.Load(Labelled());
  ASSERT_TRUE(good.ok());
  const std::string path = FileOf(cache, Labelled());
  const std::string bytes = ReadFile(path, 1 << 24).value();
  for (size_t at = 0; at < bytes.size(); at += bytes.size() / 37 + 1) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    ASSERT_TRUE(WriteFileAtomic(path, damaged).ok());
    const auto loaded = cache.Load(Labelled());
    ASSERT_TRUE(loaded.ok());
    EXPECT_EQ(loaded->image, good->image);
    EXPECT_EQ(loaded->label, good->label);
    EXPECT_EQ(ReadFile(path, 1 << 24).value(), bytes);
  }
  ASSERT_TRUE(WriteFileAtomic(path, bytes.substr(0, bytes.size() / 2)).ok());
  EXPECT_EQ(cache.Load(Labelled())->image, good->image);
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_EQ(cache.Load(Labelled())->image, good->image);
}

TEST_F(SampleCacheTest, AnEncryptedCacheHoldsTheSameAndShowsNothing) {
  SampleCache plain = Cache();
  const auto good = plain.Load(Labelled());
  ASSERT_TRUE(good.ok());
  wire::Plan other = TestPlan();
  other.spacing_xyz_mm = {2, 2, 2};
  SampleCache elsewhere = SampleCache::Open({.home = home_, .plan = other}).value();
  ASSERT_TRUE(elsewhere.Load(Labelled()).ok());

  const SampleCache::Options options = {.home = home_, .plan = TestPlan(), .is_encrypted = true};
  SampleCache sealed = SampleCache::Open(options).value();
  EXPECT_TRUE(FilesBelowFolder(Path("home/cache")).empty());  // nothing that can be read stays
  ASSERT_TRUE(sealed.Load(Labelled()).ok());
  const std::string file = ReadFile(FileOf(sealed, Labelled()), 1 << 24).value();
  EXPECT_THAT(file, testing::Not(testing::HasSubstr("case_id")));
  std::filesystem::rename(Path("home/store"), Path("home/away"));
  SampleCache again = SampleCache::Open(options).value();
  const auto loaded = again.Load(Labelled());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->image, good->image);
  EXPECT_EQ(loaded->label, good->label);

  // Without the key it is as good as gone, and is made anew.
  std::filesystem::rename(Path("home/away"), Path("home/store"));
  std::filesystem::remove(Path("home/cache.key"));
  SampleCache another = SampleCache::Open(options).value();
  EXPECT_EQ(another.Load(Labelled())->image, good->image);
  std::filesystem::permissions(Path("home/cache.key"), std::filesystem::perms(0644));
  EXPECT_TRUE(absl::IsFailedPrecondition(SampleCache::Open(options).status()));
}

TEST_F(SampleCacheTest, AnotherStateOfTheCaseIsNotTakenFromTheCache) {
  SampleCache cache = Cache();
  CohortCase item = Labelled();
  ASSERT_TRUE(cache.Load(item).ok());
  item.labelled = false;
  const auto unlabelled = cache.Load(item);
  ASSERT_TRUE(unlabelled.ok());
  EXPECT_TRUE(unlabelled->label.empty());
}

TEST_F(SampleCacheTest, AnotherSpacingHasItsOwnFolderAndAnotherRateHasNot) {
  wire::Plan plan = TestPlan();
  plan.training.learning_rate = 0.5;
  EXPECT_EQ(SampleCache::Open({.home = home_, .plan = plan})->folder(), Cache().folder());
  plan.spacing_xyz_mm = {2, 2, 2};
  EXPECT_NE(SampleCache::Open({.home = home_, .plan = plan})->folder(), Cache().folder());
}

TEST_F(SampleCacheTest, KeepsToItsSize) {
  ASSERT_TRUE(Cache().Load(cohort_.cases[0]).ok());
  const uint64_t bytes = FileBytes(FileOf(Cache(), cohort_.cases[0])).value();
  SampleCache cache = Cache(bytes + bytes / 2);
  ASSERT_TRUE(cache.Load(cohort_.cases[1]).ok());
  EXPECT_FALSE(PathExists(FileOf(cache, cohort_.cases[0])));  // made room
  SampleCache none = Cache(10);
  EXPECT_TRUE(none.Load(cohort_.cases[0]).ok());  // works, keeps nothing
  EXPECT_FALSE(PathExists(FileOf(none, cohort_.cases[0])));
}

TEST_F(SampleCacheTest, ACaseThatIsGoneIsNamed) {
  CohortCase item = Labelled();
  item.record.case_id = "0123456789ab";
  const absl::Status status = Cache().Load(item).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("0123456789ab"));
}

}  // namespace
}  // namespace consilium::agent
