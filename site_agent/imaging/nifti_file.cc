#include "site_agent/imaging/nifti_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/string_view.h"
#include "privacy/deid/inflate.h"
#include "privacy/deid/mapped_file.h"
#include "proto/base/status.h"

namespace consilium::imaging {
namespace {

constexpr size_t kHeader1Bytes = 348, kHeader2Bytes = 540;
constexpr uint64_t kOffsetMax = 1 << 20;  // header and extensions
static_assert(std::endian::native == std::endian::little);

absl::Status Refuse(absl::string_view words) { return absl::InvalidArgumentError(words); }

// The first bytes of a file, inflated where it is gzip.
class Source {
 public:
  explicit Source(absl::string_view file) : file_(file) {
    gzip_ = file.size() > 2 && file.substr(0, 2) == "\x1F\x8B";
  }

  // At least `bytes` from the start; grows, never shrinks.
  absl::StatusOr<absl::string_view> Need(uint64_t bytes) {
    if (!gzip_) {
      if (file_.size() < bytes) return Refuse("a NIfTI file that ends too early");
      return file_;
    }
    if (inflated_.size() < bytes) {
      CSL_RETURN_IF_ERROR(Inflate(bytes));
    }
    return absl::string_view(inflated_);
  }

 private:
  // From the start again: called twice, for the header and for everything.
  absl::Status Inflate(uint64_t bytes) {
    CSL_ASSIGN_OR_RETURN(privacy::Inflated inflated,
                         privacy::InflateUpTo(file_, privacy::Compressed::kGzip, bytes));
    inflated_ = std::move(inflated.bytes);
    if (inflated_.size() >= bytes) return absl::OkStatus();
    return Refuse("a NIfTI file that is compressed wrongly or ends too early");
  }

  absl::string_view file_;
  bool gzip_ = false;
  std::string inflated_;
};

template <typename T>
T Load(absl::string_view bytes, size_t at, bool swapped) {
  char raw[sizeof(T)];
  std::memcpy(raw, bytes.data() + at, sizeof(T));
  if (swapped) std::reverse(raw, raw + sizeof(T));
  T value;
  std::memcpy(&value, raw, sizeof(T));
  return value;
}

// The fields that are used, of either version.
struct Header {
  bool swapped = false;
  bool single_file = false;
  std::array<int64_t, 8> dim = {};
  std::array<double, 8> pixdim = {};
  int datatype = 0;
  double offset = 0, slope = 0, intercept = 0;
  int64_t qform_code = 0, sform_code = 0, units = 0;
  std::array<double, 3> quaternion = {}, shift = {};
  NiftiAffine srow = {};
};

Header ParseVersion1(absl::string_view bytes, bool swapped) {
  const auto number = [&](size_t at) { return double{Load<float>(bytes, at, swapped)}; };
  Header header;
  header.swapped = swapped;
  for (size_t i = 0; i < 8; ++i) {
    header.dim[i] = Load<int16_t>(bytes, 40 + 2 * i, swapped);
    header.pixdim[i] = number(76 + 4 * i);
  }
  header.datatype = Load<int16_t>(bytes, 70, swapped);
  header.offset = number(108);
  header.slope = number(112);
  header.intercept = number(116);
  header.units = static_cast<unsigned char>(bytes[123]);
  header.qform_code = Load<int16_t>(bytes, 252, swapped);
  header.sform_code = Load<int16_t>(bytes, 254, swapped);
  for (size_t i = 0; i < 3; ++i) {
    header.quaternion[i] = number(256 + 4 * i);
    header.shift[i] = number(268 + 4 * i);
    for (size_t j = 0; j < 4; ++j) header.srow[i][j] = number(280 + 16 * i + 4 * j);
  }
  header.single_file = bytes.substr(344, 4) == absl::string_view("n+1\0", 4);
  return header;
}

Header ParseVersion2(absl::string_view bytes, bool swapped) {
  const auto number = [&](size_t at) { return Load<double>(bytes, at, swapped); };
  Header header;
  header.swapped = swapped;
  header.datatype = Load<int16_t>(bytes, 12, swapped);
  for (size_t i = 0; i < 8; ++i) {
    header.dim[i] = Load<int64_t>(bytes, 16 + 8 * i, swapped);
    header.pixdim[i] = number(104 + 8 * i);
  }
  header.offset = static_cast<double>(Load<int64_t>(bytes, 168, swapped));
  header.slope = number(176);
  header.intercept = number(184);
  header.qform_code = Load<int32_t>(bytes, 344, swapped);
  header.sform_code = Load<int32_t>(bytes, 348, swapped);
  for (size_t i = 0; i < 3; ++i) {
    header.quaternion[i] = number(352 + 8 * i);
    header.shift[i] = number(376 + 8 * i);
    for (size_t j = 0; j < 4; ++j) header.srow[i][j] = number(400 + 32 * i + 8 * j);
  }
  header.units = Load<int32_t>(bytes, 500, swapped);
  header.single_file = bytes.substr(4, 4) == absl::string_view("n+2\0", 4);
  return header;
}

absl::StatusOr<Header> ReadHeader(Source& source) {
  CSL_ASSIGN_OR_RETURN(absl::string_view bytes, source.Need(kHeader1Bytes));
  for (const bool swapped : {false, true}) {
    const auto size = Load<int32_t>(bytes, 0, swapped);
    if (size == static_cast<int32_t>(kHeader1Bytes)) return ParseVersion1(bytes, swapped);
    if (size != static_cast<int32_t>(kHeader2Bytes)) continue;
    CSL_ASSIGN_OR_RETURN(bytes, source.Need(kHeader2Bytes));
    return ParseVersion2(bytes, swapped);
  }
  return Refuse("not NIfTI");
}

// Millimetres of one spatial unit; "unknown" is what most label tools write for mm.
double UnitMm(int64_t units) {
  switch (units & 7) {
    case 1:
      return 1000;
    case 3:
      return 0.001;
    default:
      return 1;
  }
}

bool IsFinite(const NiftiAffine& affine) {
  for (const auto& row : affine) {
    for (const double value : row) {
      if (!(std::abs(value) < 1e9)) return false;
    }
  }
  return true;
}

// nifti1.h, "method 2": a rotation as a quaternion, pixdim as spacing, pixdim[0] as handedness.
NiftiAffine QuaternionAffine(const Header& header) {
  const auto [b, c, d] = header.quaternion;
  const double squares = b * b + c * c + d * d;
  const double norm = squares > 1 ? std::sqrt(squares) : 1;
  const double x = b / norm, y = c / norm, z = d / norm;
  const double w = std::sqrt(std::max(0.0, 1 - (x * x + y * y + z * z)));
  const double rotation[3][3] = {
      {w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)},
      {2 * (x * y + w * z), w * w + y * y - x * x - z * z, 2 * (y * z - w * x)},
      {2 * (x * z - w * y), 2 * (y * z + w * x), w * w + z * z - x * x - y * y}};
  const double hand = header.pixdim[0] < 0 ? -1 : 1;
  NiftiAffine affine;
  for (size_t row = 0; row < 3; ++row) {
    affine[row] = {rotation[row][0] * header.pixdim[1], rotation[row][1] * header.pixdim[2],
                   rotation[row][2] * header.pixdim[3] * hand, header.shift[row]};
  }
  return affine;
}

NiftiAffine Scaled(NiftiAffine affine, double by) {
  for (auto& row : affine) {
    for (double& value : row) value *= by;
  }
  return affine;
}

template <typename T>
void Convert(absl::string_view bytes, const Header& header, std::vector<double>& out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<double>(Load<T>(bytes, i * sizeof(T), header.swapped));
  }
}

