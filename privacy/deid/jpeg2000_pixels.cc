#include "privacy/deid/jpeg2000_pixels.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/jpeg2000_decode.h"
#include "privacy/deid/jpeg2000_stream.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// As for the other codecs, and what an honest picture compresses to at most beyond a free share.
constexpr uint64_t kDecodedBytesMax = uint64_t{2} << 30;
constexpr uint64_t kDecodedBytesFree = uint64_t{64} << 20;
constexpr uint64_t kDecodedRatioMax = 256;

bool BeginsFrame(absl::string_view fragment) {
  return absl::StartsWith(fragment, "\xFF\x4F\xFF\x51") ||
         absl::StartsWith(fragment, absl::string_view("\0\0\0\x0CjP  ", 8));
}

// One code stream a frame, in as many fragments as its writer liked (PS3.5 A.4.4). Offset tables
// are not needed for that, and often wrong.
absl::StatusOr<std::vector<std::string>> Streams(DcmPixelData& pixels, E_TransferSyntax syntax,
                                                 uint64_t frames) {
  DcmPixelSequence* fragments = nullptr;
  if (pixels.getEncapsulatedRepresentation(syntax, nullptr, fragments).bad() ||
      fragments == nullptr || fragments->card() < 2) {
    return absl::InvalidArgumentError("the pixel data has no fragments");
  }
  std::vector<std::string> streams;
  for (unsigned long i = 1; i < fragments->card(); ++i) {  // the first is the offset table
    DcmPixelItem* item = nullptr;
    Uint8* bytes = nullptr;
    if (fragments->getItem(item, i).bad() || item->getUint8Array(bytes).bad() || bytes == nullptr) {
      return absl::InvalidArgumentError("a pixel fragment cannot be read");
    }
    const absl::string_view fragment(reinterpret_cast<const char*>(bytes), item->getLength());
    if (streams.empty() || (frames > 1 && BeginsFrame(fragment))) streams.emplace_back();
    absl::StrAppend(&streams.back(), fragment);
  }
  if (streams.size() != frames) {
    return absl::InvalidArgumentError("JPEG 2000 fragments that do not match the frames");
  }
  return streams;
}

// What is true of all frames together.
struct Decoded {
  uint64_t encoded_bytes = 0;
  bool reversible = true;
  bool colours_mixed = false;
};

absl::StatusOr<Decoded> DecodeFrames(const std::vector<std::string>& streams,
                                     const PixelShape& shape, absl::Span<char> pixels,
                                     DeidReport& report) {
  Decoded decoded;
  const size_t frame_bytes = pixels.size() / streams.size();
  for (size_t frame = 0; frame < streams.size(); ++frame) {
    const std::string& bytes = streams[frame];
    CSL_ASSIGN_OR_RETURN(const Jpeg2000Stream stream, ScanJpeg2000(bytes));
    if (frame > 0 && stream.colours_mixed != decoded.colours_mixed) {
      return absl::InvalidArgumentError("JPEG 2000 frames of different forms");
    }
    CSL_RETURN_IF_ERROR(
        DecodeJpeg2000(bytes, stream, shape, pixels.subspan(frame * frame_bytes, frame_bytes)));
    decoded.encoded_bytes += stream.end - stream.begin;
    decoded.reversible = decoded.reversible && stream.reversible;
    decoded.colours_mixed = stream.colours_mixed;
    // One byte may be there to make the length even.
    report.hidden_bytes_dropped += static_cast<int64_t>((bytes.size() - stream.end) / 2 * 2);
  }
  return decoded;
}

