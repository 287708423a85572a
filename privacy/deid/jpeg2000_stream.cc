#include "privacy/deid/jpeg2000_stream.h"

#include <algorithm>
#include <array>
#include <vector>

#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// Marker codes, Table A.2; CAP and CPF are of part 15.
enum Marker : uint16_t {
  kSoc = 0xFF4F,
  kCap = 0xFF50,
  kSiz = 0xFF51,
  kCod = 0xFF52,
  kCoc = 0xFF53,
  kTlm = 0xFF55,
  kPlm = 0xFF57,
  kPlt = 0xFF58,
  kCpf = 0xFF59,
  kQcd = 0xFF5C,
  kQcc = 0xFF5D,
  kRgn = 0xFF5E,
  kPoc = 0xFF5F,
  kPpm = 0xFF60,
  kPpt = 0xFF61,
  kCrg = 0xFF63,
  kCom = 0xFF64,
  kSot = 0xFF90,
  kSod = 0xFF93,
  kEoc = 0xFFD9,
};

// Memory of the decoder for each, measured against OpenJPEG 2.5: a tile some 9 kB, a precinct 0.4
// kB, a code-block 0.6 kB, a sample 4 bytes.
constexpr uint64_t kTilesMax = 1024;
constexpr uint64_t kPrecinctsMax = uint64_t{1} << 17;
constexpr uint64_t kCodeBlocksMax = uint64_t{1} << 17;
// A blank picture of any size compresses to next to nothing, so a share is free.
constexpr uint64_t kSamplesFree = uint64_t{16} << 20;
constexpr uint64_t kSamplesPerByteMax = 512;
constexpr uint64_t kSamplesMax = uint64_t{1} << 26;
// Each packet takes a byte at least; a stream that was cut short lacks its last ones.
constexpr uint64_t kPacketsFree = uint64_t{1} << 16;
// Steps of the loops over positions and resolutions (B.12.1.3 to B.12.1.5).
constexpr uint64_t kStepsMax = uint64_t{1} << 26;

absl::Status Broken() { return absl::InvalidArgumentError("a broken JPEG 2000 stream"); }
absl::Status TooMuch() {
  return absl::InvalidArgumentError("a JPEG 2000 stream that claims more than its bytes can hold");
}
absl::Status NotCovered() {
  return absl::UnimplementedError("a form of JPEG 2000 that is not covered");
}

// Reads big endian numbers; past the end it stays there, gives 0 and says so.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}
  uint32_t Get(size_t count) {
    uint32_t value = 0;
    if (count > left()) {
      failed_ = true;
      at_ = bytes_.size();
      return 0;
    }
    for (size_t i = 0; i < count; ++i)
      value = value << 8 | static_cast<unsigned char>(bytes_[at_++]);
    return value;
  }
  // The body of a marker segment, whose length counts itself.
  Reader Segment() {
    const size_t length = Get(2);
    if (length < 2 || length - 2 > left()) {
      failed_ = true;
      return Reader("");
    }
    const Reader body(bytes_.substr(at_, length - 2));
    at_ += length - 2;
    return body;
  }
  void Skip(size_t count) {
    failed_ = failed_ || count > left();
    at_ += std::min(count, left());
  }
  void SkipTo(absl::string_view mark) {
    const size_t found = bytes_.find(mark, at_);
    Skip(found == absl::string_view::npos ? left() + 1 : found - at_);
  }
  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }
  bool failed() const { return failed_; }

 private:
  absl::string_view bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

uint64_t UpDiv(uint64_t value, int shift) { return (value + (uint64_t{1} << shift) - 1) >> shift; }

// Of one component; Table A.20.
struct CodingStyle {
  int levels = 0;
  int block_width_log2 = 0, block_height_log2 = 0;
  std::vector<std::array<int, 2>> precincts_log2;  // by resolution: width, height
};

class Scanner {
 public:
  explicit Scanner(absl::string_view bytes) : in_(bytes), bytes_(bytes.size()) {}

