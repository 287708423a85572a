#include "privacy/deid/pixel_data.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/jpeg2000_pixels.h"
#include "privacy/deid/stored_bits.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// DCMTK sets the result to 0 where the attribute is absent.
Uint16 Number(DcmDataset& dataset, const DcmTagKey& key, Uint16 absent) {
  Uint16 value = 0;
  return dataset.findAndGetUint16(key, value).good() ? value : absent;
}

bool HasUnstored(const PixelShape& shape) {
  return (shape.allocated == 8 || shape.allocated == 16) && shape.stored < shape.allocated;
}

StoredBits BitsOf(const PixelShape& shape) {
  return StoredBits(shape.allocated, shape.stored, shape.high_bit, shape.is_signed);
}

}  // namespace

absl::StatusOr<PixelShape> ShapeOf(DcmDataset& dataset) {
  PixelShape shape;
  const uint64_t rows = shape.rows = Number(dataset, DCM_Rows, 0);
  const uint64_t columns = shape.columns = Number(dataset, DCM_Columns, 0);
  const uint64_t samples = shape.samples = Number(dataset, DCM_SamplesPerPixel, 1);
  Sint32 frames = 1;
  if (dataset.findAndGetSint32(DCM_NumberOfFrames, frames).bad()) frames = 1;
  shape.allocated = Number(dataset, DCM_BitsAllocated, 0);
  shape.stored = Number(dataset, DCM_BitsStored, shape.allocated);
  shape.high_bit = Number(dataset, DCM_HighBit, static_cast<Uint16>(shape.stored - 1));
  shape.is_signed = Number(dataset, DCM_PixelRepresentation, 0) == 1;
  if (rows == 0 || columns == 0) return absl::InvalidArgumentError("the image has no size");
  if (dataset.tagExists(DCM_FloatPixelData)) {
    shape.stored = shape.allocated = 32;
    shape.high_bit = 31;
  }
  const bool is_word = shape.allocated == 8 || shape.allocated == 16;
  const bool is_long = shape.allocated == 32 && shape.stored == 32 && shape.high_bit == 31;
  if (shape.allocated != 1 && !is_word && !is_long) {
    return absl::UnimplementedError("pixels that have neither 1, 8, 16 nor 32 bits");
  }
  if (frames < 1 || samples < 1 || samples > 4 || shape.stored < 1 ||
      shape.stored > shape.allocated || shape.high_bit >= shape.allocated ||
      shape.high_bit + 1 < shape.stored) {
    return absl::InvalidArgumentError("the image has no valid pixel format");
  }
  shape.frames = static_cast<uint64_t>(frames);
  // Lengths that no file has, and no 64 bits hold.
  constexpr uint64_t kPixelsMax = uint64_t{1} << 36;
  if (shape.frames > kPixelsMax / (rows * columns * samples)) {
    return absl::InvalidArgumentError("the image is too large");
  }
  shape.bits = rows * columns * samples * static_cast<uint64_t>(frames) * shape.allocated;
  // Two pixels share their colour.
  if (TextOf(dataset, DCM_PhotometricInterpretation) == "YBR_FULL_422" && samples == 3 &&
      !DcmXfer(dataset.getOriginalXfer()).isEncapsulated()) {
    shape.bits = shape.bits * 2 / 3;
  }
  shape.bytes = (shape.bits + 7) / 8;
  return shape;
}

absl::string_view WithoutUnstored(const PixelShape& shape, uint64_t offset, absl::string_view piece,
                                  std::string& room) {
  const bool cut = shape.bits % 8 != 0 && offset + piece.size() == shape.bytes;
  if (!cut && (!HasUnstored(shape) || BitsOf(shape).AreClear(piece))) return piece;
  room.assign(piece.data(), piece.size());
  if (HasUnstored(shape)) BitsOf(shape).Clear(room.data(), room.size());
  if (cut) room.back() = static_cast<char>(room.back() & ((1u << (shape.bits % 8)) - 1));
  return room;
}

