#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/dicom_scan.h"
#include "privacy/deid/inflate.h"
#include "privacy/deid/jpeg2000_decode.h"
#include "privacy/deid/jpeg2000_stream.h"
#include "privacy/deid/profile.h"
#include "privacy/deid/text_regions.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

using privacy::DicomEncoding;

void CheckLayout(absl::string_view dataset, const privacy::DicomLayout& layout) {
  CSL_CHECK(layout.header_bytes <= layout.end);
  CSL_CHECK(layout.end <= dataset.size());
  CSL_CHECK(layout.pixel_offset + layout.pixel_bytes <= dataset.size());
  uint64_t begin = 0;
  for (const privacy::TopElement& element : layout.elements) {
    CSL_CHECK(element.begin >= begin);
    CSL_CHECK(element.begin < layout.header_bytes);
    begin = element.begin + 1;
  }
  for (const auto& [offset, length] : layout.fragments) {
    CSL_CHECK(offset <= dataset.size());
    CSL_CHECK(length <= dataset.size() - offset);
  }
}

void RunScan(absl::string_view bytes) {
  const auto preamble = privacy::ScanPreamble(bytes);
  const uint64_t offset = preamble.ok() ? preamble->dataset_offset : 0;
  CSL_CHECK(offset <= bytes.size());
  for (const DicomEncoding encoding :
       {DicomEncoding::kImplicitLittle, DicomEncoding::kExplicitLittle,
        DicomEncoding::kExplicitBig}) {
    const auto layout = privacy::ScanDataset(bytes.substr(offset), encoding);
    if (layout.ok()) CheckLayout(bytes.substr(offset), *layout);
  }
  (void)privacy::InflateDataset(bytes.substr(offset));
}

// The whole way of a file: through the scan, DCMTK, the rules and out again.
void RunDeidentify(absl::string_view bytes) {
  static const auto* const folder = new TempDir(TempDir::Create("fuzz_deid").value());
  static const auto* const deidentifier = [] {
    privacy::DeidProfile profile;
    profile.pixels = privacy::PixelPolicy::kBlackout;
    profile.clean_graphics = profile.clean_structured_content = true;
    return new privacy::Deidentifier(
        privacy::Deidentifier::Create(
            {.site_key = privacy::SecretBytes(std::string(privacy::kSiteKeyBytes, 'k')),
             .file_bytes_max = 1 << 20,
             .profile = profile})
            .value());
  }();
  const std::string in = JoinPath(folder->path(), "in"), out = JoinPath(folder->path(), "out");
  CSL_CHECK(ReplaceFile(in, bytes).ok());
  privacy::PatientTokens tokens;
  (void)deidentifier->CollectTokens(in, tokens);
  if (!deidentifier->Deidentify(in, out, tokens).ok()) return;
  const std::string written = ReadFile(out, 64 << 20).value();
  CSL_CHECK(written.substr(0, 132) == std::string(128, '\0') + "DICM");
  CSL_CHECK(absl::StrContains(written, "113100"));
  // What was written is DICOM for the next reader, and no identity for the next search.
  privacy::PatientTokens again;
  CSL_CHECK(deidentifier->CollectTokens(out, again).ok());
}

void RunProfile(absl::string_view bytes) {
  const auto profile = privacy::ParseProfile(bytes);
  if (!profile.ok()) return;
  const auto again = privacy::ParseProfile(privacy::ProfileToYaml(*profile));
  CSL_CHECK(again.ok());
  CSL_CHECK(privacy::ProfileDigest(*again) == privacy::ProfileDigest(*profile));
}

void RunTextRegions(absl::string_view bytes) {
  if (bytes.empty()) return;
  const int columns = 1 + static_cast<unsigned char>(bytes[0]) % 64;
  const int rows = static_cast<int>((bytes.size() - 1) / static_cast<size_t>(columns));
  privacy::GreyFrame frame{rows, columns, {}};
  for (size_t i = 0; i < static_cast<size_t>(rows * columns); ++i) {
    frame.values.push_back(static_cast<uint8_t>(bytes[1 + i]));
  }
  for (const privacy::PixelBox& box : privacy::FindText(frame)) {
    CSL_CHECK(box.row >= 0 && box.column >= 0 && box.rows > 0 && box.columns > 0);
    CSL_CHECK(box.row + box.rows <= rows && box.column + box.columns <= columns);
  }
}

// What the walk lets pass must not bring the decoder down, and fills the frame or is refused.
void RunJpeg2000(absl::string_view bytes) {
  const auto stream = privacy::ScanJpeg2000(bytes);
  if (!stream.ok()) return;
  CSL_CHECK(stream->begin < stream->end && stream->end <= bytes.size());
  privacy::PixelShape shape;
  shape.rows = stream->rows;
  shape.columns = stream->columns;
  shape.samples = static_cast<uint64_t>(stream->components);
  shape.stored = static_cast<uint16_t>(stream->precision);
  shape.high_bit = static_cast<uint16_t>(stream->precision - 1);
  shape.allocated = stream->precision > 8 ? 16 : 8;
  std::string frame(shape.rows * shape.columns * shape.samples * shape.allocated / 8, '\0');
  (void)privacy::DecodeJpeg2000(bytes, *stream, shape, absl::MakeSpan(frame));
}

