// Labels of other kinds than SEG on their way into the store, and series of several volumes.
#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/sample_cache.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class IngestLabelsTest : public testing::Test {
 protected:
  IngestLabelsTest() : dir_(TempDir::Create("ingest_labels_test").value()) {}
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  IngestReport Run(const IngestOptions& options = {}) {
    auto report = Ingest(Path("home"), {Path("archive")}, options, nullptr, nullptr);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : IngestReport();
  }

  static LabelVocabulary Vocabulary() {
    return ParseLabelVocabulary("names: {hip_ant: Anterior}\nnifti: {1: Anterior, 2: Posterior}\n")
        .value();
  }

  CaseRecord OnlyCase() {
    const Catalog catalog = LoadCatalog(Path("home")).value();
    EXPECT_EQ(catalog.cases.size(), 1u);
    return catalog.cases.at(0);
  }

  // Voxels of the label in the store, by index.
  std::vector<size_t> Inside(const CaseRecord& record, const std::string& name) {
    const auto segments =
        imaging::ReadSegments(CaseLabelPath(Path("home"), record.case_id), record.geometry);
    EXPECT_TRUE(segments.ok()) << segments.status();
    std::vector<size_t> inside;
    for (const imaging::LabelSegment& segment : *segments) {
      if (segment.name != name) continue;
      for (size_t i = 0; i < segment.mask.size(); ++i) {
        if (segment.mask[i]) inside.push_back(i);
      }
    }
    return inside;
  }

  // One ROI on the third slice of WriteSeries: columns 1..3, rows 1..2.
  void WriteStructureSet(const char* name, const char* frame_of_reference) {
    DcmFileFormat file;
    DcmDataset& dataset = *file.getDataset();
    const std::pair<DcmTagKey, const char*> texts[] = {
        {DCM_SOPClassUID, imaging::kStructureSetStorageUid},
        {DCM_SOPInstanceUID, "2.25.7707707707707"},
        {DCM_StudyInstanceUID, "2.25.11"},
        {DCM_SeriesInstanceUID, "2.25.7808708708708"},
        {DCM_PatientID, "PHANTOM-1"},
        {DCM_PatientName, "Phantom^Ada"},
        {DCM_Modality, "RTSTRUCT"}};
    for (const auto& [key, text] : texts) dataset.putAndInsertString(key, text);
    DcmItem *frame = nullptr, *study = nullptr, *series = nullptr;
    dataset.findOrCreateSequenceItem(DCM_ReferencedFrameOfReferenceSequence, frame);
    frame->findOrCreateSequenceItem(DCM_RTReferencedStudySequence, study);
    study->findOrCreateSequenceItem(DCM_RTReferencedSeriesSequence, series);
    series->putAndInsertString(DCM_SeriesInstanceUID, "2.25.12");
    DcmItem *roi = nullptr, *of_roi = nullptr, *contour = nullptr;
    dataset.findOrCreateSequenceItem(DCM_StructureSetROISequence, roi);
    roi->putAndInsertString(DCM_ROINumber, "1");
    roi->putAndInsertString(DCM_ROIName, name);
    roi->putAndInsertString(DCM_ReferencedFrameOfReferenceUID, frame_of_reference);
    dataset.findOrCreateSequenceItem(DCM_ROIContourSequence, of_roi);
    of_roi->putAndInsertString(DCM_ReferencedROINumber, "1");
    of_roi->findOrCreateSequenceItem(DCM_ContourSequence, contour);
    contour->putAndInsertString(DCM_ContourGeometricType, "CLOSED_PLANAR");
    // Column i lies at x = -10 + 0.75 i, row j at y = 20 + 1.5 j, slice 2 at z = 34.
    contour->putAndInsertString(DCM_ContourData,
                                "-9.6\\20.8\\34\\-7.4\\20.8\\34\\-7.4\\23.7\\34\\-9.6\\23.7\\34");
    ASSERT_TRUE(MakeDirs(Path("archive/rt")).ok());
    ASSERT_TRUE(file.saveFile(Path("archive/rt/rt.dcm").c_str(), EXS_LittleEndianExplicit).good());
  }

  // NIfTI-1 on the grid of WriteSeries; voxel 7 is 1, voxel 8 is 2.
  void WriteNifti(const std::string& name, float origin_x_lps) {
    std::string file(352 + 7 * 5 * 6, '\0');
    const auto put = [&](size_t at, auto value) { std::memcpy(&file[at], &value, sizeof(value)); };
    put(0, int32_t{348});
    const int16_t dim[] = {3, 7, 5, 6, 1, 1, 1, 1};
    for (size_t i = 0; i < 8; ++i) put(40 + 2 * i, dim[i]);
    put(70, int16_t{2});
    put(108, 352.0f);
    put(254, int16_t{1});
    const float srow[] = {-0.75f, 0, 0, -origin_x_lps, 0, -1.5f, 0, -20, 0, 0, 2, 30};
    for (size_t i = 0; i < 12; ++i) put(280 + 4 * i, srow[i]);
    std::memcpy(&file[344], "n+1", 4);
    file[352 + 7] = 1;
    file[352 + 8] = 2;
    ASSERT_TRUE(MakeDirs(Path("labels")).ok());
    ASSERT_TRUE(WriteFileAtomic(Path("labels/" + name), file).ok());
  }

  TempDir dir_;
};

