// SEG objects written, read back, and shown to other people's programs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
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
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

const std::vector<wire::PlanLabel> kLabels = {
    {.value = 1, .name = "Anterior hippocampus", .code = "HIPPOCAMPUS_ANTERIOR"},
    {.value = 2, .name = "Posterior hippocampus", .code = "HCPOST"},
    {.value = 3, .name = "Other", .code = ""}};

// Output of a shell command, standard error included.
std::string OutputOf(const std::string& command) {
  std::string out;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return out;
  for (char buffer[4096]; size_t got = fread(buffer, 1, sizeof(buffer), pipe);) {
    out.append(buffer, got);
  }
  pclose(pipe);
  return out;
}

class SegTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::make_unique<TempDir>(*TempDir::Create("seg"));
    Use({});
  }

  void Use(const TestSeries& series) {
    auto assembled = AssembleSeries(WriteTestSeries(series, folder_->path()));
    ASSERT_TRUE(assembled.ok()) << assembled.status();
    source_ = *std::move(assembled);
    mask_ =
        LabelVolume{source_.volume.geometry, std::vector<uint8_t>(source_.volume.voxels.size())};
  }

  // 7 x 5 = 35 pixels a frame, so frames start inside bytes.
  void PaintTwoLabels() {
    for (size_t i = 40; i < 110; i += 3) mask_.voxels[i] = 1;
    for (size_t i = 141; i < 200; i += 2) mask_.voxels[i] = 2;
  }

  std::string Write(const char* name = "out.seg.dcm") {
    const std::string path = JoinPath(folder_->path(), name);
    const absl::Status status = WriteSegmentation(source_, mask_,
                                                  {.model_version = "hippocampus/3",
                                                   .model_digest = std::string(64, 'a'),
                                                   .labels = kLabels,
                                                   .uid_seed = "seed"},
                                                  path);
    EXPECT_TRUE(status.ok()) << status;
    return path;
  }

  void ExpectReadBack(const std::string& path) {
    const auto read = ReadSegmentation(path, source_.volume.geometry, kLabels);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->voxels, mask_.voxels);
  }

  std::unique_ptr<TempDir> folder_;
  AssembledSeries source_;
  LabelVolume mask_;
};

TEST_F(SegTest, ReadsBackWhatItWrote) {
  PaintTwoLabels();
  ExpectReadBack(Write());
}

TEST_F(SegTest, ReadsBackOnObliqueAndSagittalGrids) {
  Use({.orientation = {0, 1, 0, 0, 0, -1}, .slice_step = {-2, 0, 0}});
  PaintTwoLabels();
  ExpectReadBack(Write());
  Use({.orientation = {0.8, 0.6, 0, -0.6, 0.8, 0}, .first_position = {-91.23457, 1. / 3, 20}});
  PaintTwoLabels();
  ExpectReadBack(Write());
}

TEST_F(SegTest, NothingFoundIsOneEmptyFrame) {
  const std::string path = Write();
  ExpectReadBack(path);
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(path.c_str()).good());
  OFString frames;
  file.getDataset()->findAndGetOFString(DCM_NumberOfFrames, frames);
  EXPECT_EQ(frames, "1");
}

TEST_F(SegTest, RepeatIsByteIdenticalAndAnotherSeedIsAnotherObject) {
  PaintTwoLabels();
  const auto first = ReadFile(Write("a.dcm"), 1 << 20);
  const auto second = ReadFile(Write("b.dcm"), 1 << 20);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  const std::string path = JoinPath(folder_->path(), "c.dcm");
  ASSERT_TRUE(WriteSegmentation(source_, mask_,
                                {.model_version = "hippocampus/3",
                                 .model_digest = std::string(64, 'a'),
                                 .labels = kLabels,
                                 .uid_seed = "other"},
                                path)
                  .ok());
  EXPECT_NE(ReadDicomHeader(path)->sop_instance_uid,
            ReadDicomHeader(JoinPath(folder_->path(), "a.dcm"))->sop_instance_uid);
}

TEST_F(SegTest, FilesIntoTheSourceStudy) {
  PaintTwoLabels();
  const auto header = ReadDicomHeader(Write());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->modality, "SEG");
  EXPECT_EQ(header->sop_class_uid, kSegmentationStorageUid);
  EXPECT_EQ(header->patient_id, "PHANTOM-1");
  EXPECT_EQ(header->study_uid, "2.25.11");
  EXPECT_EQ(header->referenced_series_uid, "2.25.12");
  EXPECT_EQ(header->segment_labels,
            (std::vector<std::string>{"Anterior hippocampus", "Posterior hippocampus", "Other"}));
}

TEST_F(SegTest, PassesTheIodValidator) {
  if (system("command -v dciodvfy >/dev/null") != 0) GTEST_SKIP() << "no dciodvfy";
  EXPECT_THAT(OutputOf("dciodvfy " + Write("empty.dcm")),
              testing::Not(testing::HasSubstr("Error")));
  PaintTwoLabels();
  EXPECT_THAT(OutputOf("dciodvfy " + Write()), testing::Not(testing::HasSubstr("Error")));
}

