#include "privacy/deid/thumbnail.h"

#include <zlib.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {
namespace {

constexpr int kSideMax = 1024;

std::string BigEndian(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

// ISO/IEC 15948, 5.3.
std::string Chunk(absl::string_view type, absl::string_view data) {
  const std::string body = absl::StrCat(type, data);
  const uLong crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return absl::StrCat(BigEndian(static_cast<uint32_t>(data.size())), body,
                      BigEndian(static_cast<uint32_t>(crc)));
}

}  // namespace

std::string ThumbnailPng(const GreyFrame& frame) {
  const int step = (std::max(frame.rows, frame.columns) + kSideMax - 1) / kSideMax;
  const int rows = (frame.rows + step - 1) / step, columns = (frame.columns + step - 1) / step;
  std::string lines;
  for (int row = 0; row < rows; ++row) {
    lines += '\0';  // filter: none
    for (int column = 0; column < columns; ++column) {
      uint8_t brightest = 0;
      for (int y = row * step; y < std::min(frame.rows, (row + 1) * step); ++y) {
        for (int x = column * step; x < std::min(frame.columns, (column + 1) * step); ++x) {
          brightest = std::max(
              brightest, frame.values[static_cast<size_t>(y) * static_cast<size_t>(frame.columns) +
                                      static_cast<size_t>(x)]);
        }
      }
      lines += static_cast<char>(brightest);
    }
  }
  uLongf length = compressBound(lines.size());
  std::string packed(length, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &length,
           reinterpret_cast<const Bytef*>(lines.data()), lines.size());
  packed.resize(length);
  const std::string head = absl::StrCat(BigEndian(static_cast<uint32_t>(columns)),
                                        BigEndian(static_cast<uint32_t>(rows)),
                                        std::string("\x08\0\0\0\0", 5));  // 8 bits, grey
  return absl::StrCat("\x89PNG\r\n\x1a\n", Chunk("IHDR", head), Chunk("IDAT", packed),
                      Chunk("IEND", ""));
}

}  // namespace consilium::privacy
