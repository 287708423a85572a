#include "privacy/deid/dicom_scan.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint32_t kUndefinedLength = 0xFFFFFFFFu;
constexpr uint32_t kItem = 0xFFFEE000u;
constexpr uint32_t kItemEnd = 0xFFFEE00Du;
constexpr uint32_t kSequenceEnd = 0xFFFEE0DDu;
constexpr uint32_t kPixelData = 0x7FE00010u;
constexpr const char* kImplicitLittleUid = "1.2.840.10008.1.2";
constexpr const char* kExplicitLittleUid = "1.2.840.10008.1.2.1";

// Value representations with a 16-bit length, and with 16 reserved bits and a 32-bit length
// (PS3.5 7.1.2).
constexpr absl::string_view kShortVrs = "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS";
constexpr absl::string_view kLongVrs = "OBODOFOLOVOWSQSVUCUNURUTUV";

enum class VrKind : uint8_t { kUnknown, kShort, kLong };

// By the two letters, of which each may be A to Z.
class VrTable {
 public:
  constexpr VrTable() {
    Add(kShortVrs, VrKind::kShort);
    Add(kLongVrs, VrKind::kLong);
  }
  VrKind operator[](absl::string_view vr) const {
    if (vr.size() != 2 || !IsLetter(vr[0]) || !IsLetter(vr[1])) return VrKind::kUnknown;
    return kinds_[Place(vr[0], vr[1])];
  }

 private:
  static constexpr bool IsLetter(char c) { return c >= 'A' && c <= 'Z'; }
  static constexpr size_t Place(char first, char second) {
    return static_cast<size_t>((first - 'A') * 26 + (second - 'A'));
  }
  constexpr void Add(absl::string_view vrs, VrKind kind) {
    for (size_t i = 0; i < vrs.size(); i += 2) kinds_[Place(vrs[i], vrs[i + 1])] = kind;
  }
  std::array<VrKind, 26 * 26> kinds_{};
};
constexpr VrTable kVrs;

absl::Status Fault(absl::string_view words) { return absl::InvalidArgumentError(words); }

// "Too deep" has to be told from other faults: see Walker::Elements on implicit encoding.
absl::Status TooDeep() { return absl::ResourceExhaustedError("sequences nested deeper than 64"); }

struct Element {
  uint32_t tag = 0;
  absl::string_view vr;  // empty in implicit encoding
  uint32_t length = 0;
};

class Walker {
 public:
  // `behind`: bytes that follow `data`, for native pixels alone.
  Walker(absl::string_view data, DicomEncoding encoding, uint64_t behind = 0)
      : data_(data), behind_(behind), big_endian_(encoding == DicomEncoding::kExplicitBig) {}

  absl::Status Top(bool explicit_vr, DicomLayout& layout) {
    uint64_t pos = 0;
    layout_ = &layout;
    layout.header_bytes = layout.end = data_.size();
    return Elements(pos, data_.size(), 0, explicit_vr, /*delimited=*/false);
  }

  absl::StatusOr<Element> ReadElement(uint64_t& pos, uint64_t end, bool explicit_vr) const {
    if (end - pos < 8) return Fault("an element header is cut short");
    Element element;
    element.tag = Tag(pos);
    if (element.tag >> 16 == 0xFFFE || !explicit_vr) {
      element.length = U32(pos + 4);
      pos += 8;
      return element;
    }
    element.vr = data_.substr(pos + 4, 2);
    const VrKind kind = kVrs[element.vr];
    if (kind == VrKind::kShort) {
      element.length = U16(pos + 6);
      pos += 8;
    } else if (kind == VrKind::kLong) {
      if (end - pos < 12) return Fault("an element header is cut short");
      element.length = U32(pos + 8);
      pos += 12;
    } else {
      return Fault("an element has no known value representation");
    }
    return element;
  }

 private:
  uint16_t U16(uint64_t pos) const {
    const auto* p = reinterpret_cast<const unsigned char*>(data_.data()) + pos;
    return static_cast<uint16_t>(big_endian_ ? p[0] << 8 | p[1] : p[1] << 8 | p[0]);
  }
  uint32_t U32(uint64_t pos) const {
    const uint32_t first = U16(pos), second = U16(pos + 2);
    return big_endian_ ? first << 16 | second : second << 16 | first;
  }
  uint32_t Tag(uint64_t pos) const { return static_cast<uint32_t>(U16(pos)) << 16 | U16(pos + 2); }

