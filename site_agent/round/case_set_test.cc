#include "site_agent/round/case_set.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

constexpr int kPatients = 7;
const std::string kEnd(1, '\0');  // pads a UID to an even length

absl::Status Go(int64_t, int64_t) { return absl::OkStatus(); }

class CaseSetTest : public testing::Test {
 protected:
  CaseSetTest() : dir_(TempDir::Create("case_set_test").value()), home_(Path("home")) {
    for (int i = 0; i < kPatients; ++i) {
      const std::string digit = absl::StrCat(i + 2);
      PatchFiles(WriteSeries(Path("archive/" + digit)),
                 {{"PHANTOM-1", "PHANTOM-" + digit},
                  {"2.25.11" + kEnd, absl::StrCat("2.25.", digit, "1") + kEnd},
                  {"2.25.12" + kEnd, absl::StrCat("2.25.", digit, "2") + kEnd},
                  {"2.25.1000", "2.25." + digit + "000"}});
    }
    EXPECT_TRUE(Ingest(home_, {Path("archive")}, {}, nullptr, nullptr).ok());
    cohort_ = SiteCohort(home_, TestPlan()).value();
    EXPECT_EQ(cohort_.cases.size(), static_cast<size_t>(kPatients));
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  SampleCache Cache() const { return SampleCache::Open({home_, TestPlan()}).value(); }
  static std::vector<std::string> Ids(const Cohort& cohort) {
    std::vector<std::string> ids;
    for (const CohortCase& item : cohort.cases) ids.push_back(item.record.case_id);
    return ids;
  }

  TempDir dir_;
  std::string home_;
  Cohort cohort_;
};

TEST_F(CaseSetTest, PreparingOnManyThreadsMakesTheSameInTheSameOrder) {
  SampleCache cache = Cache();
  std::vector<int64_t> told;
  const auto one = PrepareCases(cache, cohort_, 1, [&](int64_t done, int64_t) {
    told.push_back(done);
    return absl::OkStatus();
  });
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT(told, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  const std::string files = BytesBelowFolder(cache.folder());
  for (const int threads : {2, 5, 16}) {
    fs::remove_all(cache.folder());
    fs::create_directory(cache.folder());
    const auto many = PrepareCases(cache, cohort_, threads, Go);
    ASSERT_TRUE(many.ok()) << many.status();
    EXPECT_EQ(Ids(*many), Ids(*one));
    EXPECT_EQ(BytesBelowFolder(cache.folder()), files) << threads;
  }
}

TEST_F(CaseSetTest, ACaseThatCannotBePreparedIsLeftOutAndNoOther) {
  const std::string bad = cohort_.cases[2].record.case_id;
  const std::vector<std::string> images = CaseImagePaths(home_, bad).value();
  ASSERT_TRUE(WriteFileAtomic(images[3], "no DICOM").ok());
  SampleCache cache = Cache();
  const auto usable = PrepareCases(cache, cohort_, 4, Go);
  ASSERT_TRUE(usable.ok()) << usable.status();
  std::vector<std::string> others = Ids(cohort_);
  others.erase(others.begin() + 2);
  EXPECT_EQ(Ids(*usable), others);
}

TEST_F(CaseSetTest, WhoeverIsToldEndsIt) {
  SampleCache cache = Cache();
  const auto ended = PrepareCases(cache, cohort_, 2, [](int64_t done, int64_t) {
    return done < 2 ? absl::OkStatus() : absl::AbortedError("the round has ended");
  });
  EXPECT_TRUE(absl::IsAborted(ended.status()));
  EXPECT_LE(FilesBelowFolder(cache.folder()).size(), 4u);  // two done, two begun
}

TEST_F(CaseSetTest, WhatIsPreparedIsOnlyLookedAt) {
  SampleCache cache = Cache();
  ASSERT_TRUE(PrepareCases(cache, cohort_, 2, Go).ok());
  fs::rename(Path("home/store"), Path("home/away"));
  EXPECT_EQ(PrepareCases(cache, cohort_, 2, Go)->cases.size(), static_cast<size_t>(kPatients));
}

TEST_F(CaseSetTest, PatientsWhoOptedOutAreInNoCohortAndInNoSummary) {
  const std::string patient = cohort_.cases[0].record.patient;
  ASSERT_TRUE(UpdateRegister(home_, [&](PatientRegister& patients) {
                patients.Set(patient, PatientMark::kOptedOut);
                return absl::OkStatus();
              }).ok());
  const Cohort cohort = SiteCohort(home_, TestPlan()).value();
  EXPECT_EQ(cohort.cases.size(), static_cast<size_t>(kPatients - 1));
  for (const CohortCase& item : cohort.cases) EXPECT_NE(item.record.patient, patient);
  const CohortSummary summary = SummaryOf(cohort, SiteRole::kTrainer);
  EXPECT_EQ(summary.cases, kPatients - 1);
  EXPECT_TRUE(summary.rejected_by_reason.empty());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home_, "patients.json"), "{", kPrivateFile).ok());
  EXPECT_TRUE(absl::IsDataLoss(SiteCohort(home_, TestPlan()).status()));
}

}  // namespace
}  // namespace consilium::agent
