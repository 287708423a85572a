#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/jpeg2000_decode.h"
#include "privacy/deid/jpeg2000_stream.h"
#include "privacy/deid/test_jpeg2000.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

PixelShape ShapeFor(const TestPicture& picture) {
  PixelShape shape;
  shape.rows = static_cast<uint64_t>(picture.rows);
  shape.columns = static_cast<uint64_t>(picture.columns);
  shape.samples = static_cast<uint64_t>(picture.components);
  shape.allocated = picture.precision > 8 ? 16 : 8;
  shape.stored = static_cast<uint16_t>(picture.precision);
  shape.high_bit = static_cast<uint16_t>(picture.precision - 1);
  shape.is_signed = picture.is_signed;
  shape.bytes = shape.rows * shape.columns * shape.samples * shape.allocated / 8;
  return shape;
}

absl::StatusOr<std::vector<int>> Decoded(const std::string& bytes, const PixelShape& shape) {
  const auto stream = ScanJpeg2000(bytes);
  if (!stream.ok()) return stream.status();
  std::string frame(shape.bytes, '\0');
  const absl::Status status = DecodeJpeg2000(bytes, *stream, shape, absl::MakeSpan(frame));
  if (!status.ok()) return status;
  std::vector<int> values;
  for (size_t i = 0; i < frame.size(); i += shape.allocated / 8) {
    const auto low = static_cast<unsigned char>(frame[i]);
    if (shape.allocated == 8) {
      values.push_back(shape.is_signed ? static_cast<int8_t>(low) : low);
    } else {
      const int word = low | static_cast<unsigned char>(frame[i + 1]) << 8;
      values.push_back(shape.is_signed ? static_cast<int16_t>(word) : word);
    }
  }
  return values;
}

const TestPicture kForms[] = {
    {.rows = 37, .columns = 50},
    {.rows = 37, .columns = 50, .precision = 12},
    {.rows = 40, .columns = 64, .precision = 16},
    {.rows = 40, .columns = 64, .precision = 16, .is_signed = true},
    {.rows = 33, .columns = 41, .components = 3},
    {.rows = 70, .columns = 50, .precision = 12, .tile = 16},
};

TEST(Jpeg2000Test, LosslessPixelsComeBackBitByBit) {
  for (const TestPicture& form : kForms) {
    const TestPicture picture = Patterned(form);
    const auto decoded = Decoded(EncodeJpeg2000(picture), ShapeFor(picture));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, picture.values);
  }
}

TEST(Jpeg2000Test, TheStreamSaysWhatItIs) {
  const TestPicture grey = Patterned({.rows = 33, .columns = 41, .precision = 12});
  const TestPicture colour = Patterned({.rows = 33, .columns = 41, .components = 3, .lossy = true});
  const auto exact = ScanJpeg2000(EncodeJpeg2000(grey));
  const auto lossy = ScanJpeg2000(EncodeJpeg2000(colour) + "tail");
  ASSERT_TRUE(exact.ok() && lossy.ok());
  EXPECT_EQ(exact->rows, 33u);
  EXPECT_EQ(exact->columns, 41u);
  EXPECT_EQ(exact->precision, 12);
  EXPECT_TRUE(exact->reversible);
  EXPECT_FALSE(exact->colours_mixed);
  EXPECT_FALSE(lossy->reversible);
  EXPECT_TRUE(lossy->colours_mixed);
  EXPECT_EQ(lossy->end, EncodeJpeg2000(colour).size());
}

TEST(Jpeg2000Test, AStreamInAFileOfBoxesIsFound) {
  const TestPicture picture = Patterned({.rows = 20, .columns = 20});
  const std::string stream = EncodeJpeg2000(picture);
  const std::string boxes(
      "\0\0\0\x0CjP  \r\n\x87\n\0\0\0\x0A"
      "ftyp12",
      22);
  const std::string file = boxes + std::string("\0\0\0\0jp2c", 8) + stream;
  const auto decoded = Decoded(file, ShapeFor(picture));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, picture.values);
  EXPECT_FALSE(ScanJpeg2000(boxes).ok());
}

TEST(Jpeg2000Test, SizesThatContradictTheHeaderAreRefused) {
  const TestPicture picture = Patterned({.rows = 20, .columns = 24, .precision = 12});
  const std::string stream = EncodeJpeg2000(picture);
  const PixelShape right = ShapeFor(picture);
  PixelShape taller = right, colour = right, byte_wide = right;
  taller.rows = 21;
  taller.bytes = 21 * 24 * 2;
  colour.samples = 3;
  colour.bytes *= 3;
  byte_wide.allocated = byte_wide.stored = 8;
  byte_wide.high_bit = 7;
  byte_wide.bytes /= 2;
  EXPECT_TRUE(Decoded(stream, right).ok());
  for (const PixelShape& wrong : {taller, colour, byte_wide}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Decoded(stream, wrong).status()));
  }
}