  absl::Status Elements(uint64_t& pos, uint64_t end, int depth, bool explicit_vr, bool delimited) {
    while (pos < end) {
      if (++elements_ > kElementsMax) return Fault("more than two million elements");
      const uint64_t start = pos;
      CSL_ASSIGN_OR_RETURN(const Element element, ReadElement(pos, end, explicit_vr));
      if (element.tag == kItemEnd && delimited) return absl::OkStatus();
      if (element.tag >> 16 == 0xFFFE) return Fault("a delimiter outside its sequence");
      if (depth == 0 && element.tag == kPixelData) return PixelData(start, pos, element);
      if (depth == 0) CSL_RETURN_IF_ERROR(Record(element, start));
      CSL_RETURN_IF_ERROR(Value(pos, end, depth, explicit_vr, element));
    }
    return delimited ? Fault("a sequence item is never closed") : absl::OkStatus();
  }

  // A second copy would be judged by nobody: libraries keep the one or the other.
  absl::Status Record(const Element& element, uint64_t start) {
    if (!tags_.insert(element.tag).second) return Fault("an attribute is there twice");
    TopElement& top = layout_->elements.emplace_back();
    top.tag = element.tag;
    top.begin = start;
    element.vr.copy(top.vr, 2);
    return absl::OkStatus();
  }

  absl::Status Value(uint64_t& pos, uint64_t end, int depth, bool explicit_vr,
                     const Element& element) {
    if (element.length == kUndefinedLength) {
      if (element.tag == kPixelData || element.vr == "OB" || element.vr == "OW") {
        return Fragments(pos, end, nullptr);
      }
      if (explicit_vr && element.vr == "UN") {
        // PS3.5 6.2.2 note 2: the items of such an element are implicit little endian.
        if (big_endian_) return Fault("an unknown sequence in big endian encoding");
        return Sequence(pos, end, depth + 1, /*explicit_vr=*/false, /*delimited=*/true);
      }
      if (explicit_vr && element.vr != "SQ") return Fault("an undefined length outside a sequence");
      return Sequence(pos, end, depth + 1, explicit_vr, /*delimited=*/true);
    }
    if (element.length > end - pos) return Fault("a length runs beyond the file");
    const uint64_t after = pos + element.length;
    if (explicit_vr && element.vr == "SQ") {
      CSL_RETURN_IF_ERROR(Sequence(pos, after, depth + 1, explicit_vr, /*delimited=*/false));
    } else if (!explicit_vr && element.length >= 8 && Tag(pos) == kItem) {
      // Implicit encoding does not say whether this is a sequence, and DCMTK's dictionary might:
      // the depth counts either way, other faults only mean that it is not one.
      uint64_t inner = pos;
      const absl::Status status = Sequence(inner, after, depth + 1, false, /*delimited=*/false);
      if (absl::IsResourceExhausted(status)) return status;
    }
    pos = after;
    return absl::OkStatus();
  }

  absl::Status Sequence(uint64_t& pos, uint64_t end, int depth, bool explicit_vr, bool delimited) {
    if (depth > kSequenceDepthMax) return TooDeep();
    while (pos < end) {
      if (++elements_ > kElementsMax) return Fault("more than two million elements");
      CSL_ASSIGN_OR_RETURN(const Element item, ReadElement(pos, end, explicit_vr));
      if (item.tag == kSequenceEnd && delimited) return absl::OkStatus();
      if (item.tag != kItem) return Fault("something else than an item in a sequence");
      if (item.length == kUndefinedLength) {
        CSL_RETURN_IF_ERROR(Elements(pos, end, depth, explicit_vr, /*delimited=*/true));
        continue;
      }
      if (item.length > end - pos) return Fault("an item runs beyond its sequence");
      CSL_RETURN_IF_ERROR(
          Elements(pos, pos + item.length, depth, explicit_vr, /*delimited=*/false));
    }
    return delimited ? Fault("a sequence is never closed") : absl::OkStatus();
  }

