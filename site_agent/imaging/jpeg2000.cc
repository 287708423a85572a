#include "site_agent/imaging/jpeg2000.h"

#include <exception>
#include <limits>

#include "absl/base/call_once.h"
#include "gdcmImage.h"
#include "gdcmSequenceOfFragments.h"
#include "gdcmTrace.h"

namespace consilium::imaging {
namespace {

uint32_t BigEndian32(absl::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The SIZ segment has to say what DICOM says, so that the decoder allocates what we expect.
bool SizeAgrees(absl::string_view codestream, const PixelFormat& format) {
  if (codestream.size() < 42 || codestream.substr(0, 4) != "\xFF\x4F\xFF\x51") return false;
  const int64_t width = int64_t{BigEndian32(codestream, 8)} - BigEndian32(codestream, 16);
  const int64_t height = int64_t{BigEndian32(codestream, 12)} - BigEndian32(codestream, 20);
  const int components =
      static_cast<unsigned char>(codestream[40]) << 8 | static_cast<unsigned char>(codestream[41]);
  // Tiles smaller than this in number would only serve to exhaust the decoder.
  const int64_t tile_width = BigEndian32(codestream, 24), tile_height = BigEndian32(codestream, 28);
  if (tile_width < 1 || tile_height < 1) return false;
  const int64_t tiles = (width / tile_width + 1) * (height / tile_height + 1);
  return width == format.columns && height == format.rows && components == 1 && tiles <= 65535;
}

gdcm::PixelFormat GdcmFormat(const PixelFormat& format) {
  return gdcm::PixelFormat(1, static_cast<unsigned short>(format.bits_allocated),
                           static_cast<unsigned short>(format.bits_stored),
                           static_cast<unsigned short>(format.high_bit),
                           static_cast<unsigned short>(format.is_signed ? 1 : 0));
}

}  // namespace

absl::StatusOr<std::string> DecodeJpeg2000Frame(absl::string_view codestream,
                                                const PixelFormat& format) try {
  static absl::once_flag once;
  absl::call_once(once, [] {
    gdcm::Trace::DebugOff();
    gdcm::Trace::WarningOff();
    gdcm::Trace::ErrorOff();
  });
  if (!SizeAgrees(codestream, format)) {
    return absl::InvalidArgumentError("a JPEG 2000 stream of another size than the image");
  }
  gdcm::Fragment fragment;
  fragment.SetByteValue(codestream.data(), gdcm::VL(static_cast<uint32_t>(codestream.size())));
  gdcm::SmartPointer<gdcm::SequenceOfFragments> fragments = gdcm::SequenceOfFragments::New();
  fragments->AddFragment(fragment);
  gdcm::DataElement pixels(gdcm::Tag(0x7fe0, 0x0010));
  pixels.SetVR(gdcm::VR::OB);
  pixels.SetValue(*fragments);

  gdcm::Image image;
  image.SetNumberOfDimensions(2);
  image.SetDimension(0, static_cast<unsigned int>(format.columns));
  image.SetDimension(1, static_cast<unsigned int>(format.rows));
  image.SetPixelFormat(GdcmFormat(format));
  image.SetPhotometricInterpretation(gdcm::PhotometricInterpretation::MONOCHROME2);
  image.SetTransferSyntax(gdcm::TransferSyntax::JPEG2000);
  image.SetDataElement(pixels);
  if (image.GetBufferLength() != static_cast<unsigned long>(format.frame_bytes())) {
    return absl::InvalidArgumentError("a JPEG 2000 stream of another size than the image");
  }
  std::string out(image.GetBufferLength(), '\0');
  if (!image.GetBuffer(out.data())) {
    return absl::InvalidArgumentError("a JPEG 2000 stream that cannot be decoded");
  }
  return out;
} catch (const std::exception&) {
  // The text of the exception may quote the file.
  return absl::InvalidArgumentError("a JPEG 2000 stream that cannot be decoded");
}

}  // namespace consilium::imaging