// A stream with other bytes at a place that is counted from the code of a marker.
std::string With(std::string stream, const std::string& marker, size_t behind,
                 const std::string& bytes) {
  const size_t at = stream.find(marker);
  EXPECT_NE(at, std::string::npos);
  return stream.replace(at + behind, bytes.size(), bytes);
}

TEST(Jpeg2000Test, ClaimsThatNoSuchStreamCanMeetAreRefusedBeforeTheDecoderAllocates) {
  const std::string stream = EncodeJpeg2000(Patterned({.rows = 64, .columns = 64}));
  const std::string siz = "\xFF\x51", cod = "\xFF\x52", sot = "\xFF\x90";
  const auto number = [](uint32_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
    return out;
  };
  const std::string sides = number(60000) + number(60000);
  const std::vector<std::pair<const char*, std::string>> hostile = {
      {"60,000 x 60,000 pixels", With(With(stream, siz, 6, sides), siz, 22, sides)},
      {"2^32 x 2^32 pixels", With(stream, siz, 6, std::string(8, '\xFF'))},
      {"tiles of one pixel", With(stream, siz, 22, number(1) + number(1))},
      {"tiles without a side", With(stream, siz, 22, number(0) + number(0))},
      {"tiles beside the picture", With(stream, siz, 30, number(65) + number(0))},
      {"no pixel", With(stream, siz, 14, number(64) + number(64))},
      {"16,384 components", With(stream, siz, 38, std::string("\x40\0", 2))},
      {"a subsampled component", With(stream, siz, 41, "\x02")},
      {"38 bits", With(stream, siz, 40, "\x25")},
      {"65,535 layers", With(stream, cod, 6, "\xFF\xFF")},
      {"33 levels", With(stream, cod, 9, "\x21")},
      {"code-blocks of 2^18", With(stream, cod, 10, "\x10")},
      {"a tile that is not there", With(stream, sot, 4, std::string("\0\x01", 2))},
      {"a tile-part longer than the stream", With(stream, sot, 6, number(1 << 20))},
      {"a tile-part shorter than its header", With(stream, sot, 6, number(3))},
      {"no end", stream.substr(0, stream.size() - 2)},
      {"half of it", stream.substr(0, stream.size() / 2)},
      {"nothing", ""},
  };
  for (const auto& [what, bytes] : hostile) {
    const absl::Status status = ScanJpeg2000(bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsUnimplemented(status))
        << what << ": " << status;
  }
}

TEST(Jpeg2000Test, PrecinctsOfOneSampleAreRefusedWhereTheyAreMany) {
  // COD with its own precincts (Scod 1), 2 levels, 2 x 2 samples each and 1 x 1 in the lowest.
  std::string stream = EncodeJpeg2000(Patterned({.rows = 1024, .columns = 1024}));
  const size_t cod = stream.find("\xFF\x52");
  stream[cod + 3] = static_cast<char>(stream[cod + 3] + 3);
  stream[cod + 4] = 1;
  stream.insert(cod + 14, std::string("\x00\x11\x11", 3));
  EXPECT_THAT(std::string(ScanJpeg2000(stream).status().message()),
              testing::HasSubstr("more than its bytes can hold"));
}

TEST(Jpeg2000Test, ADamagedStreamIsDecodedToNothingRatherThanToSomething) {
  const TestPicture picture = Patterned({.rows = 64, .columns = 64, .precision = 12});
  const std::string stream = EncodeJpeg2000(picture);
  const size_t data = stream.find("\xFF\x93") + 2;
  // The last third of the only tile-part, cut out with its length put right.
  std::string shorter = stream.substr(0, data + (stream.size() - data) * 2 / 3);
  const size_t sot = shorter.find("\xFF\x90");
  const auto length = static_cast<uint32_t>(shorter.size() - sot);
  for (int i = 0; i < 4; ++i) shorter[sot + 6 + i] = static_cast<char>(length >> (24 - 8 * i));
  EXPECT_TRUE(absl::IsInvalidArgument(Decoded(shorter + "\xFF\xD9", ShapeFor(picture)).status()));
}

