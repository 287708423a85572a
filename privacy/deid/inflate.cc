#include "privacy/deid/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// What a deflated data set may grow to. Bit masks reach 130:1 honestly, deflate itself 1032:1.
constexpr uint64_t kInflatedRatioMax = 200;
constexpr uint64_t kInflatedBytesFree = 16ull << 20;
constexpr uint64_t kInflatedBytesMax = 1ull << 30;
constexpr uint64_t kPieceBytes = 1u << 20;

int WindowBits(Compressed form) { return form == Compressed::kRaw ? -MAX_WBITS : 16 + MAX_WBITS; }

}  // namespace

absl::StatusOr<Inflated> InflateUpTo(absl::string_view compressed, Compressed form,
                                     uint64_t bytes_max) {
  z_stream stream = {};
  if (inflateInit2(&stream, WindowBits(form)) != Z_OK) {
    return absl::InternalError("zlib does not start");
  }
  Inflated out;
  uint64_t taken = 0;
  int result = Z_OK;
  while (result == Z_OK && out.bytes.size() < bytes_max) {
    if (stream.avail_in == 0) {
      const uint64_t piece = std::min<uint64_t>(compressed.size() - taken, kPieceBytes);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data() + taken));
      stream.avail_in = static_cast<uInt>(piece);
      taken += piece;
    }
    const size_t before = out.bytes.size();
    const size_t grow = static_cast<size_t>(std::min<uint64_t>(bytes_max - before, kPieceBytes));
    out.bytes.resize(before + grow);
    stream.next_out = reinterpret_cast<Bytef*>(out.bytes.data() + before);
    stream.avail_out = static_cast<uInt>(grow);
    result = inflate(&stream, Z_NO_FLUSH);
    out.bytes.resize(before + grow - stream.avail_out);
  }
  inflateEnd(&stream);
  out.whole = result == Z_STREAM_END;
  return out;
}

absl::StatusOr<std::string> InflateDataset(absl::string_view deflated) {
  const uint64_t budget = std::clamp<uint64_t>(kInflatedRatioMax * deflated.size(),
                                               kInflatedBytesFree, kInflatedBytesMax);
  CSL_ASSIGN_OR_RETURN(Inflated inflated, InflateUpTo(deflated, Compressed::kRaw, budget + 1));
  if (inflated.bytes.size() > budget) {
    return absl::InvalidArgumentError("the deflated data set grows too large");
  }
  if (!inflated.whole) return absl::InvalidArgumentError("the deflated data set is broken");
  return std::move(inflated.bytes);
}

}  // namespace consilium::privacy
