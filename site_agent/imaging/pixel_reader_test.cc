#include "site_agent/imaging/pixel_reader.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/slice_reader.h"

namespace consilium::imaging {
namespace {

constexpr const char* kCorpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/";

// All frames of a file one after the other; empty where something fails.
std::vector<float> Pixels(const std::string& path) {
  const auto slices = ReadSlices(kCorpus + path);
  EXPECT_TRUE(slices.ok()) << slices.status();
  if (!slices.ok()) return {};
  const Slice& first = slices->front();
  const auto pixels = FilePixels::Load(first.path, first.format, first.frames_in_file);
  EXPECT_TRUE(pixels.ok()) << pixels.status();
  if (!pixels.ok()) return {};
  const size_t plane = static_cast<size_t>(first.format.frame_voxels());
  std::vector<float> out(plane * slices->size());
  for (size_t i = 0; i < slices->size(); ++i) {
    ConvertFrame(*pixels, (*slices)[i], out.data() + i * plane);
  }
  // Padding is NaN, which would be unequal to itself.
  for (float& voxel : out) voxel = std::isnan(voxel) ? -1e9f : voxel;
  return out;
}

// The same picture in two encodings: lossless codecs give the same numbers.
TEST(PixelReaderTest, LosslessEncodingsAgree) {
  if (!PathExists(kCorpus)) GTEST_SKIP() << "no shared data at " << kCorpus;
  const std::pair<const char*, const char*> pairs[] = {
      {"mr/MR_small.dcm", "ts/MR_small_RLE.dcm"},
      {"mr/MR_small.dcm", "ts/MR_small_bigendian.dcm"},
      {"mr/MR_small.dcm", "ts/MR_small_implicit.dcm"},
      {"mr/MR_small.dcm", "ts/MR_small_jpeg_ls_lossless.dcm"},
      {"mr/MR_small.dcm", "ts/MR_small_jp2klossless.dcm"},
      {"ct/693_UNCR.dcm", "ts/693_J2KR.dcm"}};
  for (const auto& [plain, compressed] : pairs) {
    const std::vector<float> expected = Pixels(plain);
    EXPECT_FALSE(expected.empty());
    EXPECT_EQ(Pixels(compressed), expected) << compressed;
  }
}

TEST(PixelReaderTest, BrokenStreamsAreRefused) {
  if (!PathExists(kCorpus)) GTEST_SKIP() << "no shared data at " << kCorpus;
  for (const char* name :
       {"generated/hostile/jpeg_truncated.dcm", "generated/hostile/bad_bot.dcm",
        "generated/hostile/pixels_short.dcm", "generated/hostile/huge_dims.dcm"}) {
    const auto slices = ReadSlices(std::string(kCorpus) + name);
    if (!slices.ok()) continue;
    const Slice& slice = slices->front();
    const auto pixels = FilePixels::Load(slice.path, slice.format, slice.frames_in_file);
    EXPECT_FALSE(pixels.ok()) << name;
  }
}

}  // namespace
}  // namespace consilium::imaging
