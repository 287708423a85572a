#include "privacy/deid/pixel_data.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"
#include "privacy/deid/element_text.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

struct PixelShape {
  uint64_t bytes = 0;       // exact, before padding to an even length
  uint64_t bits = 0;        // of all pixels together
  Uint16 allocated = 0;
  Uint16 stored = 0;
  Uint16 high_bit = 0;
  bool is_signed = false;
};

// DCMTK sets the result to 0 where the attribute is absent.
Uint16 Number(DcmDataset& dataset, const DcmTagKey& key, Uint16 absent) {
  Uint16 value = 0;
  return dataset.findAndGetUint16(key, value).good() ? value : absent;
}

absl::StatusOr<PixelShape> ShapeOf(DcmDataset& dataset) {
  PixelShape shape;
  const uint64_t rows = Number(dataset, DCM_Rows, 0);
  const uint64_t columns = Number(dataset, DCM_Columns, 0);
  const uint64_t samples = Number(dataset, DCM_SamplesPerPixel, 1);
  Sint32 frames = 1;
  if (dataset.findAndGetSint32(DCM_NumberOfFrames, frames).bad()) frames = 1;
  shape.allocated = Number(dataset, DCM_BitsAllocated, 0);
  shape.stored = Number(dataset, DCM_BitsStored, shape.allocated);
  shape.high_bit = Number(dataset, DCM_HighBit, static_cast<Uint16>(shape.stored - 1));
  shape.is_signed = Number(dataset, DCM_PixelRepresentation, 0) == 1;
  if (rows == 0 || columns == 0) return absl::InvalidArgumentError("the image has no size");
  if (shape.allocated != 1 && shape.allocated != 8 && shape.allocated != 16) {
    return absl::UnimplementedError("pixels that have neither 1, 8 nor 16 bits");
  }
  if (frames < 1 || samples < 1 || samples > 4 || shape.stored < 1 ||
      shape.stored > shape.allocated || shape.high_bit >= shape.allocated ||
      shape.high_bit + 1 < shape.stored) {
    return absl::InvalidArgumentError("the image has no valid pixel format");
  }
  shape.bits = rows * columns * samples * static_cast<uint64_t>(frames) * shape.allocated;
  shape.bytes = (shape.bits + 7) / 8;
  return shape;
}

// Clears the bits below and above the stored ones (sign extended where signed): readers must ignore
// them, so they can hold anything. Old overlays live there.
template <typename Pixel>
bool ClearUnstoredBits(const PixelShape& shape, std::vector<Pixel>& pixels) {
  const unsigned upto = (2u << shape.high_bit) - 1;
  const unsigned mask = upto & ~((1u << (shape.high_bit + 1 - shape.stored)) - 1);
  const unsigned sign = 1u << shape.high_bit;
  bool changed = false;
  for (Pixel& pixel : pixels) {
    auto clean = static_cast<Pixel>(pixel & mask);
    if (shape.is_signed && (clean & sign) != 0) clean = static_cast<Pixel>(clean | ~upto);
    changed = changed || clean != pixel;
    pixel = clean;
  }
  return changed;
}

