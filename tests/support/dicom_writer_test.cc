#include "tests/support/dicom_writer.h"

#include <zlib.h>

#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "tests/support/hospital.h"
#include "tests/support/nifti_writer.h"
#include "tests/support/status_matchers.h"

namespace consilium::phantom {
namespace {

// A value of its own in every voxel, so that a swapped axis shows.
imaging::Volume CountingVolume(const imaging::Geometry& grid) {
  imaging::Volume volume{grid, std::vector<float>(grid.voxels())};
  std::iota(volume.voxels.begin(), volume.voxels.end(), 1.f);
  return volume;
}

imaging::Geometry SmallGrid(SlicePlane plane) {
  imaging::Geometry grid =
      ProtocolGrid({.plane = plane, .pixel_mm = 1.5, .slice_mm = 3, .appearance = {}, .dicom = {}},
                   {10, 20, 30});
  grid.size_xyz = {7, 5, 4};
  return grid;
}

std::string Text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFStringArray(tag, value);
  return std::string(value.data(), value.size());
}

std::vector<double> Numbers(DcmItem& item, const DcmTagKey& tag, size_t count) {
  std::vector<double> values(count, 0);
  for (size_t i = 0; i < count; ++i) item.findAndGetFloat64(tag, values[i], i);
  return values;
}

class DicomWriterTest : public ::testing::TestWithParam<TransferSyntax> {
 protected:
  DicomWriterTest() : random_(5), identity_(MakeIdentity("Klinik", 'T', 0, random_)) {}
  std::string Path(absl::string_view name) const { return JoinPath(folder_.path(), name); }

  Random random_;
  Identity identity_;
  TempDir folder_ = TempDir::Create("dicom-writer").value();
};

TEST_P(DicomWriterTest, SeriesReadsBackWithItsGeometryAndPixels) {
  for (SlicePlane plane : {SlicePlane::kAxial, SlicePlane::kCoronal, SlicePlane::kSagittal}) {
    const imaging::Geometry grid = SmallGrid(plane);
    const imaging::Volume volume = CountingVolume(grid);
    ASSERT_OK_AND_ASSIGN(const WrittenSeries series,
                         WriteMrSeries(volume, identity_, {GetParam(), TextEncoding::kUtf8}, {},
                                       Path(absl::StrCat(static_cast<int>(plane))), random_));
    ASSERT_EQ(series.paths.size(), 4u);
    for (int64_t k = 0; k < 4; ++k) {
      DcmFileFormat file;
      ASSERT_TRUE(file.loadFile(series.paths[k].c_str()).good());
      ASSERT_TRUE(
          file.getDataset()->chooseRepresentation(EXS_LittleEndianExplicit, nullptr).good());
      DcmDataset& dataset = *file.getDataset();
      EXPECT_EQ(Text(dataset, DCM_SOPInstanceUID), series.slice_uids[k]);
      EXPECT_EQ(Text(dataset, DCM_PixelSpacing), "1.5\\1.5");
      const auto& d = grid.direction;
      EXPECT_EQ(Numbers(dataset, DCM_ImageOrientationPatient, 6),
                (std::vector<double>{d[0], d[3], d[6], d[1], d[4], d[7]}));
      const std::vector<double> position = Numbers(dataset, DCM_ImagePositionPatient, 3);
      for (int a = 0; a < 3; ++a) {
        EXPECT_NEAR(position[a],
                    grid.origin_lps_mm[a] + 3.0 * static_cast<double>(k) * d[3 * a + 2], 1e-6);
      }
      const Uint16* pixels = nullptr;
      unsigned long count = 0;
      ASSERT_TRUE(dataset.findAndGetUint16Array(DCM_PixelData, pixels, &count).good());
      ASSERT_GE(count, 35u);
      for (int i = 0; i < 35; ++i) EXPECT_EQ(pixels[i], volume.voxels[35 * k + i]);
    }
  }
}

TEST_P(DicomWriterTest, FilesAreInTheTransferSyntaxAsked) {
  ASSERT_OK_AND_ASSIGN(const WrittenSeries series,
                       WriteMrSeries(CountingVolume(SmallGrid(SlicePlane::kAxial)), identity_,
                                     {GetParam(), TextEncoding::kUtf8}, {}, Path("MR"), random_));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(series.paths[0].c_str()).good());
  const char* expected = GetParam() == TransferSyntax::kRleLossless ? UID_RLELosslessTransferSyntax
                         : GetParam() == TransferSyntax::kImplicitLittleEndian
                             ? UID_LittleEndianImplicitTransferSyntax
                             : UID_LittleEndianExplicitTransferSyntax;
  EXPECT_EQ(Text(*file.getMetaInfo(), DCM_TransferSyntaxUID), expected);
  EXPECT_EQ(Text(*file.getMetaInfo(), DCM_SourceApplicationEntityTitle), identity_.station_name);
}

INSTANTIATE_TEST_SUITE_P(Syntaxes, DicomWriterTest,
                         ::testing::Values(TransferSyntax::kExplicitLittleEndian,
                                           TransferSyntax::kImplicitLittleEndian,
                                           TransferSyntax::kRleLossless));