std::string Little(uint32_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::string Element(uint32_t tag, const std::string& vr, std::string value) {
  if (value.size() % 2 != 0) value += vr == "UI" ? '\0' : ' ';
  const bool is_long = vr == "OW" || vr == "OB" || vr == "SQ" || vr == "UN" || vr == "UT";
  return Little(tag >> 16, 2) + Little(tag & 0xFFFF, 2) + vr + (is_long ? Little(0, 2) : "") +
         Little(static_cast<uint32_t>(value.size()), is_long ? 4 : 2) + value;
}

std::string Image(const std::string& sop_class, const std::string& middle) {
  return std::string(128, 'x') + "DICM" + Element(0x00020010, "UI", "1.2.840.10008.1.2.1") +
         Element(0x00080008, "CS", "ORIGINAL\\PRIMARY") + Element(0x00080016, "UI", sop_class) +
         Element(0x00080018, "UI", "1.2.3.4") + Element(0x00080020, "DA", "20200131") + middle +
         Element(0x00100010, "PN", "Okafor^Amara") + Element(0x00100020, "LO", "A6068167") +
         Element(0x00280002, "US", Little(1, 2)) + Element(0x00280004, "CS", "MONOCHROME2") +
         Element(0x00280010, "US", Little(2, 2)) + Element(0x00280011, "US", Little(2, 2)) +
         Element(0x00280100, "US", Little(16, 2)) + Element(0x00280101, "US", Little(12, 2)) +
         Element(0x00280102, "US", Little(11, 2)) + Element(0x00280103, "US", Little(0, 2)) +
         Element(0x7FE00010, "OW", "12345678tail");
}

std::vector<std::string> DicomSeeds() {
  const std::string mr = "1.2.840.10008.5.1.4.1.1.4", us = "1.2.840.10008.5.1.4.1.1.6.1";
  const std::string item = Little(0xE000FFFE, 4);
  const std::string code = Element(0x00080104, "LO", "MR of Okafor");
  const std::string sequence =
      Element(0x00081032, "SQ", item + Little(static_cast<uint32_t>(code.size()), 4) + code);
  return {Image(mr, ""),
          Image(mr, sequence),
          Image(us, ""),
          Image(mr, Element(0x00280101, "US", "ab")),  // out of place, and there twice
          Image(mr, Element(0x0009100C, "UN", "Okafor")),
          std::string(128, '\0') + "DICM",
          ""};
}

std::vector<std::string> ProfileSeeds() {
  return {privacy::ProfileToYaml(privacy::DeidProfile()),
          "dates: full\nvocabulary: [kopf, b1000]\n",
          "pixels: blackout\nhold_faces: true\n",
          "pixel_regions: [{name: a, modality: US, image_type: [X], rows: 9, columns: 9, top: 2, "
          "keep: [[1, 2, 3, 4]]}]\n",
          "{}",
          "dates: [modified]\n",
          "&a [*a]\n"};
}

std::vector<std::string> FrameSeeds() {
  std::string stripes(1, '\x3f');
  for (int i = 0; i < 64 * 20; ++i)
    stripes += i % 3 == 0 && i / 64 > 3 && i / 64 < 12 ? '\xff' : '\0';
  return {stripes, std::string(200, '\x07'), "\x01"};
}

// Made with opj_compress: grey; colour, lossy; two tiles, own precincts, markers at each packet.
std::vector<std::string> Jpeg2000Seeds() {
  std::vector<std::string> seeds = {""};
  for (const char* hex :
       {"ff4fff510029000000000006000000050000000000000000000000060000000500000000000000000001070101"
        "ff52000c00000001000104040001ff5c00074040484850ff90000a0000000000380001ff93df80600b7fa8ab02"
        "74783fa52e897dc7da131f682c7e00800989618a8c7ff6fea1105e49915f0726da8effd9",
        "ff4fff51002f000000000005000000040000000000000000000000050000000400000000000000000003070101"
        "070101070101ff52000c00000001010104040000ff5c000b42482457d357d35762ff90000a00000000002b0001"
        "ff93808080c383438300e81f0acd85a1c243c18006f89a7b06431390880fe4ffd9",
        "ff4fff510029000000000008000000080000000000000000000000040000000800000000000000000001070101"
        "ff52000f07020001000204040001001122ff5c000a4040484850484850ff90000a00000000008c0001ff93ff91"
        "00040000cfb408ff92075fff9100040001c7d404ff92049fff9100040002cfc00a1f50147e0040ff9202b302df"
        "02b7ff9100040003c7da050fa8067e6040ff9208bf09048bff9100040004c3ea0487d4073f3030ff920d6926e0"
        "0c057f107bb3ff9100040005c7da0b0fa8123f0020ff9204baf1f52f0179815d07bbff90000a00010000008e00"
        "01ff93ff9100040000c3e702ff9203ff9100040001c07410ff9207ff9100040002cfc00a1f50147e0040ff9207"
        "1f06bf05fbff9100040003c0f90141f3819f9810ff92043f0206f3ff9100040004cfc01a3ed048fc00c0ff920e"
        "11d329f57f00e32cbf036787ff9100040005c3ea048fb4167e6060ff920b6f1cb70c5e0454fb0bd60fffd9"}) {
    seeds.push_back(HexDecode(hex).value());
  }
  return seeds;
}

}  // namespace

std::vector<Target> DeidTargets() {
  return {{"dicom_scan", RunScan, DicomSeeds},
          {"deidentify", RunDeidentify, DicomSeeds},
          {"jpeg2000", RunJpeg2000, Jpeg2000Seeds},
          {"deid_profile", RunProfile, ProfileSeeds},
          {"text_regions", RunTextRegions, FrameSeeds}};
}

}  // namespace consilium::fuzz
