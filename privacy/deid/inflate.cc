#include "privacy/deid/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

namespace consilium::privacy {
namespace {

// What a deflated data set may grow to. Bit masks reach 130:1 honestly, deflate itself 1032:1.
constexpr uint64_t kInflatedRatioMax = 200;
constexpr uint64_t kInflatedBytesFree = 16ull << 20;
constexpr uint64_t kInflatedBytesMax = 1ull << 30;

}  // namespace

absl::StatusOr<std::string> InflateDataset(absl::string_view deflated) {
  const uint64_t budget = std::clamp<uint64_t>(kInflatedRatioMax * deflated.size(),
                                               kInflatedBytesFree, kInflatedBytesMax);
  z_stream stream = {};
  if (inflateInit2(&stream, -15) != Z_OK) return absl::InternalError("zlib does not start");
  std::string out;
  uint64_t taken = 0;
  int result = Z_OK;
  while (result == Z_OK && out.size() <= budget) {
    if (stream.avail_in == 0) {
      const uint64_t piece = std::min<uint64_t>(deflated.size() - taken, 1u << 20);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data() + taken));
      stream.avail_in = static_cast<uInt>(piece);
      taken += piece;
    }
    const size_t before = out.size();
    const size_t grow = std::max<size_t>(1u << 16, std::min<size_t>(before, 1u << 24));
    out.resize(before + grow);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(grow);
    result = inflate(&stream, Z_NO_FLUSH);
    out.resize(before + grow - stream.avail_out);
  }
  inflateEnd(&stream);
  if (result == Z_STREAM_END && out.size() <= budget) return out;
  return absl::InvalidArgumentError(out.size() > budget ? "the deflated data set grows too large"
                                                        : "the deflated data set is broken");
}

}  // namespace consilium::privacy
