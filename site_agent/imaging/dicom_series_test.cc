#include "site_agent/imaging/dicom_series.h"

#include <algorithm>
#include <string>
#include <vector>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

class DicomSeriesTest : public testing::Test {
 protected:
  std::vector<std::string> Write(const TestSeries& series) {
    folders_.push_back(*TempDir::Create("imaging"));
    return WriteTestSeries(series, folders_.back().path());
  }

  static void ExpectRefusal(const std::vector<std::string>& paths, const char* words) {
    const auto series = AssembleSeries(paths);
    EXPECT_EQ(series.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(series.status().message()), testing::HasSubstr(words));
    EXPECT_THAT(
        std::string(series.status().message()),
        testing::Not(testing::AnyOf(testing::HasSubstr("Phantom"), testing::HasSubstr("PHANTOM"),
                                    testing::HasSubstr("2.25."))));
  }

  std::vector<TempDir> folders_;
};

float At(const Volume& volume, int64_t i, int64_t j, int64_t k) {
  const auto& size = volume.geometry.size_xyz;
  return volume.voxels[static_cast<size_t>(i + size[0] * (j + size[1] * k))];
}

// Slices in file order ascend along the normal: voxel (i, j, k) is column i, row j, slice k.
void ExpectFileOrder(const Volume& volume) {
  for (int64_t k = 0; k < volume.geometry.size_xyz[2]; ++k) {
    EXPECT_EQ(At(volume, 0, 0, k), TestVoxel(0, 0, k));
    EXPECT_EQ(At(volume, 6, 4, k), TestVoxel(6, 4, k));
    EXPECT_EQ(At(volume, 6, 0, k), TestVoxel(6, 0, k));
  }
}

