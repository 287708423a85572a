#include "tests/support/nifti_writer.h"

#include <zlib.h>

#include <bit>
#include <cstring>

#include "proto/base/file.h"

namespace consilium::phantom {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is written in host order");

constexpr size_t kHeaderBytes = 348;
constexpr size_t kVoxelOffset = 352;  // header and four bytes that say: no extension

template <typename T>
void Put(std::string& header, size_t offset, T value) {
  std::memcpy(header.data() + offset, &value, sizeof(value));
}

std::string Header(const imaging::Geometry& grid) {
  std::string header(kVoxelOffset, '\0');
  Put<int32_t>(header, 0, kHeaderBytes);
  Put<int16_t>(header, 40, 3);
  Put<float>(header, 76, 1);
  for (int axis = 0; axis < 3; ++axis) {
    Put<int16_t>(header, 42 + 2 * axis, static_cast<int16_t>(grid.size_xyz[axis]));
    Put<float>(header, 80 + 4 * axis, static_cast<float>(grid.spacing_xyz_mm[axis]));
  }
  for (int rest = 3; rest < 7; ++rest) Put<int16_t>(header, 42 + 2 * rest, 1);
  Put<int16_t>(header, 70, 2);  // unsigned char
  Put<int16_t>(header, 72, 8);  // bits
  Put<float>(header, 108, kVoxelOffset);
  Put<float>(header, 112, 1);    // slope
  Put<char>(header, 123, 2);     // mm
  Put<int16_t>(header, 254, 1);  // sform: scanner coordinates
  for (int row = 0; row < 3; ++row) {
    const double to_ras = row < 2 ? -1 : 1;
    const size_t at = 280 + 16 * row;
    for (int axis = 0; axis < 3; ++axis) {
      Put<float>(
          header, at + 4 * axis,
          static_cast<float>(to_ras * grid.direction[3 * row + axis] * grid.spacing_xyz_mm[axis]));
    }
    Put<float>(header, at + 12, static_cast<float>(to_ras * grid.origin_lps_mm[row]));
  }
  std::memcpy(header.data() + 344, "n+1", 4);
  return header;
}

}  // namespace

absl::Status WriteNifti(const imaging::LabelVolume& mask, const std::string& path) {
  std::string raw = Header(mask.geometry);
  raw.append(reinterpret_cast<const char*>(mask.voxels.data()), mask.voxels.size());

  z_stream stream = {};
  constexpr int kGzipWindowBits = 15 + 16;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return absl::InternalError("zlib does not start");
  }
  std::string packed(deflateBound(&stream, raw.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(raw.data());
  stream.avail_in = static_cast<uInt>(raw.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) return absl::InternalError("zlib does not finish");
  return WriteFileAtomic(path, packed);
}

}  // namespace consilium::phantom