// PS3.5 8.2.4: the names of the colours while they are coded are not those of the decoded ones.
absl::Status NameColours(DcmDataset& dataset, const PixelShape& shape, const Decoded& decoded) {
  if (shape.samples == 1) return absl::OkStatus();
  const std::string colours = TextOf(dataset, DCM_PhotometricInterpretation);
  const char* now = nullptr;
  if (colours == "YBR_RCT" || colours == "YBR_ICT") now = "RGB";
  if (colours == "YBR_FULL_422") now = "YBR_FULL";  // the scan lets no subsampled component pass
  if (decoded.colours_mixed && colours != "RGB" && now == nullptr) {
    return absl::InvalidArgumentError(
        "colours that the header and the JPEG 2000 stream name differently");
  }
  const bool good =
      dataset.putAndInsertUint16(DCM_PlanarConfiguration, 0).good() &&
      (now == nullptr || dataset.putAndInsertString(DCM_PhotometricInterpretation, now).good());
  return good ? absl::OkStatus() : absl::InternalError("the header cannot be written");
}

// Only where the header does not say it: what it says may know of an earlier loss.
absl::Status NameLoss(DcmDataset& dataset, uint64_t bytes, const Decoded& decoded) {
  if (decoded.reversible || TextOf(dataset, DCM_LossyImageCompression) == "01") {
    return absl::OkStatus();
  }
  const double ratio = static_cast<double>(bytes) /
                       static_cast<double>(std::max<uint64_t>(1, decoded.encoded_bytes));
  const bool good =
      dataset.putAndInsertString(DCM_LossyImageCompression, "01").good() &&
      dataset.putAndInsertString(DCM_LossyImageCompressionMethod, "ISO_15444_1").good() &&
      dataset
          .putAndInsertString(DCM_LossyImageCompressionRatio,
                              absl::StrFormat("%.4g", ratio).c_str())
          .good();
  return good ? absl::OkStatus() : absl::InternalError("the header cannot be written");
}

}  // namespace

absl::Status DecodeJpeg2000Pixels(DcmDataset& dataset, const PixelShape& shape,
                                  DeidReport& report) {
  if ((shape.allocated != 8 && shape.allocated != 16) || shape.high_bit + 1 != shape.stored) {
    return absl::UnimplementedError("JPEG 2000 pixels that have neither 8 nor 16 bits");
  }
  DcmElement* element = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, element).bad()) {
    return absl::InvalidArgumentError("no pixel data");
  }
  auto* const encapsulated = dynamic_cast<DcmPixelData*>(element);
  if (encapsulated == nullptr) return absl::InvalidArgumentError("no pixel data");
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> streams,
                       Streams(*encapsulated, dataset.getOriginalXfer(), shape.frames));
  uint64_t encoded = 0;
  for (const std::string& stream : streams) encoded += stream.size();
  if (shape.bytes > kDecodedBytesMax ||
      shape.bytes > kDecodedBytesFree + kDecodedRatioMax * encoded) {
    return absl::InvalidArgumentError("far more pixels than the file's bytes can hold");
  }
  auto native = std::make_unique<DcmPixelData>(DCM_PixelData);
  Uint8* bytes = nullptr;
  Uint16* words = nullptr;
  const bool wide = shape.allocated == 16;
  const auto count = static_cast<Uint32>(shape.bytes);
  if (wide ? native->createUint16Array(count / 2, words).bad()
           : native->createUint8Array(count, bytes).bad()) {
    return absl::InternalError("no memory for the pixels");
  }
  char* const first = wide ? reinterpret_cast<char*>(words) : reinterpret_cast<char*>(bytes);
  CSL_ASSIGN_OR_RETURN(const Decoded decoded,
                       DecodeFrames(streams, shape, absl::MakeSpan(first, shape.bytes), report));
  CSL_RETURN_IF_ERROR(NameColours(dataset, shape, decoded));
  CSL_RETURN_IF_ERROR(NameLoss(dataset, shape.bytes, decoded));
  if (dataset.insert(native.get(), /*replaceOld=*/OFTrue).bad()) {
    return absl::InternalError("the pixels cannot be written");
  }
  native.release();
  return dataset.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).good()
             ? absl::OkStatus()
             : absl::InternalError("the pixels cannot be written");
}

}  // namespace consilium::privacy