absl::Status CutWords(DcmDataset& dataset, DcmElement& element, const PixelShape& shape) {
  Uint16* words = nullptr;
  if (element.getUint16Array(words).bad() || words == nullptr) {
    return absl::InvalidArgumentError("the pixel data cannot be read");
  }
  std::vector<Uint16> pixels(words, words + shape.bytes / 2);
  const bool longer = element.getLength() > shape.bytes;
  if (!ClearUnstoredBits(shape, pixels) && !longer) return absl::OkStatus();
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
  if (shape.allocated == 8) ClearUnstoredBits(shape, pixels);
  if (shape.bits % 8 != 0) {
    pixels.back() = static_cast<Uint8>(pixels.back() & ((1u << (shape.bits % 8)) - 1));
  }
  if (pixels.size() % 2 != 0) pixels.push_back(0);
  if (dataset.putAndInsertUint8Array(DCM_PixelData, pixels.data(), pixels.size()).bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  return absl::OkStatus();
}

// Drops what lies behind the last end marker.
absl::Status CutBehindEnd(DcmPixelItem& item, absl::string_view bytes, DeidReport& report) {
  const size_t end = bytes.rfind("\xFF\xD9");
  if (end == absl::string_view::npos) {
    return absl::InvalidArgumentError("the encoded pixels have no end");
  }
  std::vector<Uint8> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(end) + 2);
  if (cut.size() % 2 != 0) cut.push_back(0);
  if (cut.size() >= bytes.size()) return absl::OkStatus();
  report.hidden_bytes_dropped += static_cast<int64_t>(bytes.size() - cut.size());
  if (item.putUint8Array(cut.data(), cut.size()).bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  return absl::OkStatus();
}

// JPEG 2000 cannot be decoded here.
absl::Status CutFragments(DcmPixelData& pixels, E_TransferSyntax syntax,
                          const PatientTokens& tokens, DeidReport& report) {
  DcmPixelSequence* fragments = nullptr;
  if (pixels.getEncapsulatedRepresentation(syntax, nullptr, fragments).bad() ||
      fragments == nullptr || fragments->card() < 2) {
    return absl::InvalidArgumentError("the pixel data has no fragments");
  }
  DcmPixelItem* item = nullptr;
  // The offset table may be empty, and then holds nothing else.
  if (fragments->getItem(item, 0).bad() || item->clear().bad()) {
    return absl::InvalidArgumentError("the pixel data cannot be rewritten");
  }
  std::string joined;  // an identity may begin in one fragment and end in the next
  for (unsigned long i = 1; i < fragments->card(); ++i) {
    Uint8* bytes = nullptr;
    if (fragments->getItem(item, i).bad() || item->getUint8Array(bytes).bad() || bytes == nullptr) {
      return absl::InvalidArgumentError("a pixel fragment cannot be read");
    }
    joined.append(reinterpret_cast<const char*>(bytes), item->getLength());
  }
  if (tokens.HitsBytes(joined)) {
    return absl::FailedPreconditionError("an identity inside the encoded pixels");
  }
  const size_t last = item->getLength();
  return CutBehindEnd(*item, absl::string_view(joined).substr(joined.size() - last), report);
}

}  // namespace

absl::Status CheckPixelsMayStay(DcmDataset& dataset, SecondaryImages secondary) {
  if (TextOf(dataset, DCM_BurnedInAnnotation) == "YES") {
    return absl::FailedPreconditionError("the file says that its pixels show text");
  }
  if (TextOf(dataset, DCM_SOPClassUID) == UID_SegmentationStorage) return absl::OkStatus();
  if (!absl::StartsWith(TextOf(dataset, DCM_PhotometricInterpretation), "MONOCHROME")) {
    return absl::FailedPreconditionError("colour pixels may show text");
  }
  const std::string type = TextOf(dataset, DCM_ImageType);
  const std::vector<absl::string_view> values = absl::StrSplit(type, '\\');
  if (absl::StrContains(type, "SCREEN SAVE")) {
    return absl::FailedPreconditionError("a screen image may show text");
  }
  if (secondary == SecondaryImages::kHoldBack && values.size() > 1 && values[1] == "SECONDARY") {
    return absl::FailedPreconditionError("a secondary image may show text");
  }
  return absl::OkStatus();
}

absl::Status ExactPixels(DcmDataset& dataset, const PatientTokens& tokens, DeidReport& report) {
  CSL_ASSIGN_OR_RETURN(const PixelShape shape, ShapeOf(dataset));
  const E_TransferSyntax syntax = dataset.getOriginalXfer();
  DcmElement* element = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, element).bad() || element == nullptr) {
    return absl::InvalidArgumentError("no pixel data");
  }
  if (DcmXfer(syntax).isEncapsulated()) {
    if (syntax == EXS_JPEG2000 || syntax == EXS_JPEG2000LosslessOnly) {
      return CutFragments(static_cast<DcmPixelData&>(*element), syntax, tokens, report);
    }
    // A frame's worth of memory follows from the header; a header that lies is caught here.
    constexpr uint64_t kDecodedBytesMax = uint64_t{2} << 30;
    if (shape.bytes > kDecodedBytesMax) return absl::InvalidArgumentError("the image is too large");
    if (dataset.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad() ||
        dataset.findAndGetElement(DCM_PixelData, element).bad()) {
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
  return shape.allocated == 16 ? CutWords(dataset, *element, shape)
                               : CutBytes(dataset, *element, shape);
}

}  // namespace consilium::privacy