TEST(Jpeg2000Test, EveryChangedByteGetsAVerdict) {
  const TestPicture picture = Patterned({.rows = 20, .columns = 24, .precision = 12, .tile = 12});
  const std::string stream = EncodeJpeg2000(picture);
  const PixelShape shape = ShapeFor(picture);
  int refused = 0;
  for (size_t at = 0; at < stream.size(); ++at) {
    for (const char value : {'\0', '\x01', '\x7F', '\xFF'}) {
      std::string changed = stream;
      changed[at] = value;
      const auto decoded = Decoded(changed, shape);
      refused += !decoded.ok();
      if (decoded.ok()) {
        EXPECT_EQ(decoded->size(), picture.values.size());
      }
    }
  }
  EXPECT_GT(refused, 100);
}

// A file of the given class at `path`, without pixels yet.
void WriteHeader(const std::string& path, const char* sop_class) {
  DcmFileFormat file;
  for (const auto& [key, value] :
       std::vector<std::pair<DcmTagKey, const char*>>{{DCM_SOPClassUID, sop_class},
                                                      {DCM_SOPInstanceUID, "2.25.1"},
                                                      {DCM_StudyInstanceUID, "2.25.2"},
                                                      {DCM_SeriesInstanceUID, "2.25.3"},
                                                      {DCM_PatientID, "A6068167"},
                                                      {DCM_PatientName, "Okafor^Amara"},
                                                      {DCM_ImageType, "ORIGINAL\\PRIMARY"}}) {
    ASSERT_TRUE(file.getDataset()->putAndInsertString(key, value).good());
  }
  ASSERT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

class Jpeg2000FileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  // De-identifies in.dcm to out.dcm, with text blackened.
  absl::StatusOr<DeidReport> Run(const std::string& in) {
    DeidProfile profile;
    profile.pixels = PixelPolicy::kBlackout;
    const auto deid = Deidentifier::Create(
        {.site_key = SecretBytes(std::string(kSiteKeyBytes, 'k')), .profile = profile});
    PatientTokens tokens;
    const absl::Status collected = deid->CollectTokens(in, tokens);
    if (!collected.ok()) return collected;
    return deid->Deidentify(in, Path("out.dcm"), tokens);
  }

  std::string Text(const DcmTagKey& key) {
    OFString value;
    (void)out_.getDataset()->findAndGetOFStringArray(key, value);
    return value.c_str();
  }
  void Load() { ASSERT_TRUE(out_.loadFile(Path("out.dcm").c_str()).good()); }
  std::vector<int> Pixels() {
    DcmDataset& dataset = *out_.getDataset();
    const Uint8* bytes = nullptr;
    const Uint16* words = nullptr;
    unsigned long count = 0;
    if (Text(DCM_BitsAllocated) == "16") {
      EXPECT_TRUE(dataset.findAndGetUint16Array(DCM_PixelData, words, &count).good());
      return {words, words + count};
    }
    EXPECT_TRUE(dataset.findAndGetUint8Array(DCM_PixelData, bytes, &count).good());
    return {bytes, bytes + count};
  }

  TempDir dir_ = TempDir::Create("jpeg2000_test").value();
  DcmFileFormat out_;
};

TEST_F(Jpeg2000FileTest, FramesAreFoundInWhateverFragmentsAndWrittenNative) {
  const TestPicture one = Patterned({.rows = 20, .columns = 24, .precision = 12});
  TestPicture two = one;
  std::reverse(two.values.begin(), two.values.end());
  const std::string first = EncodeJpeg2000(one), second = EncodeJpeg2000(two);
  std::vector<int> both = one.values;
  both.insert(both.end(), two.values.begin(), two.values.end());
  const size_t half = first.size() / 4 * 2;
  for (const std::vector<std::string>& items : std::vector<std::vector<std::string>>{
           {"", first, second}, {"A6068167", first.substr(0, half), first.substr(half), second}}) {
    WriteHeader(Path("in.dcm"), UID_MRImageStorage);
    PutJpeg2000(Path("in.dcm"), one, 2, items);
    const auto report = Run(Path("in.dcm"));
    ASSERT_TRUE(report.ok()) << report.status();
    Load();
    EXPECT_EQ(out_.getDataset()->getOriginalXfer(), EXS_LittleEndianExplicit);
    EXPECT_EQ(Pixels(), both);
    EXPECT_EQ(Text(DCM_LossyImageCompression), "");
    EXPECT_FALSE(absl::StrContains(ReadFile(Path("out.dcm"), 1 << 20).value(), "A6068167"));
  }
  PutJpeg2000(Path("in.dcm"), one, 3, {"", first, second});
  EXPECT_TRUE(absl::IsInvalidArgument(Run(Path("in.dcm")).status()));
  PutJpeg2000(Path("in.dcm"), one, 1, {""});
  EXPECT_TRUE(absl::IsInvalidArgument(Run(Path("in.dcm")).status()));
}