TEST_F(SegTest, PydicomReadsTheSameBits) {
  if (system("/usr/bin/python3 -c 'import pydicom, numpy' 2>/dev/null") != 0) {
    GTEST_SKIP() << "no python3-pydicom";
  }
  PaintTwoLabels();
  const std::string program =
      "import pydicom, sys\n"
      "d = pydicom.dcmread(sys.argv[1])\n"
      "for f, g in zip(d.pixel_array, d.PerFrameFunctionalGroupsSequence):\n"
      "    print(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber,"
      " g.PlanePositionSequence[0].ImagePositionPatient[2], f.shape, int(f.sum()))\n";
  const std::string path = Write();
  const std::string script = JoinPath(folder_->path(), "read.py");
  ASSERT_TRUE(WriteFileAtomic(script, program).ok());
  std::string expected;
  for (int value : {1, 2}) {
    for (size_t k = 0; k < 6; ++k) {
      const auto from = mask_.voxels.begin() + static_cast<std::ptrdiff_t>(35 * k);
      const auto count = std::count(from, from + 35, value);
      if (count == 0) continue;
      expected += std::to_string(value) + " " + std::to_string(30 + 2 * k) + " (5, 7) " +
                  std::to_string(count) + "\n";
    }
  }
  EXPECT_EQ(OutputOf("/usr/bin/python3 " + script + " " + path), expected);
}

TEST_F(SegTest, LabelsMatchByNameOrCodeInAnyCase) {
  PaintTwoLabels();
  const std::string path = Write();
  const auto read = ReadSegmentation(path, source_.volume.geometry,
                                     {{.value = 7, .name = "x", .code = "hippocampus_anterior"},
                                      {.value = 5, .name = "POSTERIOR HIPPOCAMPUS", .code = ""}});
  ASSERT_TRUE(read.ok()) << read.status();
  for (size_t i = 0; i < mask_.voxels.size(); ++i) {
    EXPECT_EQ(read->voxels[i], mask_.voxels[i] == 1 ? 7 : mask_.voxels[i] == 2 ? 5 : 0);
  }
  const auto absent = ReadSegmentation(path, source_.volume.geometry,
                                       {{.value = 1, .name = "Liver", .code = "LIVER"}});
  EXPECT_EQ(absent.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(absent.status().message()), testing::HasSubstr("\"Liver\""));
}

TEST_F(SegTest, OtherGridsAreRefused) {
  PaintTwoLabels();
  const std::string path = Write();
  Geometry grid = source_.volume.geometry;
  grid.origin_lps_mm[2] += 1;  // half a slice
  EXPECT_EQ(ReadSegmentation(path, grid, kLabels).status().code(),
            absl::StatusCode::kInvalidArgument);
  grid = source_.volume.geometry;
  grid.size_xyz[0] = 8;
  EXPECT_EQ(ReadSegmentation(path, grid, kLabels).status().code(),
            absl::StatusCode::kInvalidArgument);
  grid = source_.volume.geometry;
  grid.direction = {0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1};
  EXPECT_EQ(ReadSegmentation(path, grid, kLabels).status().code(),
            absl::StatusCode::kInvalidArgument);
  mask_.geometry.size_xyz = {5, 7, 6};
  EXPECT_EQ(WriteSegmentation(source_, mask_, SegDescription{"m/1", "", kLabels, "s"}, path).code(),
            absl::StatusCode::kInvalidArgument);
}

// A flipped frame names the same voxels in another order.
TEST_F(SegTest, FlippedGridOfTheSameVoxelsIsRead) {
  PaintTwoLabels();
  const std::string path = Write();
  Geometry flipped = source_.volume.geometry;
  flipped.direction = {-1, 0, 0, 0, 1, 0, 0, 0, -1};
  flipped.origin_lps_mm = {-10 + 6 * 0.75, 20, 30 + 5 * 2};
  const auto read = ReadSegmentation(path, flipped, kLabels);
  ASSERT_TRUE(read.ok()) << read.status();
  for (size_t i = 0; i < 210; ++i) {
    const size_t x = i % 7, y = i / 7 % 5, z = i / 35;
    EXPECT_EQ(read->voxels[6 - x + 7 * (y + 5 * (5 - z))], mask_.voxels[i]);
  }
}

TEST_F(SegTest, FractionalCountsFromHalfOfItsMaximum) {
  PaintTwoLabels();
  const std::string path = Write();
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(path.c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  Sint32 frames = 0;
  ASSERT_TRUE(dataset.findAndGetSint32(DCM_NumberOfFrames, frames).good());
  std::vector<Uint8> bytes(static_cast<size_t>(frames) * 35);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 35 == 0 ? 100 : i % 35 == 1 ? 99 : 0;
  if (bytes.size() % 2 == 1) bytes.push_back(0);
  dataset.putAndInsertString(DCM_SegmentationType, "FRACTIONAL");
  dataset.putAndInsertString(DCM_SegmentationFractionalType, "PROBABILITY");
  dataset.putAndInsertUint16(DCM_MaximumFractionalValue, 200);
  dataset.putAndInsertUint16(DCM_BitsAllocated, 8);
  dataset.putAndInsertUint16(DCM_BitsStored, 8);
  dataset.putAndInsertUint16(DCM_HighBit, 7);
  dataset.putAndInsertUint8Array(DCM_PixelData, bytes.data(), bytes.size());
  for (const E_TransferSyntax xfer : {EXS_LittleEndianExplicit, EXS_RLELossless}) {
    ASSERT_TRUE(dataset.chooseRepresentation(xfer, nullptr).good());
    ASSERT_TRUE(file.saveFile(path.c_str(), xfer).good());
    const auto read = ReadSegmentation(path, source_.volume.geometry, kLabels);
    ASSERT_TRUE(read.ok()) << read.status();
    for (size_t i = 0; i < 210; ++i) {
      EXPECT_EQ(read->voxels[i] != 0, i % 35 == 0 && i / 35 >= 1 && i / 35 <= 5) << i;
    }
  }
}

}  // namespace
}  // namespace consilium::imaging
