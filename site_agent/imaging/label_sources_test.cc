// Labels from label maps, RT structure sets and NIfTI, on the grid of their image.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/nifti_label.h"
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/imaging/structure_set.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

const std::string kCorpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/";
#define SKIP_WITHOUT_CORPUS() \
  if (!PathExists(kCorpus)) GTEST_SKIP() << "no shared data at " << kCorpus

int64_t Count(const LabelSegment& segment) {
  return std::count(segment.mask.begin(), segment.mask.end(), true);
}

void ExpectRefusal(const absl::Status& status, const char* words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(words));
}

Geometry TinyLiverGrid() {
  return {{24, 38, 3}, {0.7, 0.7, 2.5}, {46.4649, 5.01881, -177.75}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
}

TEST(LabelMapTest, SparseFramesAreReadByTheirPosition) {
  SKIP_WITHOUT_CORPUS();
  const auto segments = ReadSegments(kCorpus + "seg/sparse-labelmap-ppv5.dcm", TinyLiverGrid());
  ASSERT_TRUE(segments.ok()) << segments.status();
  ASSERT_EQ(segments->size(), 1u) << "the background is no segment";
  const LabelSegment& liver = segments->front();
  EXPECT_EQ(liver.name, "Liver");
  EXPECT_EQ(liver.code, "10200004");
  EXPECT_EQ(liver.code_scheme, "SCT");
  EXPECT_EQ(Count(liver), 2 * 315);
  const auto middle = liver.mask.begin() + 24 * 38;
  EXPECT_EQ(std::count(middle, middle + 24 * 38, true), 0) << "no frame, no label";
  EXPECT_NEAR(liver.grid_ml, 630 * 0.7 * 0.7 * 2.5 / 1000, 1e-9);
  EXPECT_NEAR(liver.source_ml, liver.grid_ml, 1e-9);
}

TEST(LabelMapTest, ReadsAsLabelsOfAPlanToo) {
  SKIP_WITHOUT_CORPUS();
  const auto read = ReadSegmentation(kCorpus + "seg/sparse-labelmap-ppv5.dcm", TinyLiverGrid(),
                                     {{.value = 3, .name = "liver", .code = ""}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(std::count(read->voxels.begin(), read->voxels.end(), 3), 630);
}

TEST(SegCorpusTest, ObjectsOfOtherPeopleAreRead) {
  SKIP_WITHOUT_CORPUS();
  const auto label = ReadSegments(kCorpus + "seg/label.seg", TinyLiverGrid());
  ASSERT_TRUE(label.ok()) << label.status();
  EXPECT_EQ(Count(label->front()), 315);
  Geometry shifted = TinyLiverGrid();
  shifted.origin_lps_mm[0] += 0.35;
  ExpectRefusal(ReadSegments(kCorpus + "seg/label.seg", shifted).status(), "0.50 voxels off");
  const Geometry neoplasm = {{128, 128, 13},
                             {3.537818, 3.537818, 3.375},
                             {-226.4105, -430.7887, -119.271},
                             {1, 0, 0, 0, 1, 0, 0, 0, 1}};
  const auto seg = ReadSegments(kCorpus + "seg/seg.dcm", neoplasm);
  ASSERT_TRUE(seg.ok()) << seg.status();
  EXPECT_EQ(Count(seg->front()), 795);
}

// Two segments over the same voxels survive writing and reading; a plan takes the higher value.
TEST(ReferenceLabelsTest, OverlappingSegmentsAreKept) {
  const auto folder = TempDir::Create("labels");
  const auto source = AssembleSeries(WriteTestSeries({}, folder->path()));
  ASSERT_TRUE(source.ok()) << source.status();
  LabelSegment organ{"Liver", "10200004", "SCT", std::vector<bool>(210), 0, 0};
  LabelSegment lesion{"Tumour", "", "", std::vector<bool>(210), 0, 0};
  for (size_t i = 35; i < 140; ++i) organ.mask[i] = true;
  for (size_t i = 60; i < 66; ++i) lesion.mask[i] = true;
  const std::string path = JoinPath(folder->path(), "label.dcm");
  ASSERT_TRUE(WriteReferenceLabels(*source, {organ, lesion}, "seed", path).ok());
  const auto read = ReadSegments(path, source->volume.geometry);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].mask, organ.mask);
  EXPECT_EQ((*read)[0].code_scheme, "SCT");
  EXPECT_EQ((*read)[1].mask, lesion.mask);
  const auto plan = ReadSegmentation(
      path, source->volume.geometry,
      {{.value = 1, .name = "liver", .code = ""}, {.value = 2, .name = "tumour", .code = ""}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(std::count(plan->voxels.begin(), plan->voxels.end(), 1), 99);
  EXPECT_EQ(std::count(plan->voxels.begin(), plan->voxels.end(), 2), 6);
  EXPECT_EQ(ReadDicomHeader(path)->referenced_instance_uids, source->slice_uids);
}

class StructureSetTest : public testing::Test {
 protected:
  StructureSetTest() : folder_(*TempDir::Create("rtstruct")) {}

  // A structure set of one ROI with the given contours in mm.
  std::string Write(const std::vector<std::vector<double>>& contours,
                    const char* type = "CLOSED_PLANAR") {
    DcmFileFormat file;
    DcmDataset& dataset = *file.getDataset();
    dataset.putAndInsertString(DCM_SOPClassUID, kStructureSetStorageUid);
    dataset.putAndInsertString(DCM_SOPInstanceUID, "2.25.77");
    dataset.putAndInsertString(DCM_SeriesInstanceUID, "2.25.78");
    DcmItem* roi = nullptr;
    dataset.findOrCreateSequenceItem(DCM_StructureSetROISequence, roi);
    roi->putAndInsertString(DCM_ROINumber, "4");
    roi->putAndInsertString(DCM_ROIName, "Cochlea");
    DcmItem* of_roi = nullptr;
    dataset.findOrCreateSequenceItem(DCM_ROIContourSequence, of_roi);
    of_roi->putAndInsertString(DCM_ReferencedROINumber, "4");
    for (const std::vector<double>& points : contours) {
      DcmItem* contour = nullptr;
      of_roi->findOrCreateSequenceItem(DCM_ContourSequence, contour, -2);
      contour->putAndInsertString(DCM_ContourGeometricType, type);
      std::string text;
      for (double value : points) absl::StrAppend(&text, text.empty() ? "" : "\\", value);
      contour->putAndInsertString(DCM_ContourData, text.c_str());
    }
    const std::string path = JoinPath(folder_.path(), "rt.dcm");
    EXPECT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
    return path;
  }

  static std::vector<double> Square(double low, double high, double z) {
    return {low, low, z, high, low, z, high, high, z, low, high, z};
  }

  TempDir folder_;
  Geometry grid_ = {{10, 10, 4}, {1, 1, 2}, {0, 0, 0}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
};

// Against a point-in-polygon count of every pixel centre in another program.
TEST_F(StructureSetTest, TheCorpusContoursFillTheVoxelsOfTheirPlanes) {
  SKIP_WITHOUT_CORPUS();
  const auto series = AssembleSeries(FilesBelow(kCorpus + "mr/series-hcrop-3"));
  ASSERT_TRUE(series.ok()) << series.status();
  const auto set =
      ReadStructureSet(kCorpus + "generated/rt/rtstruct_hcrop.dcm", series->volume.geometry);
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ(set->segments.size(), 2u);
  const LabelSegment &anterior = set->segments[0], &posterior = set->segments[1];
  EXPECT_EQ(anterior.name, "Anterior");
  EXPECT_EQ(Count(anterior), 2108);
  EXPECT_EQ(posterior.name, "Posterior with hole");
  EXPECT_EQ(Count(posterior), 2688);
  EXPECT_NEAR(anterior.source_ml, anterior.grid_ml, 0.05);
  EXPECT_NEAR(posterior.source_ml, posterior.grid_ml, 0.05);
  EXPECT_EQ(set->frame_of_reference_uid, series->frame_of_reference_uid);
  int64_t filled = 0;
  for (auto slice = anterior.mask.begin(); slice != anterior.mask.end(); slice += 34 * 50) {
    if (std::count(slice, slice + 34 * 50, true) > 0) ++filled;
  }
  EXPECT_EQ(filled, 15) << "slices without a contour stay empty";
}

TEST_F(StructureSetTest, AContourInsideAnotherIsAHole) {
  const auto set = ReadStructureSet(Write({Square(0.5, 8.5, 2), Square(2.5, 5.5, 2)}), grid_);
  ASSERT_TRUE(set.ok()) << set.status();
  const LabelSegment& roi = set->segments.front();
  EXPECT_EQ(Count(roi), 64 - 9);
  EXPECT_TRUE(roi.mask[100 + 11]);
  EXPECT_FALSE(roi.mask[100 + 33]);
  EXPECT_NEAR(roi.source_ml, 55 * 2 / 1000.0, 1e-9);
  EXPECT_NEAR(roi.grid_ml, 55 * 2 / 1000.0, 1e-9);
}

TEST_F(StructureSetTest, AnObliqueGridAndContoursAcrossItsSlicesAreFollowed) {
  grid_.direction = {0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1};
  // A square of grid columns 1..4 and slices 0..2 in the plane of grid row 3.
  std::vector<double> points;
  for (const auto& [i, k] : {std::pair{0.5, -0.5}, {4.5, -0.5}, {4.5, 2.5}, {0.5, 2.5}}) {
    const double x = 0.8 * i - 0.6 * 3, y = 0.6 * i + 0.8 * 3;
    points.insert(points.end(), {x, y, 2 * k});
  }
  const auto set = ReadStructureSet(Write({points}), grid_);
  ASSERT_TRUE(set.ok()) << set.status();
  const LabelSegment& roi = set->segments.front();
  EXPECT_EQ(Count(roi), 4 * 3);
  for (size_t k = 0; k < 3; ++k) EXPECT_TRUE(roi.mask[1 + 10 * (3 + 10 * k)]);
}

TEST_F(StructureSetTest, WhatDoesNotFitIsRefusedInWords) {
  const auto status = [&](const std::vector<std::vector<double>>& contours) {
    return ReadStructureSet(Write(contours), grid_).status();
  };
  ExpectRefusal(status({Square(1, 5, 2.6)}), "between two slices: 0.30 voxels off");
  ExpectRefusal(status({Square(1, 5, 40)}), "outside the image");
  // Each begins inside the other, so that none is around.
  ExpectRefusal(status({{1, 0, 2, 2, 5, 2, 2, 2, 2, 1, 3, 2}, {1, 1, 2, 2, 5, 2, 2, 2, 2, 1, 3, 2}}),
                "cross each other");
  ExpectRefusal(status({{1, 1, 2, 5, 1, 2, 5, 5, 3.5, 1, 5, 4}}), "does not lie in a plane");
  ExpectRefusal(status({{1, 1, 2, 5}}), "no triples");
  ExpectRefusal(status({{1e9, 1, 2, 5, 1, 2, 5, 5, 2}}), "far outside");
  ExpectRefusal(ReadStructureSet(Write({{3, 3, 2}}, "POINT"), grid_).status(), "no ROI");
  ExpectRefusal(ReadStructureSet(WriteTestSeries({}, folder_.path()).front(), grid_).status(),
                "not a DICOM structure set");
}

class NiftiTest : public testing::Test {
 protected:
  NiftiTest() : folder_(*TempDir::Create("nifti")) {}

  // NIfTI-1, bytes 2 x 3 x 4, LPS geometry `grid_` as RAS sform.
  std::string Header() const {
    std::string header(352, '\0');
    const auto put = [&](size_t at, auto value) {
      std::memcpy(&header[at], &value, sizeof(value));
    };
    put(0, int32_t{348});
    const int16_t dim[] = {3, 2, 3, 4, 1, 1, 1, 1};
    for (size_t i = 0; i < 8; ++i) put(40 + 2 * i, dim[i]);
    put(70, int16_t{2});
    put(72, int16_t{8});
    const float pixdim[] = {1, 1.5f, 2, 3};
    for (size_t i = 0; i < 4; ++i) put(76 + 4 * i, pixdim[i]);
    put(108, 352.0f);
    header[123] = 2;
    put(254, int16_t{1});
    const float srow[] = {-1.5f, 0, 0, -10, 0, -2, 0, -20, 0, 0, 3, 30};
    for (size_t i = 0; i < 12; ++i) put(280 + 4 * i, srow[i]);
    std::memcpy(&header[344], "n+1", 4);
    return header;
  }

  absl::StatusOr<std::vector<LabelSegment>> Read(const std::string& bytes) {
    const std::string path = JoinPath(folder_.path(), "label.nii");
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
    return ReadNiftiLabels(path, grid_, {{1, "Anterior"}});
  }

  static void Put(std::string& header, size_t at, float value) {
    std::memcpy(&header[at], &value, sizeof(value));
  }

  TempDir folder_;
  Geometry grid_ = {{2, 3, 4}, {1.5, 2, 3}, {10, 20, 30}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
  const std::string voxels_ = std::string("\1\0\0\0\0\7", 6) + std::string(17, '\0') + "\1";
};

TEST_F(NiftiTest, TheAffineTurnsRasToLps) {
  const auto segments = Read(Header() + voxels_);
  ASSERT_TRUE(segments.ok()) << segments.status();
  ASSERT_EQ(segments->size(), 2u);
  EXPECT_EQ((*segments)[0].name, "Anterior");
  EXPECT_TRUE((*segments)[0].mask[0]);
  EXPECT_TRUE((*segments)[0].mask[23]);
  EXPECT_EQ((*segments)[1].name, "label 7");
  EXPECT_TRUE((*segments)[1].mask[5]);
  EXPECT_NEAR((*segments)[0].source_ml, 2 * 9 / 1000.0, 1e-9);
  EXPECT_NEAR((*segments)[0].grid_ml, 2 * 9 / 1000.0, 1e-9);
}

// The same array with another affine names other voxels: array order decides nothing.
TEST_F(NiftiTest, AFlippedAffineFlipsTheLabels) {
  std::string header = Header();
  Put(header, 280, 1.5f);        // i runs to the patient's right in RAS, so against LPS x
  Put(header, 292, -10 - 1.5f);  // from the grid's last column
  const auto segments = Read(header + voxels_);
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_TRUE((*segments)[0].mask[1]);
  EXPECT_TRUE((*segments)[0].mask[22]);
  EXPECT_TRUE((*segments)[1].mask[4]);
}

TEST_F(NiftiTest, AxesMayBePermuted) {
  grid_ = {{3, 2, 4}, {2, 1.5, 3}, {10, 20, 30}, {0, 1, 0, 1, 0, 0, 0, 0, 1}};
  const auto segments = Read(Header() + voxels_);
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_TRUE((*segments)[1].mask[2 + 3 * 1]) << "array (1, 2, 0) is grid (2, 1, 0)";
}

TEST_F(NiftiTest, TheQformCountsWhereThereIsNoSform) {
  std::string header = Header();
  header[254] = 0;
  EXPECT_THAT(std::string(Read(header + voxels_).status().message()),
              testing::HasSubstr("neither sform nor qform"));
  header[252] = 1;
  // Half a turn about z: quaternion (0, 0, 1).
  Put(header, 264, 1);
  Put(header, 268, -10);
  Put(header, 272, -20);
  Put(header, 276, 30);
  const auto segments = Read(header + voxels_);
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_TRUE((*segments)[1].mask[5]);
  // An sform that lies elsewhere gives way to the qform that fits.
  header[254] = 1;
  Put(header, 292, 500);
  EXPECT_TRUE(Read(header + voxels_).ok());
}

TEST_F(NiftiTest, OffTheGridIsRefusedWithTheDistance) {
  std::string header = Header();
  Put(header, 292, -10 + 0.3f);  // 0.2 voxels
  ExpectRefusal(Read(header + voxels_).status(), "0.20 voxels off");
  Put(header, 292, -10 + 0.1f);
  EXPECT_TRUE(Read(header + voxels_).ok()) << "less than 0.1 voxel";
  grid_.size_xyz = {2, 3, 5};
  ExpectRefusal(Read(Header() + voxels_).status(), "another size or orientation");
}

TEST_F(NiftiTest, BrokenFilesAreRefused) {
  ExpectRefusal(Read("").status(), "ends too early");
  ExpectRefusal(Read(std::string(400, 'x')).status(), "not NIfTI");
  ExpectRefusal(Read(Header() + voxels_.substr(1)).status(), "ends too early");
  ExpectRefusal(Read(Header() + std::string(24, '\0')).status(), "no voxel is labelled");
  std::string header = Header();
  header[70] = 32;  // complex
  ExpectRefusal(Read(header + voxels_).status(), "kind of number");
  header = Header();
  Put(header, 112, 0.5f);
  ExpectRefusal(Read(header + voxels_).status(), "no whole numbers");
  header = Header();
  header[42] = 127;
  header[43] = 127;
  EXPECT_EQ(Read(header + voxels_).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace consilium::imaging