TEST_F(IngestLabelsTest, AStructureSetBecomesTheLabelOfItsSeries) {
  WriteSeries(Path("archive"));
  WriteStructureSet("Hip_Ant Phantom", "2.25.13");
  const IngestReport report = Run({.vocabulary = Vocabulary()});
  EXPECT_EQ(report.cases_added_labelled, 1) << IngestToJson(report);
  const CaseRecord record = OnlyCase();
  EXPECT_THAT(record.segment_labels, testing::ElementsAre("Anterior"))
      << "without the patient's name, in the study's words";
  const std::vector<size_t> wanted = {78, 79, 80, 85, 86, 87};  // slice 2, rows 1-2, columns 1-3
  EXPECT_EQ(Inside(record, "Anterior"), wanted);
  const double voxel_ml = 0.75 * 1.5 * 2 / 1000;
  EXPECT_NEAR(record.segment_ml.at("Anterior")[0], 2.2 * 2.9 * 2 / 1000, 1e-9);
  EXPECT_NEAR(record.segment_ml.at("Anterior")[1], 6 * voxel_ml, 1e-9);
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* planted : {"PHANTOM-", "Phantom", "Hip_Ant", "2.25.7707707707707", "2.25.7808708708708"}) {
    EXPECT_FALSE(absl::StrContains(all, planted)) << planted;
  }
}

TEST_F(IngestLabelsTest, ContoursOfAnotherFrameOfReferenceAreRefused) {
  WriteSeries(Path("archive"));
  WriteStructureSet("Anterior", "2.25.99");
  const IngestReport report = Run();
  EXPECT_EQ(report.cases_added, 1);
  EXPECT_EQ(report.cases_added_labelled, 0);
  EXPECT_THAT(report.rejected.at(RejectReason::kLabelNotReadable).details,
              testing::Contains(testing::Pair(testing::HasSubstr("frame of reference"), 1)));
}

TEST_F(IngestLabelsTest, NiftiIsFoundByPatientOrSeries) {
  WriteSeries(Path("archive"));
  WriteNifti("PHANTOM-1.nii", -10);
  const IngestOptions options = {.vocabulary = Vocabulary(), .nifti_folder = Path("labels")};
  EXPECT_EQ(Run(options).cases_added_labelled, 1);
  const CaseRecord record = OnlyCase();
  EXPECT_THAT(record.segment_labels, testing::ElementsAre("Anterior", "Posterior"));
  EXPECT_EQ(Inside(record, "Anterior"), std::vector<size_t>{7});
  EXPECT_EQ(Inside(record, "Posterior"), std::vector<size_t>{8});
  const IngestReport again = Run(options);
  EXPECT_EQ(again.already_in_store, 1);
  EXPECT_TRUE(again.rejected.empty()) << IngestToJson(again);
  // What training reads is what was written.
  auto cache = SampleCache::Open({.home = Path("home"), .plan = TestPlan()});
  ASSERT_TRUE(cache.ok());
  const auto cohort = SelectCohort(LoadCatalog(Path("home")).value(), TestPlan());
  ASSERT_TRUE(cohort.ok());
  ASSERT_EQ(cohort->labelled(), 1);
  EXPECT_TRUE(cache->Load(cohort->cases.front()).ok());
}