TEST_F(DicomSeriesTest, AxialGeometry) {
  const auto series = AssembleSeries(Write({}));
  ASSERT_TRUE(series.ok()) << series.status();
  const Geometry& grid = series->volume.geometry;
  EXPECT_EQ(grid.size_xyz, (std::array<int64_t, 3>{7, 5, 6}));
  EXPECT_EQ(grid.spacing_xyz_mm, (std::array<double, 3>{0.75, 1.5, 2}));
  EXPECT_EQ(grid.origin_lps_mm, (std::array<double, 3>{-10, 20, 30}));
  EXPECT_EQ(grid.direction, (std::array<double, 9>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(series->modality, "MR");
  EXPECT_EQ(series->series_uid, "2.25.12");
  EXPECT_EQ(series->frame_of_reference_uid, "2.25.13");
  EXPECT_EQ(series->slice_uids.front(), "2.25.10001");
  EXPECT_TRUE(series->report.set_aside.empty());
  ExpectFileOrder(series->volume);
}

TEST_F(DicomSeriesTest, SagittalGeometry) {
  // Rows run to the back, columns downwards: row x column = (0,1,0) x (0,0,-1) = (-1,0,0).
  const auto series =
      AssembleSeries(Write({.orientation = {0, 1, 0, 0, 0, -1}, .slice_step = {-2, 0, 0}}));
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_EQ(series->volume.geometry.direction,
            (std::array<double, 9>{0, 0, -1, 1, 0, 0, 0, -1, 0}));
  EXPECT_EQ(series->volume.geometry.origin_lps_mm, (std::array<double, 3>{-10, 20, 30}));
  ExpectFileOrder(series->volume);
}

TEST_F(DicomSeriesTest, SlicesAgainstTheNormalAreReversed) {
  const auto series =
      AssembleSeries(Write({.orientation = {0, 1, 0, 0, 0, -1}, .slice_step = {2, 0, 0}}));
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_EQ(series->volume.geometry.origin_lps_mm, (std::array<double, 3>{0, 20, 30}));
  EXPECT_EQ(At(series->volume, 0, 0, 0), TestVoxel(0, 0, 5));
  EXPECT_EQ(series->slice_uids.front(), "2.25.10006");
}

TEST_F(DicomSeriesTest, CoronalGeometry) {
  const auto series =
      AssembleSeries(Write({.orientation = {1, 0, 0, 0, 0, -1}, .slice_step = {0, 2, 0}}));
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_EQ(series->volume.geometry.direction, (std::array<double, 9>{1, 0, 0, 0, 0, 1, 0, -1, 0}));
  ExpectFileOrder(series->volume);
}

TEST_F(DicomSeriesTest, FileOrderDoesNotMatter) {
  std::vector<std::string> paths = Write({});
  const auto forward = AssembleSeries(paths);
  std::reverse(paths.begin(), paths.end());
  std::swap(paths[1], paths[4]);
  const auto shuffled = AssembleSeries(paths);
  ASSERT_TRUE(forward.ok() && shuffled.ok());
  EXPECT_EQ(forward->volume.voxels, shuffled->volume.voxels);
  EXPECT_EQ(forward->slice_paths, shuffled->slice_paths);
}

TEST_F(DicomSeriesTest, CompressedAndImplicitSeriesEqualThePlainOne) {
  const auto plain = AssembleSeries(Write({}));
  for (const char* syntax :
       {UID_RLELosslessTransferSyntax, UID_JPEGLSLosslessTransferSyntax,
        UID_LittleEndianImplicitTransferSyntax, UID_BigEndianExplicitTransferSyntax,
        UID_DeflatedExplicitVRLittleEndianTransferSyntax}) {
    const auto other = AssembleSeries(Write({.transfer_syntax_uid = syntax}));
    ASSERT_TRUE(other.ok()) << syntax << other.status();
    EXPECT_EQ(other->volume.voxels, plain->volume.voxels) << syntax;
  }
}

TEST_F(DicomSeriesTest, RescaleIsAppliedSliceBySlice) {
  const auto series = AssembleSeries(Write({.change = [](DcmDataset& dataset, int64_t k) {
    dataset.putAndInsertString(DCM_RescaleSlope, std::to_string(k + 1).c_str());
    dataset.putAndInsertString(DCM_RescaleIntercept, "-7.5");
  }}));
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_FLOAT_EQ(At(series->volume, 3, 2, 4), 5.0f * TestVoxel(3, 2, 4) - 7.5f);
}

TEST_F(DicomSeriesTest, JunkAboveTheHighBitIsMasked) {
  const auto series = AssembleSeries(Write({.change = [](DcmDataset& dataset, int64_t) {
    dataset.putAndInsertUint16(DCM_BitsStored, 12);
    dataset.putAndInsertUint16(DCM_HighBit, 11);
    const Uint16* pixels = nullptr;
    unsigned long count = 0;
    ASSERT_TRUE(dataset.findAndGetUint16Array(DCM_PixelData, pixels, &count).good());
    std::vector<Uint16> junk(pixels, pixels + count);
    for (size_t i = 0; i < junk.size(); ++i) {
      junk[i] = static_cast<Uint16>((junk[i] & 0x0FFF) | (i % 16) << 12);
    }
    dataset.putAndInsertUint16Array(DCM_PixelData, junk.data(), junk.size());
  }}));
  ASSERT_TRUE(series.ok()) << series.status();
  ExpectFileOrder(series->volume);
}

TEST_F(DicomSeriesTest, Monochrome1IsInvertedAndPaddingIsDark) {
  const auto series = AssembleSeries(Write({.change = [](DcmDataset& dataset, int64_t) {
    dataset.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME1");
    dataset.putAndInsertSint16(DcmTag(DCM_PixelPaddingValue, EVR_SS), TestVoxel(0, 0, 0));
  }}));
  ASSERT_TRUE(series.ok()) << series.status();
  // 16 signed bits: x -> -1 - x.
  EXPECT_EQ(At(series->volume, 1, 0, 0), -1 - TestVoxel(1, 0, 0));
  EXPECT_EQ(At(series->volume, 0, 0, 0), -1 - TestVoxel(6, 4, 5)) << "padding is the darkest value";
}

TEST_F(DicomSeriesTest, ObliqueIsKept) {
  const auto series = AssembleSeries(Write({.orientation = {0.8, 0.6, 0, -0.6, 0.8, 0}}));
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_THAT(series->volume.geometry.direction,
              testing::Pointwise(testing::DoubleNear(1e-12),
                                 std::vector<double>{0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1}));
}

TEST_F(DicomSeriesTest, BadSeriesAreRefusedWithAReason) {
  std::vector<std::string> gap = Write({});
  gap.erase(gap.begin() + 2);
  ExpectRefusal(gap, "1 missing after slice 2");
  ExpectRefusal(Write({.slice_step = {0, 0.3, 2}}), "gantry tilt");
  ExpectRefusal(Write({.slices = 1}), "one slice");
  ExpectRefusal({}, "no files");
  ExpectRefusal(Write({.change =
                           [](DcmDataset& dataset, int64_t k) {
                             dataset.putAndInsertString(DCM_SeriesInstanceUID,
                                                        k == 3 ? "2.25.99" : "2.25.12");
                           }}),
                "several series");
  ExpectRefusal(Write({.change =
                           [](DcmDataset& dataset, int64_t) {
                             dataset.putAndInsertString(DCM_ImagePositionPatient, "1\\nan\\2");
                           }}),
                "no ImagePositionPatient");
  ExpectRefusal(Write({.change =
                           [](DcmDataset& dataset, int64_t k) {
                             if (k < 3)
                               dataset.putAndInsertString(DCM_ImageOrientationPatient,
                                                          "0\\1\\0\\0\\0\\-1");
                           }}),
                "several orientations");
}

// Twelve images at six positions; `mark` says what the second of each has of its own.
TestSeries TwoAtEachPosition(std::function<void(DcmDataset&, int64_t k, bool second)> mark) {
  TestSeries series;
  series.slices = 12;
  series.change = [mark](DcmDataset& dataset, int64_t slice) {
    const int64_t k = slice / 2;
    dataset.putAndInsertString(DCM_ImagePositionPatient,
                               ("-10\\20\\" + std::to_string(30 + 2 * k)).c_str());
    mark(dataset, k, slice % 2 == 1);
  };
  return series;
}

TEST_F(DicomSeriesTest, VolumesOfOneSeriesAreToldApart) {
  const auto text = [](const DcmTagKey& key, const char* first, const char* second) {
    return [=](DcmDataset& dataset, int64_t, bool is_second) {
      dataset.putAndInsertString(key, is_second ? second : first);
    };
  };
  const auto by_slice = [](const DcmTagKey& key, int first, int second) {
    return [=](DcmDataset& dataset, int64_t k, bool is_second) {
      dataset.putAndInsertString(key, std::to_string((is_second ? second : first) + k).c_str());
    };
  };
  const std::pair<const char*, TestSeries> cases[] = {
      {"echo", TwoAtEachPosition(text(DCM_EchoTime, "9.5", "90"))},
      {"temporal position", TwoAtEachPosition(text(DCM_TemporalPositionIdentifier, "2", "10"))},
      {"image type",
       TwoAtEachPosition(text(DCM_ImageType, "ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"))},
      {"contrast agent", TwoAtEachPosition(text(DCM_ContrastBolusAgent, "", "Gd"))},
      {"trigger time", TwoAtEachPosition(by_slice(DCM_TriggerTime, 3, 500))},
      {"acquisition number", TwoAtEachPosition(by_slice(DCM_AcquisitionNumber, 1, 100))},
      {"acquisition time", TwoAtEachPosition(by_slice(DCM_AcquisitionTime, 101010, 101110))},
      {"instance number", TwoAtEachPosition(by_slice(DCM_InstanceNumber, 1, 7))}};
  for (const auto& [key, series] : cases) {
    const auto paths = Write(series);
    const auto volumes = SortSeries(paths);
    ASSERT_TRUE(volumes.ok()) << key << volumes.status();
    ASSERT_EQ(volumes->size(), 2u) << key;
    for (int part : {1, 2}) {
      const SortedVolume& volume = (*volumes)[static_cast<size_t>(part - 1)];
      EXPECT_EQ(volume.report.part, std::string(key) + " " + std::to_string(part) + " of 2");
      EXPECT_EQ(volume.geometry.size_xyz[2], 6);
      EXPECT_EQ(volume.report.images_in, 12);
      EXPECT_EQ(volume.report.images_used, 6);
      for (size_t k = 0; k < 6; ++k) {  // written in pairs: first, second, first, ...
        EXPECT_EQ(volume.ordered[k].path, paths[2 * k + static_cast<size_t>(part) - 1]) << key;
      }
    }
    ExpectRefusal(paths, (std::string("2 volumes in one series, by ") + key).c_str());
  }
}

TEST_F(DicomSeriesTest, APartThatIsNoVolumeIsSetAsideWithItsReason) {
  std::vector<std::string> paths =
      Write(TwoAtEachPosition([](DcmDataset& dataset, int64_t, bool second) {
        dataset.putAndInsertString(DCM_EchoTime, second ? "90" : "10");
      }));
  paths.erase(paths.begin() + 5);  // of the second echo
  const auto volumes = SortSeries(paths);
  ASSERT_TRUE(volumes.ok()) << volumes.status();
  ASSERT_EQ(volumes->size(), 1u);
  EXPECT_EQ(volumes->front().report.set_aside,
            (std::vector<SetAside>{{5, "echo 2 of 2: 1 missing after slice 2 of 5"}}));
}

TEST_F(DicomSeriesTest, TimePointsThatAreNotEverywhereAreRefused) {
  std::vector<std::string> paths =
      Write(TwoAtEachPosition([](DcmDataset& dataset, int64_t k, bool second) {
        dataset.putAndInsertString(DCM_TriggerTime, std::to_string(k + (second ? 500 : 0)).c_str());
      }));
  paths.erase(paths.begin() + 5);
  ExpectRefusal(paths, "several time points at one position");
}

TEST_F(DicomSeriesTest, MissingFileIsNotFound) {
  const auto series = AssembleSeries({"/nowhere/to/be/Phantom^Ada.dcm"});
  EXPECT_EQ(series.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(series.status().message(), "no such file");
}

// Archives have patients' names in file names, and messages reach reports and logs.
TEST_F(DicomSeriesTest, NoMessageHoldsAFileName) {
  for (const bool dicom : {false, true}) {
    const std::vector<std::string> written = Write({.change = [](DcmDataset& dataset, int64_t) {
      dataset.findAndDeleteElement(DCM_ImagePositionPatient);
    }});
    const std::string path = JoinPath(folders_.back().path(), "Phantom^Ada.dcm");
    const std::string bytes = dicom ? ReadFile(written.front(), 1 << 20).value() : "no DICOM";
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    ExpectRefusal({path}, dicom ? "no ImagePositionPatient" : "not DICOM");
  }
  ExpectRefusal({folders_.back().path()}, "not a regular file");
}

TEST_F(DicomSeriesTest, HeaderGivesWhatRulesName) {
  const std::vector<std::string> paths = Write({});
  const auto header = ReadDicomHeader(paths.front());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->modality, "MR");
  EXPECT_EQ(header->patient_id, "PHANTOM-1");
  EXPECT_EQ(header->attributes.at("ImageType"),
            (std::vector<std::string>{"ORIGINAL", "PRIMARY", "M"}));
  EXPECT_EQ(header->transfer_syntax_uid, "1.2.840.10008.1.2.1");
  EXPECT_EQ(header->attributes.count("KVP"), 0u);
}

// An enhanced object: one file, positions in the per-frame functional groups.
TEST_F(DicomSeriesTest, EnhancedMultiFrameIsAssembledFromItsFrames) {
  TestSeries plain;
  plain.slices = 1;
  plain.change = [](DcmDataset& dataset, int64_t) {
    std::vector<Uint16> pixels;
    for (const int64_t k : {2, 0, 1}) {
      for (int64_t i = 0; i < 35; ++i)
        pixels.push_back(static_cast<Uint16>(TestVoxel(i % 7, i / 7, k)));
      DcmItem* groups = nullptr;
      DcmItem* plane = nullptr;
      dataset.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, groups, -2);
      groups->findOrCreateSequenceItem(DCM_PlanePositionSequence, plane);
      plane->putAndInsertString(DCM_ImagePositionPatient,
                                ("1\\2\\" + std::to_string(3 * k)).c_str());
    }
    DcmItem* shared = nullptr;
    DcmItem* item = nullptr;
    dataset.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared);
    shared->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, item);
    item->putAndInsertString(DCM_PixelSpacing, "1.5\\0.75");
    shared->findOrCreateSequenceItem(DCM_PlaneOrientationSequence, item);
    item->putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    dataset.findAndDeleteElement(DCM_ImagePositionPatient);
    dataset.putAndInsertString(DCM_NumberOfFrames, "3");
    dataset.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size());
  };
  for (const char* syntax :
       {UID_LittleEndianExplicitTransferSyntax, UID_RLELosslessTransferSyntax}) {
    plain.transfer_syntax_uid = syntax;
    const auto series = AssembleSeries(Write(plain));
    ASSERT_TRUE(series.ok()) << series.status();
    EXPECT_EQ(series->volume.geometry.size_xyz, (std::array<int64_t, 3>{7, 5, 3}));
    EXPECT_EQ(series->volume.geometry.spacing_xyz_mm, (std::array<double, 3>{0.75, 1.5, 3}));
    EXPECT_EQ(series->slice_frames, (std::vector<int>{2, 3, 1}));
    ExpectFileOrder(series->volume);
  }
}

}  // namespace
}  // namespace consilium::imaging