  absl::Status Fragments(uint64_t& pos, uint64_t end,
                         std::vector<std::pair<uint64_t, uint64_t>>* found) {
    while (pos < end) {
      if (++elements_ > kElementsMax) return Fault("more than two million elements");
      CSL_ASSIGN_OR_RETURN(const Element item, ReadElement(pos, end, /*explicit_vr=*/false));
      if (item.tag == kSequenceEnd) return absl::OkStatus();
      if (item.tag != kItem) return Fault("something else than a fragment in the pixel data");
      if (item.length > end - pos) return Fault("a pixel fragment runs beyond the file");
      if (found != nullptr) found->emplace_back(pos, item.length);
      pos += item.length;
    }
    return Fault("the pixel data is never closed");
  }

  absl::Status PixelData(uint64_t start, uint64_t& pos, const Element& element) {
    layout_->header_bytes = start;
    layout_->has_pixels = true;
    layout_->pixel_offset = pos;
    if (element.length == kUndefinedLength) {
      layout_->encapsulated = true;
      CSL_RETURN_IF_ERROR(Fragments(pos, data_.size(), &layout_->fragments));
    } else {
      if (element.length > data_.size() - pos + behind_) {
        return Fault("the pixel data runs beyond the file");
      }
      pos += element.length;
      layout_->pixel_bytes = element.length;
    }
    layout_->end = pos;
    return absl::OkStatus();
  }

  const absl::string_view data_;
  const uint64_t behind_;
  const bool big_endian_;
  int64_t elements_ = 0;
  absl::flat_hash_set<uint32_t> tags_;  // of the data set itself
  DicomLayout* layout_ = nullptr;
};

bool StartsWithGroup(absl::string_view bytes, unsigned char group) {
  return bytes.size() >= 8 && static_cast<unsigned char>(bytes[0]) == group && bytes[1] == 0;
}

// Without a meta group only the two uncompressed little endian encodings are possible.
absl::StatusOr<DicomPreamble> GuessEncoding(absl::string_view file) {
  DicomPreamble preamble;
  const absl::string_view vr = file.substr(4, 2);
  preamble.transfer_syntax_uid =
      kVrs[vr] == VrKind::kUnknown ? kImplicitLittleUid : kExplicitLittleUid;
  return preamble;
}

}  // namespace

absl::StatusOr<DicomPreamble> ScanPreamble(absl::string_view file) {
  uint64_t pos = 0;
  if (file.size() >= 132 && file.substr(128, 4) == "DICM") {
    pos = 132;
  } else if (StartsWithGroup(file, 0x08)) {
    return GuessEncoding(file);
  } else if (!StartsWithGroup(file, 0x02)) {
    return Fault("not DICOM");
  }
  const Walker walker(file, DicomEncoding::kExplicitLittle);
  DicomPreamble preamble;
  while (file.size() - pos >= 8 && StartsWithGroup(file.substr(pos), 0x02)) {
    CSL_ASSIGN_OR_RETURN(const Element element, walker.ReadElement(pos, file.size(), true));
    if (element.length > file.size() - pos) return Fault("a length runs beyond the file");
    if (element.tag == 0x00020010u) {
      absl::string_view value = file.substr(pos, element.length);
      while (!value.empty() && (value.back() == '\0' || value.back() == ' ')) {
        value.remove_suffix(1);
      }
      preamble.transfer_syntax_uid = std::string(value);
    }
    pos += element.length;
  }
  if (file.size() - pos < 8) return Fault("no data set");
  if (preamble.transfer_syntax_uid.empty()) return Fault("no transfer syntax");
  preamble.dataset_offset = pos;
  return preamble;
}

absl::StatusOr<DicomLayout> ScanDataset(absl::string_view dataset, DicomEncoding encoding) {
  DicomLayout layout;
  Walker walker(dataset, encoding);
  const absl::Status status = walker.Top(encoding != DicomEncoding::kImplicitLittle, layout);
  if (absl::IsResourceExhausted(status)) return Fault(status.message());
  if (!status.ok()) return status;
  return layout;
}

std::optional<DicomLayout> ScanHead(absl::string_view head, uint64_t behind,
                                    DicomEncoding encoding) {
  DicomLayout layout;
  Walker walker(head, encoding, behind);
  const bool good = walker.Top(encoding != DicomEncoding::kImplicitLittle, layout).ok();
  if (!good || !layout.has_pixels || layout.encapsulated) return std::nullopt;
  return layout;
}

}  // namespace consilium::privacy