TEST_F(IngestLabelsTest, NiftiThatComesLaterOrLiesElsewhere) {
  WriteSeries(Path("archive"));
  EXPECT_EQ(Run().cases_added, 1);
  WriteNifti("2.25.12.nii", -10.3f);
  const IngestOptions options = {.nifti_folder = Path("labels")};
  const IngestReport off = Run(options);
  EXPECT_EQ(off.labels_added, 0);
  EXPECT_THAT(off.rejected.at(RejectReason::kLabelNotReadable).details,
              testing::Contains(testing::Pair(testing::HasSubstr("0.40 voxels off"), 1)));
  WriteNifti("2.25.12.nii", -10);
  EXPECT_EQ(Run(options).labels_added, 1);
  EXPECT_THAT(OnlyCase().segment_labels, testing::ElementsAre("label 1", "label 2"));
  EXPECT_TRUE(absl::IsNotFound(
      Ingest(Path("home"), {Path("archive")}, {.nifti_folder = Path("nowhere")}, nullptr, nullptr)
          .status()));
}

TEST_F(IngestLabelsTest, ASegmentationInTheHousesWordsIsRenamed) {
  const auto images = WriteSeries(Path("archive"));
  const std::string seg = WriteLabel(images, Path("archive/seg"));
  const auto truth = imaging::ReadSegments(seg, imaging::AssembleSeries(images)->volume.geometry);
  ASSERT_TRUE(truth.ok());
  const auto vocabulary = ParseLabelVocabulary("names: {ANTERIOR: Head, posterior: Tail}\n");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(Run({.vocabulary = *vocabulary}).cases_added_labelled, 1);
  const CaseRecord record = OnlyCase();
  EXPECT_THAT(record.segment_labels, testing::ElementsAre("Head", "Tail"));
  const auto inside = Inside(record, "Head");
  EXPECT_EQ(static_cast<int64_t>(inside.size()),
            std::count(truth->front().mask.begin(), truth->front().mask.end(), true));
  for (size_t voxel : inside) EXPECT_TRUE(truth->front().mask[voxel]);
}

TEST_F(IngestLabelsTest, VolumesOfOneSeriesBecomeCases) {
  ASSERT_TRUE(MakeDirs(Path("archive")).ok());
  imaging::WriteTestSeries({.slices = 12,
                            .change =
                                [](DcmDataset& dataset, int64_t slice) {
                                  dataset.putAndInsertString(
                                      DCM_ImagePositionPatient,
                                      ("-10\\20\\" + std::to_string(30 + 2 * (slice / 2))).c_str());
                                  dataset.putAndInsertString(DCM_EchoTime,
                                                             slice % 2 == 0 ? "10" : "90");
                                }},
                           Path("archive"));
  EXPECT_EQ(Run().cases_added, 2);
  const Catalog catalog = LoadCatalog(Path("home")).value();
  ASSERT_EQ(catalog.cases.size(), 2u);
  auto cache = SampleCache::Open({.home = Path("home"), .plan = TestPlan()});
  ASSERT_TRUE(cache.ok());
  std::vector<std::string> parts, echoes;
  for (const CaseRecord& record : catalog.cases) {
    parts.push_back(record.assembly.part);
    echoes.push_back(record.attributes.at("EchoTime").front());
    EXPECT_EQ(record.image_files, 6);
    EXPECT_EQ(record.assembly.images_in, 12);
    EXPECT_EQ(CaseFromJson(CaseToJson(record))->assembly, record.assembly);
    EXPECT_TRUE(cache->Load({record, false, CaseRole::kTraining}).ok());
  }
  EXPECT_THAT(parts, testing::UnorderedElementsAre("echo 1 of 2", "echo 2 of 2"));
  EXPECT_THAT(echoes, testing::UnorderedElementsAre("10", "90"));
  EXPECT_EQ(Run().already_in_store, 1);
  EXPECT_EQ(LoadCatalog(Path("home"))->cases.size(), 2u);
}

TEST(LabelVocabularyTest, SaysWhatIsWrongAndWhere) {
  for (const auto& [yaml, words] : std::vector<std::pair<std::string, std::string>>{
           {"nifty: {1: a}\n", "nifty (line 1): is not a known key"},
           {"names: {a: b, A: c}\n", "a name is there twice"},
           {"nifti: {0: a}\n", "from 1 to 65535"},
           {"names: {a: \"\"}\n", "1 to 64 characters"},
           {"names: [a\n", "no YAML"}}) {
    const auto parsed = ParseLabelVocabulary(yaml);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(parsed.status().message()), testing::HasSubstr(words));
  }
}

}  // namespace
}  // namespace consilium::agent