  absl::StatusOr<Jpeg2000Stream> Scan() {
    if (in_.Get(2) != kSoc || in_.Get(2) != kSiz) return Broken();
    CSL_RETURN_IF_ERROR(Size(in_.Segment()));
    CSL_RETURN_IF_ERROR(Headers(kSot));
    if (styles_.empty() || layers_ == 0) return Broken();
    CSL_RETURN_IF_ERROR(TileParts());
    CSL_RETURN_IF_ERROR(CheckWork());
    stream_.end = in_.at();
    stream_.reversible = !irreversible_;
    return stream_;
  }

 private:
  absl::Status Size(Reader siz) {
    siz.Get(2);  // capabilities
    const uint64_t right = siz.Get(4), bottom = siz.Get(4);
    left_ = siz.Get(4);
    top_ = siz.Get(4);
    tile_width_ = siz.Get(4);
    tile_height_ = siz.Get(4);
    tiles_left_ = siz.Get(4);
    tiles_top_ = siz.Get(4);
    const uint32_t components = siz.Get(2);
    if (siz.failed() || right <= left_ || bottom <= top_ || tile_width_ == 0 || tile_height_ == 0 ||
        tiles_left_ > left_ || tiles_top_ > top_ || tiles_left_ + tile_width_ <= left_ ||
        tiles_top_ + tile_height_ <= top_) {
      return Broken();
    }
    if (components < 1 || components > 4) return NotCovered();
    stream_.columns = static_cast<uint32_t>(right - left_);
    stream_.rows = static_cast<uint32_t>(bottom - top_);
    stream_.components = static_cast<int>(components);
    right_ = right;
    bottom_ = bottom;
    tiles_across_ = (right - tiles_left_ + tile_width_ - 1) / tile_width_;
    tiles_down_ = (bottom - tiles_top_ + tile_height_ - 1) / tile_height_;
    if (tiles_across_ > kTilesMax || tiles_down_ > kTilesMax ||
        tiles_across_ * tiles_down_ > kTilesMax) {
      return TooMuch();
    }
    tiles_seen_.assign(tiles_across_ * tiles_down_, false);
    const uint64_t pixels = uint64_t{stream_.columns} * stream_.rows;
    if (pixels > kSamplesMax) return TooMuch();
    const uint64_t samples = pixels * components;
    if (samples > kSamplesMax || samples > kSamplesFree + kSamplesPerByteMax * bytes_) {
      return TooMuch();
    }
    return Components(siz);
  }

  absl::Status Components(Reader& siz) {
    const uint32_t first = siz.Get(1);
    for (int i = 0; i < stream_.components; ++i) {
      const uint32_t bits = i == 0 ? first : siz.Get(1);
      if (siz.Get(1) != 1 || siz.Get(1) != 1 || bits != first) return NotCovered();
    }
    if (siz.failed() || siz.left() != 0) return Broken();
    stream_.is_signed = (first & 0x80) != 0;
    stream_.precision = static_cast<int>(first & 0x7F) + 1;
    return stream_.precision <= 16 ? absl::OkStatus() : NotCovered();
  }

  // Marker segments up to `end`, which is read as well.
  absl::Status Headers(Marker end) {
    for (;;) {
      const uint32_t marker = in_.Get(2);
      if (in_.failed()) return Broken();
      if (marker == end) return absl::OkStatus();
      Reader body = in_.Segment();
      if (in_.failed()) return Broken();
      CSL_RETURN_IF_ERROR(Segment(marker, body));
    }
  }

  absl::Status Segment(uint32_t marker, Reader& body) {
    const size_t component_bytes = 1;  // of an index below 257
    switch (marker) {
      case kCod: {
        const uint32_t style = body.Get(1);
        body.Get(1);  // progression order
        layers_ = std::max<uint64_t>(layers_, body.Get(2));
        const uint32_t mix = body.Get(1);
        if (mix > 1) return NotCovered();
        stream_.colours_mixed = stream_.colours_mixed || mix == 1;
        return Style(body, style);
      }
      case kCoc:
        body.Get(component_bytes);
        return Style(body, body.Get(1));
      case kQcd:
        return Quantisation(body);
      case kQcc:
        body.Get(component_bytes);
        return Quantisation(body);
      case kPoc:
        progressions_ += body.left() / 7;
        return absl::OkStatus();
      case kCap:
      case kTlm:
      case kPlm:
      case kPlt:
      case kCpf:
      case kRgn:
      case kPpm:
      case kPpt:
      case kCrg:
      case kCom:
        return absl::OkStatus();
      default:
        return NotCovered();
    }
  }

