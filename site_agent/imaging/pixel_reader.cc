#include "site_agent/imaging/pixel_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "site_agent/imaging/jpeg2000.h"

namespace consilium::imaging {
namespace {

// What an honest picture compresses to at most, beyond a free share that covers any single slice.
constexpr uint64_t kDecodedBytesFree = 64ull << 20;
constexpr uint64_t kDecodedRatioMax = 256;

bool IsJpeg2000(absl::string_view transfer_syntax_uid) {
  return transfer_syntax_uid == "1.2.840.10008.1.2.4.90" ||
         transfer_syntax_uid == "1.2.840.10008.1.2.4.91";
}

uint64_t EncodedBytes(const privacy::DicomLayout& layout) {
  uint64_t bytes = 0;
  for (const auto& [offset, length] : layout.fragments) bytes += length;
  return bytes;
}

absl::StatusOr<std::string> DcmtkPixels(const DicomFile& file, uint64_t bytes_wanted) {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseWithPixels());
  if (dataset->chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad()) {
    return file.Fault("pixels in a compression that is broken or not supported");
  }
  const Uint8* bytes = nullptr;
  unsigned long count = 0;
  if (dataset->findAndGetUint8Array(DCM_PixelData, bytes, &count).bad() || bytes == nullptr ||
      count < bytes_wanted) {
    return file.Fault("fewer pixels than rows, columns and frames need");
  }
  return std::string(reinterpret_cast<const char*>(bytes), count);
}

// Explicit big endian: bytes of each pixel in the other order.
void SwapPixels(std::string& bytes, size_t width) {
  for (size_t i = 0; i + width <= bytes.size(); i += width) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + width));
  }
}

// Stored bits to numbers. Raw is the unsigned type of bits_allocated.
template <typename Raw>
class StoredBits {
 public:
  explicit StoredBits(const PixelFormat& format)
      : shift_(format.high_bit + 1 - format.bits_stored),
        mask_(static_cast<int64_t>((uint64_t{1} << format.bits_stored) - 1)),
        sign_(format.is_signed ? int64_t{1} << (format.bits_stored - 1) : 0) {}

  int64_t Value(const char* bytes, int64_t i) const {
    Raw raw;
    std::memcpy(&raw, bytes + i * static_cast<int64_t>(sizeof(Raw)), sizeof(Raw));
    const int64_t value = (int64_t{raw} >> shift_) & mask_;
    return (value ^ sign_) - sign_;  // extends the sign; nothing where sign_ is 0
  }
  // Lowest plus highest storable value: x -> mirror - x turns the scale around.
  int64_t mirror() const { return mask_ - 2 * sign_; }

 private:
  const int shift_;
  const int64_t mask_;
  const int64_t sign_;
};

template <typename Raw>
bool Convert(const char* bytes, const Slice& slice, float* out) {
  const PixelFormat& format = slice.format;
  const StoredBits<Raw> stored(format);
  double slope = slice.rescale_slope, intercept = slice.rescale_intercept;
  if (format.darker_is_higher) {
    intercept += slope * static_cast<double>(stored.mirror());
    slope = -slope;
  }
  const int64_t count = format.frame_voxels();
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(stored.Value(bytes, i)) * slope + intercept);
  }
  if (!format.padding) return false;
  bool padded = false;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = stored.Value(bytes, i);
    if (value < (*format.padding)[0] || value > (*format.padding)[1]) continue;
    out[i] = std::numeric_limits<float>::quiet_NaN();
    padded = true;
  }
  return padded;
}

}  // namespace

