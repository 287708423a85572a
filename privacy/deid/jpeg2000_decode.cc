#include "privacy/deid/jpeg2000_decode.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// OpenJPEG's codecs and streams are both void pointers.
struct CloseCodec {
  void operator()(opj_codec_t* codec) const { opj_destroy_codec(codec); }
};
struct CloseStream {
  void operator()(opj_stream_t* stream) const { opj_stream_destroy(stream); }
};
struct CloseImage {
  void operator()(opj_image_t* image) const { opj_image_destroy(image); }
};

absl::Status Damaged() {
  return absl::InvalidArgumentError("a JPEG 2000 stream that cannot be decoded");
}

// What OpenJPEG reads from.
struct Source {
  absl::string_view bytes;
  size_t at = 0;
};

OPJ_SIZE_T Read(void* to, OPJ_SIZE_T count, void* user) {
  Source& source = *static_cast<Source*>(user);
  if (source.at >= source.bytes.size()) return static_cast<OPJ_SIZE_T>(-1);
  count = std::min<OPJ_SIZE_T>(count, source.bytes.size() - source.at);
  std::memcpy(to, source.bytes.data() + source.at, count);
  source.at += count;
  return count;
}

OPJ_OFF_T Skip(OPJ_OFF_T count, void* user) {
  Source& source = *static_cast<Source*>(user);
  if (count < 0 || static_cast<size_t>(count) > source.bytes.size() - source.at) return -1;
  source.at += static_cast<size_t>(count);
  return count;
}

OPJ_BOOL Seek(OPJ_OFF_T to, void* user) {
  Source& source = *static_cast<Source*>(user);
  if (to < 0 || static_cast<size_t>(to) > source.bytes.size()) return OPJ_FALSE;
  source.at = static_cast<size_t>(to);
  return OPJ_TRUE;
}

// Its texts may quote the file.
void Ignore(const char*, void*) {}
void Remember(const char*, void* damaged) { *static_cast<bool*>(damaged) = true; }

using Image = std::unique_ptr<opj_image_t, CloseImage>;

absl::StatusOr<Image> Decode(absl::string_view code_stream) {
  Source source{code_stream};
  const std::unique_ptr<opj_stream_t, CloseStream> input(
      opj_stream_create(std::min<size_t>(code_stream.size() + 1, 64 << 10), OPJ_TRUE));
  const std::unique_ptr<opj_codec_t, CloseCodec> codec(opj_create_decompress(OPJ_CODEC_J2K));
  if (input == nullptr || codec == nullptr) return absl::InternalError("no JPEG 2000 decoder");
  opj_stream_set_user_data(input.get(), &source, nullptr);
  opj_stream_set_user_data_length(input.get(), code_stream.size());
  opj_stream_set_read_function(input.get(), Read);
  opj_stream_set_skip_function(input.get(), Skip);
  opj_stream_set_seek_function(input.get(), Seek);
  bool damaged = false;
  opj_set_info_handler(codec.get(), Ignore, nullptr);
  opj_set_warning_handler(codec.get(), Remember, &damaged);
  opj_set_error_handler(codec.get(), Remember, &damaged);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* image = nullptr;
  const bool read = opj_setup_decoder(codec.get(), &parameters) != OPJ_FALSE &&
                    opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE) != OPJ_FALSE &&
                    opj_read_header(input.get(), codec.get(), &image) != OPJ_FALSE;
  Image owned(image);
  if (!read || owned == nullptr || damaged ||
      opj_decode(codec.get(), input.get(), owned.get()) == OPJ_FALSE ||
      opj_end_decompress(codec.get(), input.get()) == OPJ_FALSE || damaged) {
    return Damaged();
  }
  return owned;
}

bool Agrees(const opj_image_t& image, const Jpeg2000Stream& stream) {
  if (image.numcomps != static_cast<OPJ_UINT32>(stream.components)) return false;
  for (OPJ_UINT32 i = 0; i < image.numcomps; ++i) {
    const opj_image_comp_t& component = image.comps[i];
    if (component.data == nullptr || component.w != stream.columns || component.h != stream.rows) {
      return false;
    }
  }
  return true;
}

// A stream may be signed where the header is not, and the other way round: the low bits count.
// Rounding of a lossy stream of more bits than are stored may leave their range.
class Fitter {
 public:
  Fitter(const PixelShape& shape, bool reversible)
      : lowest_(-(1 << (shape.stored - 1))),
        highest_((1 << shape.stored) - 1),
        clamp_low_(shape.is_signed ? lowest_ : 0),
        clamp_high_(shape.is_signed ? -lowest_ - 1 : highest_),
        reversible_(reversible) {}

  int Fit(int value) {
    if (value >= lowest_ && value <= highest_) return value;
    failed_ = failed_ || reversible_;
    return std::clamp(value, clamp_low_, clamp_high_);
  }
  bool failed() const { return failed_; }

 private:
  const int lowest_, highest_, clamp_low_, clamp_high_;
  const bool reversible_;
  bool failed_ = false;
};

}  // namespace

absl::Status DecodeJpeg2000(absl::string_view bytes, const Jpeg2000Stream& stream,
                            const PixelShape& shape, absl::Span<char> frame) {
  const size_t pixels = shape.rows * shape.columns, samples = shape.samples;
  const size_t cell = shape.allocated / 8;
  if (stream.columns != shape.columns || stream.rows != shape.rows ||
      static_cast<uint64_t>(stream.components) != samples || (cell != 1 && cell != 2) ||
      shape.high_bit + 1 != shape.stored || frame.size() != pixels * samples * cell) {
    return absl::InvalidArgumentError("a JPEG 2000 stream of another form than the image");
  }
  CSL_ASSIGN_OR_RETURN(const Image image,
                       Decode(bytes.substr(stream.begin, stream.end - stream.begin)));
  if (!Agrees(*image, stream)) return Damaged();
  Fitter fitter(shape, stream.reversible);
  for (size_t sample = 0; sample < samples; ++sample) {
    const OPJ_INT32* const values = image->comps[sample].data;
    char* out = frame.data() + sample * cell;
    for (size_t i = 0; i < pixels; ++i, out += samples * cell) {
      const int value = fitter.Fit(values[i]);
      out[0] = static_cast<char>(value);
      if (cell == 2) out[1] = static_cast<char>(value >> 8);
    }
  }
  if (!fitter.failed()) return absl::OkStatus();
  return absl::InvalidArgumentError("pixels beyond the bits that the header names");
}

}  // namespace consilium::privacy
