#include "site_agent/intake/case_channels.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/intake/cohort.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/sample_cache.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// T1, FLAIR and PET; labels on the T1.
wire::Plan ThreeChannels() {
  wire::Plan plan = TestPlan();
  plan.series_rules = {{"SeriesDescription", "T1"}};
  plan.channels = {{"MR", {{"SeriesDescription", "FLAIR"}}, "z-score"}, {"PT", {}, "range"}};
  plan.network.in_channels = 3;
  return plan;
}

CaseRecord Series(const std::string& id, const std::string& what, const std::string& patient = "P",
                  const std::string& frame = "F", const std::string& study = "S") {
  CaseRecord record;
  record.case_id = id;
  record.patient = patient;
  record.study = study;
  record.frame_of_reference = frame;
  record.modality = what == "PET" ? "PT" : what == "CT" ? "CT" : "MR";
  record.attributes = {{"SeriesDescription", {what}}};
  record.geometry.size_xyz = {10, 10, 10};
  return record;
}

struct Outcome {
  std::vector<std::string> cases;  // "t1: flair pet"
  std::vector<std::pair<std::string, std::string>> rejected;
};

Outcome Match(std::vector<CaseRecord> records, const wire::Plan& plan = ThreeChannels()) {
  const auto cohort = SelectCohort({std::move(records), {}}, plan);
  EXPECT_TRUE(cohort.ok()) << cohort.status();
  Outcome outcome;
  for (const CohortCase& item : cohort->cases) {
    std::string text = absl::StrCat(item.record.case_id, ":");
    for (const CaseRecord& channel : item.channels) absl::StrAppend(&text, " ", channel.case_id);
    outcome.cases.push_back(text);
  }
  for (const RejectedCase& item : cohort->rejected) {
    outcome.rejected.emplace_back(item.case_id, item.reason);
  }
  return outcome;
}

TEST(CaseChannelsTest, ACaseIsThePatientsSeriesOfOneFrameOfReference) {
  const Outcome outcome = Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET"),
                                 Series("t2", "T1", "Q"), Series("f2", "FLAIR", "Q"),
                                 Series("p2", "PET", "Q"), Series("ct", "CT")});
  EXPECT_THAT(outcome.cases, ElementsAre("t1: f1 p1", "t2: f2 p2"));
  EXPECT_THAT(outcome.rejected, ElementsAre(Pair("ct", "modality is not MR or PT")));
}

TEST(CaseChannelsTest, WhatIsMissingIsSaidByChannel) {
  EXPECT_THAT(Match({Series("t1", "T1"), Series("p1", "PET")}).rejected,
              ElementsAre(Pair("p1", "channel 3 (PT) of no case"),
                          Pair("t1", "channel 2 (MR): no series of the patient fits")));
  EXPECT_THAT(
      Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET", "P", "G")}).rejected,
      testing::Contains(
          Pair("t1", "channel 3 (PT): no series in the frame of reference of channel 1")));
  EXPECT_THAT(Match({Series("t1", "T1", "P", ""), Series("f1", "FLAIR", "P", ""),
                     Series("p1", "PET", "P", "")})
                  .rejected,
              testing::Contains(Pair("t1", "the frame of reference of channel 1 is not known")));
  // Another patient's series is no channel, whatever its frame of reference.
  EXPECT_THAT(Match({Series("t1", "T1"), Series("f1", "FLAIR", "Q"), Series("p1", "PET")}).cases,
              IsEmpty());
}

TEST(CaseChannelsTest, OfSeveralTheOneOfTheStudyAndElseNone) {
  EXPECT_THAT(Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET"),
                     Series("p2", "PET", "P", "F", "later")})
                  .cases,
              ElementsAre("t1: f1 p1"));
  // In another study, but in the same frame of reference.
  EXPECT_THAT(
      Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p2", "PET", "P", "F", "later")})
          .cases,
      ElementsAre("t1: f1 p2"));
  const Outcome two =
      Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET"), Series("p2", "PET")});
  EXPECT_THAT(two.cases, IsEmpty());
  EXPECT_THAT(two.rejected,
              testing::Contains(
                  Pair("t1", "channel 3 (PT): several series fit; rules have to tell them apart")));
}