absl::Status CheckPixelBytes(const DicomFile& file, uint64_t bytes_wanted) {
  const privacy::DicomLayout& layout = file.layout();
  if (layout.encapsulated) {
    if (bytes_wanted <= kDecodedBytesFree ||
        (bytes_wanted - kDecodedBytesFree) / kDecodedRatioMax <= EncodedBytes(layout)) {
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError("far more pixels than the file's bytes can hold");
  }
  if (layout.has_pixels && layout.pixel_bytes >= bytes_wanted) return absl::OkStatus();
  return file.Fault("fewer pixels than rows, columns and frames need");
}

absl::StatusOr<std::string> ReadPixelBytes(const DicomFile& file, uint64_t bytes_wanted) {
  CSL_RETURN_IF_ERROR(CheckPixelBytes(file, bytes_wanted));
  const privacy::DicomLayout& layout = file.layout();
  if (layout.encapsulated) return DcmtkPixels(file, bytes_wanted);
  return std::string(file.dataset().substr(layout.pixel_offset, layout.pixel_bytes));
}

absl::StatusOr<FilePixels> FilePixels::Load(const std::string& path, const PixelFormat& format,
                                            int64_t frames) {
  CSL_ASSIGN_OR_RETURN(DicomFile file, DicomFile::Open(path));
  FilePixels pixels(std::move(file));
  pixels.frame_bytes_ = static_cast<uint64_t>(format.frame_bytes());
  CSL_RETURN_IF_ERROR(pixels.Decode(format, frames));
  return pixels;
}

absl::Status FilePixels::Decode(const PixelFormat& format, int64_t frames) {
  const uint64_t wanted = frame_bytes_ * static_cast<uint64_t>(frames);
  CSL_RETURN_IF_ERROR(CheckPixelBytes(file_, wanted));
  if (IsJpeg2000(file_.transfer_syntax_uid())) return DecodeJpeg2000(format, frames);
  const bool swapped = file_.encoding() == privacy::DicomEncoding::kExplicitBig && format.bits_allocated > 8;
  if (!file_.layout().encapsulated && !swapped) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(decoded_, ReadPixelBytes(file_, wanted));
  if (swapped) SwapPixels(decoded_, static_cast<size_t>(format.bits_allocated / 8));
  return absl::OkStatus();
}

absl::Status FilePixels::DecodeJpeg2000(const PixelFormat& format, int64_t frames) {
  const auto& fragments = file_.layout().fragments;
  // The first fragment is the offset table. Several fragments make one frame only where the object
  // has a single one.
  if (fragments.size() < 2 ||
      (frames > 1 && static_cast<int64_t>(fragments.size()) != frames + 1)) {
    return file_.Fault("JPEG 2000 fragments that do not match the frames");
  }
  for (int64_t frame = 0; frame < frames; ++frame) {
    std::string codestream;
    const size_t first = 1 + static_cast<size_t>(frame);
    const size_t last = frames == 1 ? fragments.size() - 1 : first;
    for (size_t i = first; i <= last; ++i) {
      absl::StrAppend(&codestream, file_.dataset().substr(fragments[i].first, fragments[i].second));
    }
    CSL_ASSIGN_OR_RETURN(const std::string bytes, DecodeJpeg2000Frame(codestream, format));
    decoded_ += bytes;
  }
  return absl::OkStatus();
}

absl::string_view FilePixels::Frame(int64_t frame) const {
  const uint64_t offset = frame_bytes_ * static_cast<uint64_t>(frame);
  if (!decoded_.empty()) return absl::string_view(decoded_).substr(offset, frame_bytes_);
  return file_.dataset().substr(file_.layout().pixel_offset + offset, frame_bytes_);
}

bool ConvertFrame(const FilePixels& pixels, const Slice& slice, float* out) {
  const absl::string_view bytes = pixels.Frame(slice.frame);
  CSL_CHECK(static_cast<int64_t>(bytes.size()) == slice.format.frame_bytes());
  switch (slice.format.bits_allocated) {
    case 8:
      return Convert<uint8_t>(bytes.data(), slice, out);
    case 16:
      return Convert<uint16_t>(bytes.data(), slice, out);
    default:
      return Convert<uint32_t>(bytes.data(), slice, out);
  }
}

}  // namespace consilium::imaging