size_t BytesOf(int datatype) {
  switch (datatype) {
    case 2:
    case 256:
      return 1;
    case 4:
    case 512:
      return 2;
    case 8:
    case 16:
    case 768:
      return 4;
    case 64:
    case 1024:
    case 1280:
      return 8;
    default:
      return 0;
  }
}

void ConvertValues(absl::string_view bytes, const Header& header, std::vector<double>& out) {
  switch (header.datatype) {
    case 2:
      return Convert<uint8_t>(bytes, header, out);
    case 256:
      return Convert<int8_t>(bytes, header, out);
    case 4:
      return Convert<int16_t>(bytes, header, out);
    case 512:
      return Convert<uint16_t>(bytes, header, out);
    case 8:
      return Convert<int32_t>(bytes, header, out);
    case 768:
      return Convert<uint32_t>(bytes, header, out);
    case 16:
      return Convert<float>(bytes, header, out);
    case 64:
      return Convert<double>(bytes, header, out);
    case 1024:
      return Convert<int64_t>(bytes, header, out);
    default:
      return Convert<uint64_t>(bytes, header, out);
  }
}

absl::Status ReadSize(const Header& header, int64_t voxels_max, NiftiFile& out) {
  if (header.dim[0] < 3 || header.dim[0] > 7) return Refuse("a NIfTI array that is no volume");
  int64_t room = voxels_max;
  for (size_t i = 1; i <= static_cast<size_t>(header.dim[0]); ++i) {
    if (header.dim[i] < 1) return Refuse("a NIfTI array without voxels");
    if (i > 3 && header.dim[i] > 1) return Refuse("a NIfTI array of more than three dimensions");
    room /= header.dim[i];
    if (room < 1) return absl::ResourceExhaustedError("more voxels than the image has");
    if (i <= 3) out.size[i - 1] = header.dim[i];
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NiftiFile> ReadNifti(const std::string& path, int64_t voxels_max) {
  CSL_ASSIGN_OR_RETURN(const privacy::MappedFile mapped, privacy::MappedFile::Open(path));
  Source source(mapped.bytes());
  CSL_ASSIGN_OR_RETURN(const Header header, ReadHeader(source));
  if (!header.single_file) return Refuse("a NIfTI header without its array (a pair of files)");
  NiftiFile out;
  CSL_RETURN_IF_ERROR(ReadSize(header, voxels_max, out));
  const double mm = UnitMm(header.units);
  if (header.sform_code > 0) out.sform = Scaled(header.srow, mm);
  if (header.qform_code > 0) out.qform = Scaled(QuaternionAffine(header), mm);
  if ((out.sform && !IsFinite(*out.sform)) || (out.qform && !IsFinite(*out.qform))) {
    return Refuse("an affine that is not finite");
  }
  const size_t width = BytesOf(header.datatype);
  if (width == 0) return Refuse("a kind of number that labels do not have");
  if (!(header.offset >= 0 && header.offset <= static_cast<double>(kOffsetMax))) {
    return Refuse("an array that starts nowhere in the file");
  }
  const auto offset = static_cast<uint64_t>(header.offset);
  const auto voxels = static_cast<uint64_t>(out.size[0] * out.size[1] * out.size[2]);
  CSL_ASSIGN_OR_RETURN(const absl::string_view bytes, source.Need(offset + voxels * width));
  out.values.resize(voxels);
  ConvertValues(bytes.substr(offset), header, out.values);
  // Slope 0 means: not scaled.
  if (header.slope == 0 || !std::isfinite(header.slope) || !std::isfinite(header.intercept)) {
    return out;
  }
  for (double& value : out.values) value = value * header.slope + header.intercept;
  return out;
}

}  // namespace consilium::imaging