TEST_P(DicomWriterTest, SegmentationHoldsTheMaskFrameByFrame) {
  imaging::LabelVolume mask{SmallGrid(SlicePlane::kCoronal), std::vector<uint8_t>(140, 0)};
  mask.voxels[35 + 3] = 1;   // slice 1
  mask.voxels[70 + 4] = 1;   // slice 2
  mask.voxels[70 + 34] = 2;  // slice 2, last pixel
  WrittenSeries series{"2.25.1", {"2.25.10", "2.25.11", "2.25.12", "2.25.13"}, {}};
  ASSERT_OK(WriteSegmentation(mask, series, PhantomSegments(), identity_,
                              {GetParam(), TextEncoding::kUtf8}, Path("SEG/a.dcm"), random_));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("SEG/a.dcm").c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  EXPECT_EQ(Text(dataset, DCM_SOPClassUID), UID_SegmentationStorage);
  EXPECT_EQ(Text(dataset, DCM_NumberOfFrames), "3");
  DcmItem* item = nullptr;
  ASSERT_TRUE(dataset.findAndGetSequenceItem(DCM_ReferencedSeriesSequence, item).good());
  EXPECT_EQ(Text(*item, DCM_SeriesInstanceUID), "2.25.1");
  ASSERT_TRUE(dataset.findAndGetSequenceItem(DCM_SegmentSequence, item, 1).good());
  EXPECT_EQ(Text(*item, DCM_SegmentLabel), kTubeName);

  const std::pair<const char*, Uint16> expected[] = {
      {"2.25.11", 1}, {"2.25.12", 1}, {"2.25.12", 2}};
  for (int frame = 0; frame < 3; ++frame) {
    DcmItem *group = nullptr, *derivation = nullptr;
    ASSERT_TRUE(
        dataset.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, group, frame).good());
    ASSERT_TRUE(group->findAndGetSequenceItem(DCM_DerivationImageSequence, derivation).good());
    ASSERT_TRUE(derivation->findAndGetSequenceItem(DCM_SourceImageSequence, item).good());
    EXPECT_EQ(Text(*item, DCM_ReferencedSOPInstanceUID), expected[frame].first);
    ASSERT_TRUE(group->findAndGetSequenceItem(DCM_SegmentIdentificationSequence, item).good());
    Uint16 segment = 0;
    item->findAndGetUint16(DCM_ReferencedSegmentNumber, segment);
    EXPECT_EQ(segment, expected[frame].second);
  }
  const Uint8* bits = nullptr;
  unsigned long bytes = 0;
  ASSERT_TRUE(dataset.findAndGetUint8Array(DCM_PixelData, bits, &bytes).good());
  std::vector<int> set;
  for (int bit = 0; bit < 105; ++bit) {
    if (bits[bit / 8] >> (bit % 8) & 1) set.push_back(bit);
  }
  EXPECT_THAT(set, ::testing::ElementsAre(3, 35 + 4, 70 + 34));
}

TEST(SegmentationTest, EmptyMaskIsRefused) {
  Random random(1);
  const imaging::LabelVolume mask{SmallGrid(SlicePlane::kAxial), std::vector<uint8_t>(140, 0)};
  const WrittenSeries series{"2.25.1", {"2.25.10", "2.25.11", "2.25.12", "2.25.13"}, {}};
  EXPECT_THAT(WriteSegmentation(mask, series, PhantomSegments(), {}, {}, "/nonexistent", random),
              testing::StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Latin1Test, TranslatesWesternLettersAndMarksTheRest) {
  EXPECT_EQ(Latin1FromUtf8("Müller"), "M\xfcller");
  EXPECT_EQ(Latin1FromUtf8("Inês ł!"), "In\xeas ?!");
}

TEST(NiftiTest, HeaderPlacesTheVolumeInRas) {
  const TempDir folder = TempDir::Create("nifti").value();
  imaging::LabelVolume mask{SmallGrid(SlicePlane::kSagittal), std::vector<uint8_t>(140, 0)};
  mask.voxels[9] = 2;
  const std::string path = JoinPath(folder.path(), "t.nii.gz");
  ASSERT_OK(WriteNifti(mask, path));
  gzFile file = gzopen(path.c_str(), "rb");
  std::string raw(600, '\0');
  const int bytes = gzread(file, raw.data(), 600);
  gzclose(file);
  ASSERT_EQ(bytes, 352 + 140);
  const auto number = [&](size_t at) {
    float value;
    std::memcpy(&value, raw.data() + at, 4);
    return value;
  };
  EXPECT_EQ(number(76 + 12), 3);     // slice distance
  EXPECT_EQ(number(280 + 8), 3);     // slices go to the right: -x in LPS, +x in RAS
  EXPECT_EQ(number(296), -1.5);      // columns go to LPS +y
  EXPECT_EQ(number(312 + 4), -1.5);  // rows go down
  EXPECT_EQ(number(280 + 12), static_cast<float>(-mask.geometry.origin_lps_mm[0]));
  EXPECT_EQ(raw[352 + 9], 2);
}

}  // namespace
}  // namespace consilium::phantom