  absl::Status Style(Reader& body, uint32_t with_precincts) {
    CodingStyle style;
    style.levels = static_cast<int>(body.Get(1));
    style.block_width_log2 = static_cast<int>(body.Get(1)) + 2;
    style.block_height_log2 = static_cast<int>(body.Get(1)) + 2;
    body.Get(1);  // style of the code-blocks
    irreversible_ = body.Get(1) != 1 || irreversible_;
    if (body.failed() || style.levels > 32 || style.block_width_log2 > 10 ||
        style.block_height_log2 > 10 || style.block_width_log2 + style.block_height_log2 > 12) {
      return Broken();
    }
    for (int i = 0; i <= style.levels; ++i) {
      const int packed = (with_precincts & 1) != 0 ? static_cast<int>(body.Get(1)) : 0xFF;
      style.precincts_log2.push_back({packed & 15, packed >> 4});
      // Only the lowest resolution may have precincts of one sample.
      if (i > 0 && ((packed & 15) == 0 || packed >> 4 == 0)) return Broken();
    }
    if (body.failed()) return Broken();
    constexpr size_t kStylesMax = 256;
    styles_.push_back(std::move(style));
    return styles_.size() <= kStylesMax ? absl::OkStatus() : TooMuch();
  }

  absl::Status Quantisation(Reader& body) {
    irreversible_ = (body.Get(1) & 31) != 0 || irreversible_;
    return body.failed() ? Broken() : absl::OkStatus();
  }

  // From behind the first SOT marker to behind EOC.
  absl::Status TileParts() {
    for (;;) {
      const size_t begin = in_.at() - 2;
      Reader sot = in_.Segment();
      const uint32_t tile = sot.Get(2);
      const size_t length = sot.Get(4);
      sot.Get(2);  // number of the tile-part, and of all
      if (in_.failed() || sot.failed() || sot.left() != 0 || tile >= tiles_seen_.size()) {
        return Broken();
      }
      tiles_seen_[tile] = true;
      CSL_RETURN_IF_ERROR(Headers(kSod));
      if (length == 0) {  // of the last tile-part: up to the end
        in_.SkipTo("\xFF\xD9");
      } else if (length < in_.at() - begin) {
        return Broken();
      } else {
        in_.Skip(length - (in_.at() - begin));
      }
      const uint32_t next = in_.Get(2);
      if (next == kEoc) break;
      if (in_.failed() || next != kSot) return Broken();
    }
    const bool whole =
        std::find(tiles_seen_.begin(), tiles_seen_.end(), false) == tiles_seen_.end();
    return whole ? absl::OkStatus() : Broken();
  }

  struct Work {
    uint64_t precincts = 0;
    uint64_t code_blocks = 0;
  };

  // B.6 and B.7: of one component in the tile [x0, x1) x [y0, y1).
  static Work WorkOf(const CodingStyle& style, uint64_t x0, uint64_t y0, uint64_t x1, uint64_t y1) {
    Work work;
    for (int r = 0; r <= style.levels; ++r) {
      const int down = style.levels - r;
      const uint64_t left = UpDiv(x0, down), top = UpDiv(y0, down);
      const uint64_t right = UpDiv(x1, down), bottom = UpDiv(y1, down);
      if (right <= left || bottom <= top) continue;
      const auto [wide, high] = style.precincts_log2[static_cast<size_t>(r)];
      work.precincts +=
          (UpDiv(right, wide) - (left >> wide)) * (UpDiv(bottom, high) - (top >> high));
      // A code-block lies in one precinct of one band; above the lowest resolution a band has half
      // the side of its resolution.
      const int half = r > 0 ? 1 : 0;
      const int across = std::min(style.block_width_log2, wide - half);
      const int along = std::min(style.block_height_log2, high - half);
      const uint64_t blocks = ((UpDiv(right, half) >> across) - ((left >> half) >> across) + 1) *
                              ((UpDiv(bottom, half) >> along) - ((top >> half) >> along) + 1);
      work.code_blocks += blocks * (r > 0 ? 3 : 1);
    }
    return work;
  }