TEST_F(Jpeg2000FileTest, WhatAWriterPutIntoOrBehindTheStreamIsGone) {
  const TestPicture picture = Patterned({.rows = 20, .columns = 24});
  std::string stream = EncodeJpeg2000(picture);
  stream.insert(stream.find("\xFF\x90"), std::string("\xFF\x64\0\x0F\0\x01Okafor Amara", 18));
  stream[stream.find(std::string("\xFF\x64\0\x0F", 4)) + 3] = 16;
  WriteHeader(Path("in.dcm"), UID_MRImageStorage);
  PutJpeg2000(Path("in.dcm"), picture, 1, {"", stream + "tail of Okafor"});
  const auto report = Run(Path("in.dcm"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GE(report->hidden_bytes_dropped, 14);
  EXPECT_FALSE(absl::StrContains(ReadFile(Path("out.dcm"), 1 << 20).value(), "kafor"));
  Load();
  EXPECT_EQ(Pixels(), picture.values);
}

TEST_F(Jpeg2000FileTest, ColoursAreRgbAndALossStaysSaid) {
  WriteHeader(Path("in.dcm"), UID_SecondaryCaptureImageStorage);
  const TestPicture picture =
      Patterned({.rows = 64, .columns = 64, .components = 3, .lossy = true});
  PutJpeg2000(Path("in.dcm"), picture, 1, {"", EncodeJpeg2000(picture)});
  const auto report = Run(Path("in.dcm"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->pictures_blackened, 1);
  Load();
  EXPECT_EQ(Text(DCM_PhotometricInterpretation), "RGB");
  EXPECT_EQ(Text(DCM_PlanarConfiguration), "0");
  EXPECT_EQ(Text(DCM_LossyImageCompression), "01");
  EXPECT_EQ(Text(DCM_LossyImageCompressionMethod), "ISO_15444_1");
  EXPECT_GT(std::stod(Text(DCM_LossyImageCompressionRatio)), 5);
  EXPECT_EQ(Text(DCM_BurnedInAnnotation), "NO");
  int64_t difference = 0;
  const std::vector<int> pixels = Pixels();
  ASSERT_EQ(pixels.size(), picture.values.size());
  for (size_t i = 0; i < pixels.size(); ++i) difference += std::abs(pixels[i] - picture.values[i]);
  EXPECT_LT(difference, static_cast<int64_t>(pixels.size()) * 4);
}

TEST_F(Jpeg2000FileTest, PixelsBeyondTheStoredBitsAreNotCutSilently) {
  const TestPicture picture = Patterned({.rows = 20, .columns = 24, .precision = 12});
  WriteHeader(Path("in.dcm"), UID_MRImageStorage);
  TestPicture lying = picture;
  lying.precision = 10;
  PutJpeg2000(Path("in.dcm"), lying, 1, {"", EncodeJpeg2000(picture)});
  EXPECT_TRUE(absl::IsInvalidArgument(Run(Path("in.dcm")).status()));
  EXPECT_FALSE(PathExists(Path("out.dcm")));
}

// The same picture as another file of the corpus holds it, native.
TEST_F(Jpeg2000FileTest, FilesOfTheCorpusAreTheSameAsTheirUncompressedTwins) {
  const std::string corpus = std::string(CONSILIUM_SHARED_DIR) + "/data/dicom-corpus";
  if (!std::filesystem::exists(corpus)) GTEST_SKIP() << "no DICOM corpus in the shared data";
  for (const auto& [encoded, native] : std::vector<std::pair<std::string, std::string>>{
           {"/ts/MR_small_jp2klossless.dcm", "/mr/MR_small.dcm"},
           {"/ts/693_J2KR.dcm", "/ct/693_UNCR.dcm"}}) {
    ASSERT_TRUE(Run(corpus + encoded).ok());
    Load();
    const std::vector<int> decoded = Pixels();
    ASSERT_TRUE(Run(corpus + native).ok());
    Load();
    EXPECT_EQ(decoded, Pixels()) << encoded;
  }
  // High-throughput JPEG 2000, for which nothing else here has a decoder.
  const auto report = Run(corpus + "/ts/HTJ2KLossless_08_RGB.dcm");
  ASSERT_TRUE(report.ok()) << report.status();
  Load();
  EXPECT_EQ(Text(DCM_PhotometricInterpretation), "RGB");
  EXPECT_EQ(Pixels().size(), 640u * 480 * 3);
}

}  // namespace
}  // namespace consilium::privacy