TEST(CaseChannelsTest, ASeriesThatFitsTwoChannelsIsOfNone) {
  wire::Plan plan = ThreeChannels();
  plan.series_rules.clear();
  EXPECT_THAT(
      Match({Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET")}, plan).rejected,
      testing::Contains(Pair("f1", "fits channels 1 and 2: rules have to tell them apart")));
}

TEST(CaseChannelsTest, TooLittleCoverageIsKnownBeforeAnyPixel) {
  CaseRecord pet = Series("p1", "PET");
  pet.geometry.size_xyz = {10, 10, 4};
  wire::Plan plan = ThreeChannels();
  EXPECT_THAT(Match({Series("t1", "T1"), Series("f1", "FLAIR"), pet}, plan).rejected,
              testing::Contains(Pair("t1", "channel 3: covers less than 0.5 of channel 1")));
  plan.coverage_min = 0.4;
  EXPECT_THAT(Match({Series("t1", "T1"), Series("f1", "FLAIR"), pet}, plan).cases,
              ElementsAre("t1: f1 p1"));
}

TEST(CaseChannelsTest, SuvIsAskedOfTheSeriesThatHaveIt) {
  wire::Plan plan = ThreeChannels();
  plan.channels[1].normalisation = "suv window 5 10";
  CaseRecord corrected = Series("p1", "PET"), raw = Series("p2", "PET");
  corrected.pet = {"BQML", 3e-4, ""};
  raw.pet = {"BQML", 0, "not corrected for attenuation"};
  const Outcome outcome = Match({Series("t1", "T1"), Series("f1", "FLAIR"), corrected, raw}, plan);
  EXPECT_THAT(outcome.cases, ElementsAre("t1: f1 p1"));
  EXPECT_THAT(outcome.rejected, ElementsAre(Pair("p2", "no SUV: not corrected for attenuation")));
}

TEST(CaseChannelsTest, TheTableShowsWhereEachSeriesWent) {
  const auto cohort = SelectCohort(
      {{Series("t1", "T1"), Series("f1", "FLAIR"), Series("p1", "PET")}, {}}, ThreeChannels());
  EXPECT_THAT(CohortTable(*cohort),
              testing::Contains(ElementsAre("p1", "channel 3 of t1", "", "")));
}

// An archive with an MR and a PET of one patient, study and frame of reference, on other grids.
class ChannelIngestTest : public testing::Test {
 protected:
  ChannelIngestTest() : dir_(TempDir::Create("channels").value()) {
    WriteLabel(WriteSeries(Path("archive/mr")), Path("archive/mr"));
    imaging::TestSeries pet;  // 16 x 12 x 12 mm around the MR's 5.25 x 7.5 x 12
    pet.rows = 8;
    pet.columns = 10;
    pet.slices = 7;
    pet.row_spacing_mm = 1.5;
    pet.column_spacing_mm = 1.6;
    pet.first_position = {-15, 17, 29};
    pet.change = [](DcmDataset& dataset, int64_t slice) {
      imaging::PutPet(dataset, slice);
      imaging::PutText(dataset, "SeriesInstanceUID", "2.25.77");
      imaging::PutText(dataset, "SOPInstanceUID", absl::StrCat("2.25.7700", slice));
    };
    CSL_CHECK(MakeDirs(Path("archive/pet")).ok());
    imaging::WriteTestSeries(pet, Path("archive/pet"));
    plan_ = TestPlan();
    plan_.channels = {{"PT", {}, "suv window 0 2"}};
    plan_.network.in_channels = 2;
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  Catalog Take() {
    const auto report = Ingest(Path("home"), {Path("archive")}, {}, nullptr, nullptr);
    CSL_CHECK(report.ok());
    EXPECT_EQ(report->cases_added, 2) << IngestToJson(*report);
    return LoadCatalog(Path("home")).value();
  }

  TempDir dir_;
  wire::Plan plan_;
};

TEST_F(ChannelIngestTest, StoreKeepsWhatBelongsTogetherAndNobodysUid) {
  const Catalog catalog = Take();
  ASSERT_EQ(catalog.cases.size(), 2u);
  const CaseRecord &a = catalog.cases[0], &b = catalog.cases[1];
  EXPECT_EQ(a.patient, b.patient);
  EXPECT_EQ(a.study, b.study);
  EXPECT_EQ(a.frame_of_reference, b.frame_of_reference);
  EXPECT_THAT(a.study, testing::StartsWith("2.25."));
  EXPECT_NE(a.study, "2.25.11");
  EXPECT_THAT(a.frame_of_reference, testing::StartsWith("2.25."));
  EXPECT_NE(a.frame_of_reference, "2.25.13");
  // Weight, dose and the shifted dates come through de-identification, the interval as it was.
  const CaseRecord& pet = a.modality == "PT" ? a : b;
  EXPECT_EQ(pet.pet.suv_refusal, "");
  const double identified =
      imaging::ReadPetFacts(FilesBelowFolder(Path("archive/pet"))).value().suv_factor;
  EXPECT_EQ(pet.pet.suv_factor, identified);
  EXPECT_EQ(CaseToJson(CaseFromJson(CaseToJson(pet)).value()), CaseToJson(pet));
}

TEST_F(ChannelIngestTest, PreparedCaseHasBothChannelsFromTheCacheToo) {
  const Cohort cohort = SelectCohort(Take(), plan_).value();
  ASSERT_EQ(cohort.cases.size(), 1u) << cohort.rejected.size();
  ASSERT_TRUE(cohort.cases[0].labelled);
  SampleCache cache = SampleCache::Open({.home = Path("home"), .plan = plan_}).value();
  const auto prepared = cache.Load(cohort.cases[0]);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->channels(), 2);
  const auto voxels = static_cast<size_t>(prepared->grid.voxels());
  ASSERT_EQ(prepared->image.size(), 2 * voxels);
  EXPECT_EQ(prepared->label.size(), voxels);
  // The PET's voxel (column, row, slice) is column + 10 row + 100 slice - 50 Bq/ml, so linear in
  // space; as SUV between -1 and 1 it becomes 0.5 + SUV / 2.
  const double factor = cohort.cases[0].channels[0].pet.suv_factor;
  const imaging::Geometry& grid = prepared->grid;
  size_t at = voxels;
  for (int64_t k = 0; k < grid.size_xyz[2]; ++k) {
    for (int64_t j = 0; j < grid.size_xyz[1]; ++j) {
      for (int64_t i = 0; i < grid.size_xyz[0]; ++i, ++at) {
        const auto mm = [&](int axis, int64_t index) {
          return grid.origin_lps_mm[axis] + grid.spacing_xyz_mm[axis] * static_cast<double>(index);
        };
        const double column = (mm(0, i) + 15) / 1.6, row = (mm(1, j) - 17) / 1.5;
        const double slice = (mm(2, k) - 29) / 2;
        const double suv = (column + 10 * row + 100 * slice - 50) * factor;
        ASSERT_NEAR(prepared->image[at], 0.5 + suv / 2, 1e-5);
      }
    }
  }
  std::filesystem::rename(Path("home/store"), Path("home/away"));
  const auto again = cache.Load(cohort.cases[0]);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->image, prepared->image);
  EXPECT_EQ(again->label, prepared->label);
}

TEST_F(ChannelIngestTest, OneChannelOfTheSameStoreIsPreparedAsBefore) {
  const Catalog catalog = Take();
  wire::Plan alone = TestPlan();
  const Cohort one = SelectCohort(catalog, alone).value(),
               two = SelectCohort(catalog, plan_).value();
  SampleCache cache = SampleCache::Open({.home = Path("home"), .plan = alone}).value();
  SampleCache both = SampleCache::Open({.home = Path("home"), .plan = plan_}).value();
  EXPECT_NE(cache.folder(), both.folder());
  const auto first = cache.Load(one.cases[0]), of_two = both.Load(two.cases[0]);
  ASSERT_TRUE(first.ok() && of_two.ok());
  EXPECT_TRUE(std::equal(first->image.begin(), first->image.end(), of_two->image.begin()));
  EXPECT_EQ(first->label, of_two->label);
}

TEST_F(ChannelIngestTest, ASeriesThatCannotGiveSuvIsSetAsideWithItsReason) {
  std::vector<std::string> pet = FilesBelowFolder(Path("archive/pet"));
  PatchFiles(pet, {{"BQML", "CNTS"}});
  const Cohort cohort = SelectCohort(Take(), plan_).value();
  EXPECT_THAT(cohort.cases, IsEmpty());
  std::vector<std::string> reasons;
  for (const RejectedCase& item : cohort.rejected) reasons.push_back(item.reason);
  EXPECT_THAT(reasons,
              testing::UnorderedElementsAre("no SUV: units that are not BQML",
                                            "channel 2 (PT): no series of the patient fits"));
}

TEST_F(ChannelIngestTest, RecordsOfBeforeAreCompletedFromTheirImages) {
  Catalog catalog = Take();
  const Catalog taken = catalog;
  for (CaseRecord& record : catalog.cases) {
    record.study = record.series = record.frame_of_reference = "";
  }
  CompleteRecords(Path("home"), catalog);
  for (size_t i = 0; i < taken.cases.size(); ++i) {
    EXPECT_EQ(catalog.cases[i].study, taken.cases[i].study);
    EXPECT_EQ(catalog.cases[i].series, taken.cases[i].series);
    EXPECT_EQ(catalog.cases[i].frame_of_reference, taken.cases[i].frame_of_reference);
  }
}

}  // namespace
}  // namespace consilium::agent