  // Every coding style of the stream is taken for all components of all tiles.
  absl::Status CheckWork() const {
    const auto components = static_cast<uint64_t>(stream_.components);
    uint64_t across_log2 = 63, along_log2 = 63, levels = 0;
    for (const CodingStyle& style : styles_) {
      Work all;
      for (uint64_t tile = 0; tile < tiles_seen_.size(); ++tile) {
        const uint64_t x = tiles_left_ + tile % tiles_across_ * tile_width_;
        const uint64_t y = tiles_top_ + tile / tiles_across_ * tile_height_;
        const Work work =
            WorkOf(style, std::max(x, left_), std::max(y, top_), std::min(x + tile_width_, right_),
                   std::min(y + tile_height_, bottom_));
        all.precincts += work.precincts * components;
        all.code_blocks += work.code_blocks * components;
        if (all.precincts > kPrecinctsMax || all.code_blocks > kCodeBlocksMax) return TooMuch();
      }
      if (all.precincts * layers_ > kPacketsFree + bytes_) return TooMuch();
      levels = std::max<uint64_t>(levels, static_cast<uint64_t>(style.levels) + 1);
      for (int r = 0; r <= style.levels; ++r) {
        const auto [wide, high] = style.precincts_log2[static_cast<size_t>(r)];
        across_log2 =
            std::min<uint64_t>(across_log2, static_cast<uint64_t>(wide + style.levels - r));
        along_log2 = std::min<uint64_t>(along_log2, static_cast<uint64_t>(high + style.levels - r));
      }
    }
    const uint64_t positions = ((uint64_t{stream_.columns} >> across_log2) + tiles_across_ + 1) *
                               ((uint64_t{stream_.rows} >> along_log2) + tiles_down_ + 1);
    const uint64_t steps = positions * levels * components * layers_;
    return steps <= kStepsMax / (progressions_ + 1) ? absl::OkStatus() : TooMuch();
  }

  Reader in_;
  const uint64_t bytes_;
  Jpeg2000Stream stream_;
  uint64_t left_ = 0, top_ = 0, right_ = 0, bottom_ = 0;
  uint64_t tile_width_ = 0, tile_height_ = 0, tiles_left_ = 0, tiles_top_ = 0;
  uint64_t tiles_across_ = 0, tiles_down_ = 0;
  uint64_t layers_ = 0, progressions_ = 0;
  bool irreversible_ = false;
  std::vector<CodingStyle> styles_;
  std::vector<bool> tiles_seen_;
};

// ISO/IEC 15444-1 Annex I. DICOM wants the bare stream (PS3.5 A.4.4); some write the whole file.
absl::StatusOr<size_t> BeginInBoxes(absl::string_view bytes) {
  constexpr uint32_t kSignature = 0x6A502020, kStreamBox = 0x6A703263;
  Reader in(bytes);
  if (in.Get(4) != 12 || in.Get(4) != kSignature) return size_t{0};
  in.Skip(4);
  while (in.left() > 0) {
    const size_t begin = in.at();
    const uint64_t length = in.Get(4);
    const uint32_t type = in.Get(4);
    if (in.failed()) return Broken();
    if (type == kStreamBox && length != 1) return in.at();
    if (length < in.at() - begin || length - (in.at() - begin) > in.left()) return Broken();
    in.Skip(length - (in.at() - begin));
  }
  return Broken();
}

}  // namespace

absl::StatusOr<Jpeg2000Stream> ScanJpeg2000(absl::string_view bytes) {
  CSL_ASSIGN_OR_RETURN(const size_t begin, BeginInBoxes(bytes));
  CSL_ASSIGN_OR_RETURN(Jpeg2000Stream stream, Scanner(bytes.substr(begin)).Scan());
  stream.begin = begin;
  stream.end += begin;
  return stream;
}

}  // namespace consilium::privacy
