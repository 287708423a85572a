#include "site_agent/imaging/seg_object.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/pixel_reader.h"
#include "site_agent/imaging/seg_frame.h"

namespace consilium::imaging {
namespace {

constexpr int64_t kFrameBitsMax = int64_t{1} << 36;

SegSegment ReadSegment(DcmItem& item, int64_t number) {
  SegSegment segment{number, Text(item, DCM_SegmentLabel), "", ""};
  if (DcmItem* code = SequenceItem(item, DCM_SegmentedPropertyTypeCodeSequence)) {
    segment.code = Text(*code, DCM_CodeValue);
    if (segment.code.empty()) segment.code = Text(*code, DCM_LongCodeValue);
    segment.code_scheme = Text(*code, DCM_CodingSchemeDesignator);
  }
  return segment;
}

}  // namespace

SegObject::SegObject(DicomFile file, std::unique_ptr<DcmDataset> dataset)
    : file_(std::move(file)), dataset_(std::move(dataset)) {}
SegObject::SegObject(SegObject&&) noexcept = default;
SegObject::~SegObject() = default;

absl::StatusOr<SegObject> SegObject::Open(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  SegObject object(std::move(file), std::move(dataset));
  const std::string sop_class = Text(*object.dataset_, DCM_SOPClassUID);
  if (sop_class != kSegmentationStorageUid && sop_class != kLabelMapStorageUid) {
    return absl::InvalidArgumentError("not a DICOM segmentation");
  }
  CSL_RETURN_IF_ERROR(object.ReadEncoding());
  CSL_RETURN_IF_ERROR(object.ReadSegments());
  return object;
}

absl::Status SegObject::ReadEncoding() {
  DcmDataset& dataset = *dataset_;
  rows_ = static_cast<int64_t>(Number(dataset, DCM_Rows).value_or(0));
  columns_ = static_cast<int64_t>(Number(dataset, DCM_Columns).value_or(0));
  const double frames = Number(dataset, DCM_NumberOfFrames).value_or(0);
  if (rows_ < 1 || columns_ < 1 || rows_ > 65535 || columns_ > 65535 || frames < 1 ||
      frames > 1e7) {
    return file_.Fault("no rows, columns or frames");
  }
  frames_ = static_cast<int64_t>(frames);
  const std::string type = Text(dataset, DCM_SegmentationType);
  const double allocated = Number(dataset, DCM_BitsAllocated).value_or(0);
  if (type == "FRACTIONAL" && allocated == 8) {
    encoding_ = SegEncoding::kFraction;
    fraction_max_ = std::max(1.0, Number(dataset, DCM_MaximumFractionalValue).value_or(255));
  } else if (type == "LABELMAP" && (allocated == 8 || allocated == 16)) {
    encoding_ = SegEncoding::kLabelMap;
    bytes_per_pixel_ = allocated == 8 ? 1 : 2;
    if (file_.encoding() == privacy::DicomEncoding::kExplicitBig) {
      return file_.Fault("a label map in big endian, which is not supported");
    }
  } else if (type != "BINARY" || allocated != 1) {
    return file_.Fault(
        "a segmentation that is neither BINARY of 1 bit, FRACTIONAL of 8 nor LABELMAP of 8 or 16");
  }
  if (frames_ > kFrameBitsMax / frame_pixels()) {
    return file_.Fault("more pixels than a mask can have");
  }
  per_frame_ = SequenceItems(dataset, DCM_PerFrameFunctionalGroupsSequence);
  shared_ = SequenceItem(dataset, DCM_SharedFunctionalGroupsSequence);
  if (static_cast<int64_t>(per_frame_.size()) != frames_) {
    return file_.Fault("a number of frames that differs from its functional groups");
  }
  return absl::OkStatus();
}

absl::Status SegObject::ReadSegments() {
  std::set<int64_t> seen;
  for (DcmItem* item : SequenceItems(*dataset_, DCM_SegmentSequence)) {
    const std::optional<double> number = Number(*item, DCM_SegmentNumber);
    if (!number || *number < 0 || *number > 65535) {
      return file_.Fault("a segment without a number");
    }
    const auto value = static_cast<int64_t>(*number);
    if (!seen.insert(value).second) return file_.Fault("two segments of one number");
    // Segment 0 of a label map is its background (PS3.3 C.8.20.5).
    if (encoding_ == SegEncoding::kLabelMap && value == 0) continue;
    segments_.push_back(ReadSegment(*item, value));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> SegObject::SegmentOfFrame(DcmItem& groups) const {
  DcmItem* segment = SequenceItem(groups, DCM_SegmentIdentificationSequence);
  if (segment == nullptr && shared_ != nullptr) {
    segment = SequenceItem(*shared_, DCM_SegmentIdentificationSequence);
  }
  if (segment != nullptr) {
    if (const std::optional<double> number = Number(*segment, DCM_ReferencedSegmentNumber)) {
      return static_cast<int64_t>(*number);
    }
  }
  return file_.Fault("a frame that belongs to no segment");
}

uint64_t SegObject::PixelBytes() const {
  const auto pixels = static_cast<uint64_t>(frames_ * frame_pixels());
  if (encoding_ == SegEncoding::kBits) return (pixels + 7) / 8;
  return encoding_ == SegEncoding::kLabelMap ? pixels * static_cast<uint64_t>(bytes_per_pixel_)
                                             : pixels;
}

absl::Status SegObject::Visit(const Geometry& grid, const std::set<int64_t>& wanted,
                              absl::FunctionRef<void(int64_t number, size_t index)> inside) const {
  CSL_ASSIGN_OR_RETURN(const std::string pixels, ReadPixelBytes(file_, PixelBytes()));
  // Bits follow each other without filling up a byte, least significant first (PS3.5 8.1.1).
  const auto value_at = [&](int64_t pixel, int64_t segment) -> int64_t {
    const auto at = static_cast<size_t>(pixel);
    if (encoding_ == SegEncoding::kBits)
      return (pixels[at / 8] >> (at % 8) & 1) != 0 ? segment : -1;
    if (encoding_ == SegEncoding::kFraction) {
      return 2.0 * static_cast<unsigned char>(pixels[at]) >= fraction_max_ ? segment : -1;
    }
    if (bytes_per_pixel_ == 1) return static_cast<unsigned char>(pixels[at]);
    uint16_t value;
    std::memcpy(&value, pixels.data() + 2 * at, sizeof(value));
    return value;
  };
  const auto& size = grid.size_xyz;
  const auto flat = [&](const std::array<int64_t, 3>& at) {
    return at[0] + size[0] * (at[1] + size[1] * at[2]);
  };
  for (int64_t frame = 0; frame < frames_; ++frame) {
    DcmItem& groups = *per_frame_[static_cast<size_t>(frame)];
    int64_t segment = -1;
    if (encoding_ != SegEncoding::kLabelMap) {
      CSL_ASSIGN_OR_RETURN(segment, SegmentOfFrame(groups));
      if (!wanted.contains(segment)) continue;
    }
    CSL_ASSIGN_OR_RETURN(const FramePlace place,
                         LocateFrame(groups, shared_, rows_, columns_, grid));
    const int64_t start = flat(place.base), step_c = flat(place.along_row),
                  step_r = flat(place.along_column);
    int64_t pixel = frame * frame_pixels();
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < columns_; ++c, ++pixel) {
        const int64_t value = value_at(pixel, segment);
        if (value < 0 || (encoding_ == SegEncoding::kLabelMap && !wanted.contains(value))) continue;
        inside(value, static_cast<size_t>(start + c * step_c + r * step_r));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace consilium::imaging