namespace {

absl::Status CutWords(DcmDataset& dataset, DcmElement& element, const PixelShape& shape) {
  Uint16* words = nullptr;
  if (element.getUint16Array(words).bad() || words == nullptr) {
    return absl::InvalidArgumentError("the pixel data cannot be read");
  }
  std::vector<Uint16> pixels(words, words + shape.bytes / 2);
  const bool longer = element.getLength() > shape.bytes;
  const bool cleared = HasUnstored(shape) &&
                       BitsOf(shape).Clear(reinterpret_cast<char*>(pixels.data()), shape.bytes);
  if (!cleared && !longer) return absl::OkStatus();
  if (dataset.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size()).bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  return absl::OkStatus();
}

absl::Status CutBytes(DcmDataset& dataset, DcmElement& element, const PixelShape& shape) {
  Uint8* bytes = nullptr;
  if (element.getUint8Array(bytes).bad() || bytes == nullptr) {
    return absl::InvalidArgumentError("the pixel data cannot be read");
  }
  std::vector<Uint8> pixels(bytes, bytes + shape.bytes);
  if (HasUnstored(shape)) {
    BitsOf(shape).Clear(reinterpret_cast<char*>(pixels.data()), pixels.size());
  }
  if (shape.bits % 8 != 0) {
    pixels.back() = static_cast<Uint8>(pixels.back() & ((1u << (shape.bits % 8)) - 1));
  }
  if (pixels.size() % 2 != 0) pixels.push_back(0);
  if (dataset.putAndInsertUint8Array(DCM_PixelData, pixels.data(), pixels.size()).bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  return absl::OkStatus();
}

absl::Status CutFloats(DcmDataset& dataset, DeidReport& report) {
  CSL_ASSIGN_OR_RETURN(const PixelShape shape, ShapeOf(dataset));
  const Float32* values = nullptr;
  unsigned long count = 0;
  const uint64_t wanted = shape.rows * shape.columns * shape.samples * shape.frames;
  if (dataset.findAndGetFloat32Array(DCM_FloatPixelData, values, &count).bad() ||
      values == nullptr || count < wanted) {
    return absl::InvalidArgumentError("the pixel data is shorter than the image");
  }
  if (count == wanted) return absl::OkStatus();
  report.hidden_bytes_dropped += static_cast<int64_t>((count - wanted) * sizeof(Float32));
  const std::vector<Float32> kept(values, values + wanted);
  if (dataset.putAndInsertFloat32Array(DCM_FloatPixelData, kept.data(), kept.size()).bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  return absl::OkStatus();
}

absl::Status Decode(DcmDataset& dataset, E_TransferSyntax syntax, const PixelShape& shape,
                    DeidReport& report) {
  if (syntax == EXS_JPEG2000 || syntax == EXS_JPEG2000LosslessOnly) {
    return DecodeJpeg2000Pixels(dataset, shape, report);
  }
  // A frame's worth of memory follows from the header; a header that lies is caught here.
  constexpr uint64_t kDecodedBytesMax = uint64_t{2} << 30;
  if (shape.bytes > kDecodedBytesMax) return absl::InvalidArgumentError("the image is too large");
  return dataset.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).good()
             ? absl::OkStatus()
             : absl::UnimplementedError("encoded pixels that cannot be decoded");
}

// Without the rules for devices.
PixelVerdict JudgeKind(DcmDataset& dataset, ObjectKind kind, const DeidProfile& profile) {
  if (TextOf(dataset, DCM_BurnedInAnnotation) == "YES") {
    return {PixelRisk::kLook, "the file says that its pixels show text"};
  }
  if (kind == ObjectKind::kMask) return {};
  if (kind == ObjectKind::kPicture)
    return {PixelRisk::kLook, "a kind of picture that often shows text"};
  if (!absl::StartsWith(TextOf(dataset, DCM_PhotometricInterpretation), "MONOCHROME")) {
    return {PixelRisk::kLook, "colour pixels may show text"};
  }
  const std::string type = TextOf(dataset, DCM_ImageType);
  const std::vector<absl::string_view> values = absl::StrSplit(type, '\\');
  if (absl::StrContains(type, "SCREEN SAVE")) {
    return {PixelRisk::kLook, "a screen image may show text"};
  }
  if (values.size() > 1 && values[1] == "SECONDARY" &&
      profile.secondary_images != SecondaryImages::kAllow) {
    return {profile.secondary_images == SecondaryImages::kInspect ? PixelRisk::kInspect
                                                                  : PixelRisk::kLook,
            "a secondary image may show text"};
  }
  return {};
}

}  // namespace

PixelVerdict JudgePixels(DcmDataset& dataset, ObjectKind kind, const DeidProfile& profile) {
  PixelVerdict verdict = JudgeKind(dataset, kind, profile);
  if (kind == ObjectKind::kMask) return verdict;
  verdict.rules = MatchingPixelRules(dataset, profile.pixel_regions);
  if (!verdict.rules.empty() && verdict.risk != PixelRisk::kLook) {
    verdict.risk = PixelRisk::kLook;
    verdict.reason = "a device that is known to write into its pictures";
  }
  return verdict;
}

absl::Status ExactPixels(DcmDataset& dataset, DeidReport& report) {
  CSL_ASSIGN_OR_RETURN(const PixelShape shape, ShapeOf(dataset));
  const E_TransferSyntax syntax = dataset.getOriginalXfer();
  DcmElement* element = nullptr;
  if (dataset.tagExists(DCM_FloatPixelData)) return CutFloats(dataset, report);
  if (dataset.findAndGetElement(DCM_PixelData, element).bad() || element == nullptr) {
    return absl::InvalidArgumentError("no pixel data");
  }
  if (DcmXfer(syntax).isEncapsulated()) {
    CSL_RETURN_IF_ERROR(Decode(dataset, syntax, shape, report));
    if (dataset.findAndGetElement(DCM_PixelData, element).bad()) {
      return absl::UnimplementedError("encoded pixels that cannot be decoded");
    }
    dataset.removeAllButCurrentRepresentations();
  }
  if (element->getLength() < shape.bytes) {
    return absl::InvalidArgumentError("the pixel data is shorter than the image");
  }
  const uint64_t padded = shape.bytes + shape.bytes % 2;
  if (element->getLength() > padded) {
    report.hidden_bytes_dropped += static_cast<int64_t>(element->getLength() - padded);
  }
  return shape.allocated >= 16 ? CutWords(dataset, *element, shape)
                               : CutBytes(dataset, *element, shape);
}

}  // namespace consilium::privacy
