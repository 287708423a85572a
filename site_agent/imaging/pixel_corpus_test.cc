// Pixels of the shared corpus: what is decoded equals its uncompressed twin, the rest is refused.
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/pixel_reader.h"
#include "site_agent/imaging/slice_reader.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

const std::string kCorpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/";
#define SKIP_WITHOUT_CORPUS() \
  if (!PathExists(kCorpus)) GTEST_SKIP() << "no shared data at " << kCorpus

// All frames of a file, one after the other.
absl::StatusOr<std::vector<float>> Decoded(const std::string& name) {
  CSL_ASSIGN_OR_RETURN(const std::vector<Slice> slices, ReadSlices(kCorpus + name));
  const Slice& first = slices.front();
  CSL_ASSIGN_OR_RETURN(const FilePixels pixels,
                       FilePixels::Load(first.path, first.format, first.frames_in_file));
  const auto plane = static_cast<size_t>(first.format.frame_voxels());
  std::vector<float> all(plane * slices.size());
  for (size_t i = 0; i < slices.size(); ++i) ConvertFrame(pixels, slices[i], &all[i * plane]);
  return all;
}

TEST(PixelCorpusTest, LosslessFilesEqualTheirUncompressedTwins) {
  SKIP_WITHOUT_CORPUS();
  const std::pair<const char*, std::vector<const char*>> twins[] = {
      {"mr/MR_small.dcm",
       {"ts/MR_small_implicit.dcm", "ts/MR_small_bigendian.dcm", "ts/MR_small_RLE.dcm",
        "ts/MR_small_jpeg_ls_lossless.dcm", "ts/MR_small_jp2klossless.dcm"}},
      {"ct/693_UNCR.dcm", {"ts/693_J2KR.dcm"}},
      {"ts/CTImage_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
       {"ts/CTImage_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
        "ts/CTImage_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm"}}};
  for (const auto& [plain, others] : twins) {
    const auto wanted = Decoded(plain);
    ASSERT_TRUE(wanted.ok()) << plain << wanted.status();
    for (const char* other : others) {
      const auto got = Decoded(other);
      ASSERT_TRUE(got.ok()) << other << got.status();
      ASSERT_EQ(got->size(), wanted->size()) << other;
      // By bytes: padding is NaN, which is not equal to itself.
      EXPECT_EQ(std::memcmp(got->data(), wanted->data(), wanted->size() * sizeof(float)), 0)
          << other;
    }
  }
}

// Lossy and single ones have no twin here: they decode to what their header says.
// The frames of an object without functional groups: no volume, but pixels.
TEST(PixelCorpusTest, MultiFramePixelsAreTheSameInEverySyntax) {
  SKIP_WITHOUT_CORPUS();
  PixelFormat format;
  format.rows = format.columns = 64;
  const auto plain = FilePixels::Load(kCorpus + "mr-enhanced/emri_small.dcm", format, 10);
  ASSERT_TRUE(plain.ok()) << plain.status();
  for (const char* name :
       {"mr-enhanced/emri_small_big_endian.dcm", "mr-enhanced/emri_small_jpeg_ls_lossless.dcm"}) {
    const auto other = FilePixels::Load(kCorpus + name, format, 10);
    ASSERT_TRUE(other.ok()) << name << other.status();
    for (int64_t frame = 0; frame < 10; ++frame) {
      EXPECT_TRUE(other->Frame(frame) == plain->Frame(frame)) << name << frame;
    }
  }
}

TEST(PixelCorpusTest, EveryOtherGreyImageIsDecoded) {
  SKIP_WITHOUT_CORPUS();
  for (const char* name :
       {"ct-enhanced/CT0012.not_fragmented_no_bot_rle.dcm", "ct-enhanced/mf.dcm", "cr-dx/RG3_JPLY",
        "cr-dx/dx_image.dcm", "cr-dx/6247", "mr/IM-0001-0001.dcm", "pt/1.dcm",
        "overlay/examples_overlay.dcm", "ts/explicit_VR-UN.dcm", "ts/image_dfl.dcm",
        "ts/JPGExtended.dcm", "ts/CTImage_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
        "xa-nm/JPEG2000.dcm", "xa-nm/XA1_J2KI"}) {
    const auto pixels = Decoded(name);
    EXPECT_TRUE(pixels.ok()) << name << " " << pixels.status();
  }
}

TEST(PixelCorpusTest, WhatIsNotTakenIsRefusedInWords) {
  SKIP_WITHOUT_CORPUS();
  const std::pair<const char*, const char*> refused[] = {
      {"mr/siemens-mosaic-jpegll/jpg1.dcm", "mosaic"},
      {"mr/siemens-nih/epi_pe_ap-00001.dcm", "mosaic"},
      {"us/examples_rgb_color.dcm", "colour"},
      {"us/examples_ybr_color.dcm", "colour"},
      {"us/examples_palette.dcm", "not a grey scale"},
      {"wsi/sm_image.dcm", "colour"},
      {"rwv-pmap/parametric_map_float.dcm", "no pixel data"},
      {"rt/rtdose.dcm", "several frames without a position"},
      {"ts/HTJ2KLossless_08_RGB.dcm", "no SOP instance"},
      {"mr-enhanced/emri_small.dcm", "several frames without a position"},
      {"ts/liver_deflate.dcm", "segmentation"},
      {"seg/liver.dcm", "segmentation"},
      {"corrupt/MR_truncated.dcm", ""},
      {"corrupt/emri_small_jpeg_2k_lossless_too_short.dcm", "never closed"},
  };
  for (const auto& [name, words] : refused) {
    const auto pixels = Decoded(name);
    EXPECT_EQ(pixels.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(pixels.status().message()), testing::HasSubstr(words)) << name;
  }
}

// Per-frame positions, shared pixel measures; frames are sorted as slices are.
TEST(PixelCorpusTest, EnhancedAndLegacyConvertedObjectsAreVolumes) {
  SKIP_WITHOUT_CORPUS();
  const auto legacy = AssembleSeries({kCorpus + "ct-enhanced/mf.dcm"});
  ASSERT_TRUE(legacy.ok()) << legacy.status();
  EXPECT_EQ(legacy->volume.geometry.size_xyz, (std::array<int64_t, 3>{24, 38, 3}));
  EXPECT_NEAR(legacy->volume.geometry.spacing_xyz_mm[0], 0.7, 1e-9);
  const auto classic = AssembleSeries({kCorpus + "ct/series-3slice-tiny/IMG0001.dcm",
                                       kCorpus + "ct/series-3slice-tiny/IMG0002.dcm",
                                       kCorpus + "ct/series-3slice-tiny/IMG0003.dcm"});
  ASSERT_TRUE(classic.ok()) << classic.status();
  EXPECT_TRUE(SameGrid(legacy->volume.geometry, classic->volume.geometry, 0.01));
}

// Four time points of 15 slices as a GE scanner wrote them: only the instance numbers tell.
TEST(PixelCorpusTest, ARealDynamicSeriesIsSplit) {
  SKIP_WITHOUT_CORPUS();
  const auto volumes = SortSeries(FilesBelow(kCorpus + "mr/ge-4d-2vol"));
  ASSERT_TRUE(volumes.ok()) << volumes.status();
  ASSERT_EQ(volumes->size(), 4u);
  for (const SortedVolume& volume : *volumes) EXPECT_EQ(volume.geometry.size_xyz[2], 15);
}

}  // namespace
}  // namespace consilium::imaging
