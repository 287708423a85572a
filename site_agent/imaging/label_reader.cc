#include "site_agent/imaging/label_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/pixel_reader.h"

namespace consilium::imaging {
namespace {

constexpr double kStepTolerance = 1e-3;  // of a voxel per pixel: orientation and spacing
constexpr double kPlaceTolerance = 0.1;  // of a voxel: where the frame's first pixel lies
constexpr int64_t kFrameBitsMax = int64_t{1} << 36;

// How a SEG file stores its frames.
struct Encoding {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t frames = 0;
  bool is_bits = true;  // BINARY; otherwise FRACTIONAL, a byte per pixel
  double fraction_max = 255;
  int64_t frame_pixels() const { return rows * columns; }
};

// Pixel (column c, row r) of a frame is voxel base + c * along_row + r * along_column.
struct FramePlace {
  std::array<int64_t, 3> base;
  std::array<int64_t, 3> along_row;
  std::array<int64_t, 3> along_column;
};

// Segment number to label value; segments that the plan does not name are absent.
using SegmentLabels = std::map<int64_t, uint8_t>;

bool CodeMatches(DcmItem& segment, const std::string& wanted) {
  if (wanted.empty()) return false;
  DcmItem* code = SequenceItem(segment, DCM_SegmentedPropertyTypeCodeSequence);
  if (code == nullptr) return false;
  return absl::EqualsIgnoreCase(Text(*code, DCM_CodeValue), wanted) ||
         absl::EqualsIgnoreCase(Text(*code, DCM_LongCodeValue), wanted);
}

absl::StatusOr<SegmentLabels> MatchSegments(DcmDataset& dataset, const DicomFile& file,
                                            const std::vector<wire::PlanLabel>& labels) {
  SegmentLabels matched;
  std::set<int> found;
  for (DcmItem* segment : SequenceItems(dataset, DCM_SegmentSequence)) {
    const std::optional<double> number = Number(*segment, DCM_SegmentNumber);
    if (!number) return file.Fault("a segment without a number");
    const std::string name = Text(*segment, DCM_SegmentLabel);
    auto label = std::find_if(labels.begin(), labels.end(), [&](const wire::PlanLabel& wanted) {
      return absl::EqualsIgnoreCase(name, wanted.name);
    });
    if (label == labels.end()) {
      label = std::find_if(labels.begin(), labels.end(), [&](const wire::PlanLabel& wanted) {
        return CodeMatches(*segment, wanted.code);
      });
    }
    if (label == labels.end()) continue;
    matched[static_cast<int64_t>(*number)] = static_cast<uint8_t>(label->value);
    found.insert(label->value);
  }
  for (const wire::PlanLabel& label : labels) {
    if (found.contains(label.value)) continue;
    return absl::NotFoundError(absl::StrCat("no segment for label \"", label.name, "\""));
  }
  return matched;
}

absl::StatusOr<Encoding> ReadEncoding(DcmDataset& dataset, const DicomFile& file) {
  Encoding encoding;
  encoding.rows = static_cast<int64_t>(Number(dataset, DCM_Rows).value_or(0));
  encoding.columns = static_cast<int64_t>(Number(dataset, DCM_Columns).value_or(0));
  const double frames = Number(dataset, DCM_NumberOfFrames).value_or(0);
  if (encoding.rows < 1 || encoding.columns < 1 || encoding.rows > 65535 ||
      encoding.columns > 65535 || frames < 1 || frames > 1e7) {
    return file.Fault("no rows, columns or frames");
  }
  encoding.frames = static_cast<int64_t>(frames);
  const std::string type = Text(dataset, DCM_SegmentationType);
  const double allocated = Number(dataset, DCM_BitsAllocated).value_or(0);
  if (type == "FRACTIONAL" && allocated == 8) {
    encoding.is_bits = false;
    encoding.fraction_max =
        std::max(1.0, Number(dataset, DCM_MaximumFractionalValue).value_or(255));
  } else if (type != "BINARY" || allocated != 1) {
    return file.Fault("a segmentation that is neither BINARY of 1 bit nor FRACTIONAL of 8");
  }
  if (encoding.frames > kFrameBitsMax / encoding.frame_pixels()) {
    return file.Fault("more pixels than a mask can have");
  }
  return encoding;
}

// Coordinates of a patient vector along the grid's axes, in voxels.
std::array<double, 3> ToVoxels(const Geometry& grid, const std::array<double, 3>& mm) {
  std::array<double, 3> voxels = {0, 0, 0};
  for (int axis = 0; axis < 3; ++axis) {
    for (int row = 0; row < 3; ++row) voxels[axis] += grid.direction[3 * row + axis] * mm[row];
    voxels[axis] /= grid.spacing_xyz_mm[axis];
  }
  return voxels;
}

// Rounds to whole voxels, or nothing where that changes a component by more than `tolerance`.
std::optional<std::array<int64_t, 3>> Whole(const std::array<double, 3>& voxels, double tolerance) {
  std::array<int64_t, 3> whole;
  for (int axis = 0; axis < 3; ++axis) {
    if (!(std::abs(voxels[axis]) < 1e9)) return std::nullopt;
    whole[axis] = std::llround(voxels[axis]);
    if (std::abs(voxels[axis] - static_cast<double>(whole[axis])) > tolerance) return std::nullopt;
  }
  return whole;
}

class FrameLocator {
 public:
  FrameLocator(DcmDataset& dataset, const DicomFile& file, const Encoding& encoding,
               const Geometry& grid)
      : file_(file),
        encoding_(encoding),
        grid_(grid),
        shared_(SequenceItem(dataset, DCM_SharedFunctionalGroupsSequence)) {}

  absl::StatusOr<FramePlace> Locate(DcmItem& groups) const {
    const std::vector<double> orientation =
        FromGroup(groups, DCM_PlaneOrientationSequence, DCM_ImageOrientationPatient);
    const std::vector<double> position =
        FromGroup(groups, DCM_PlanePositionSequence, DCM_ImagePositionPatient);
    if (orientation.size() != 6 || position.size() != 3) {
      return file_.Fault("a frame without position or orientation");
    }
    const std::vector<double> spacing =
        FromGroup(groups, DCM_PixelMeasuresSequence, DCM_PixelSpacing);
    if (spacing.size() != 2) return file_.Fault("a frame without pixel spacing");
    std::array<double, 3> row_mm, column_mm, offset_mm;
    for (int i = 0; i < 3; ++i) {
      row_mm[i] = orientation[i] * spacing[1];
      column_mm[i] = orientation[3 + i] * spacing[0];
      offset_mm[i] = position[i] - grid_.origin_lps_mm[i];
    }
    const auto along_row = Whole(ToVoxels(grid_, row_mm), kStepTolerance);
    const auto along_column = Whole(ToVoxels(grid_, column_mm), kStepTolerance);
    if (!along_row || !along_column) {
      return file_.Fault("a frame of another orientation or pixel spacing than the image");
    }
    const auto base = Whole(ToVoxels(grid_, offset_mm), kPlaceTolerance);
    if (!base) return file_.Fault("a frame that lies on no slice of the image");
    const FramePlace place{*base, *along_row, *along_column};
    CSL_RETURN_IF_ERROR(CheckExtent(place));
    return place;
  }

 private:
  std::vector<double> FromGroup(DcmItem& groups, const DcmTagKey& macro,
                                const DcmTagKey& key) const {
    DcmItem* found = SequenceItem(groups, macro);
    if (found == nullptr && shared_ != nullptr) found = SequenceItem(*shared_, macro);
    return found == nullptr ? std::vector<double>() : Numbers(*found, key);
  }

  // A frame covers one plane of the grid exactly: each of its sides one axis, from end to end.
  absl::Status CheckExtent(const FramePlace& place) const {
    int row_axis = -1, column_axis = -1;
    for (int axis = 0; axis < 3; ++axis) {
      if (std::abs(place.along_row[axis]) == 1) row_axis = row_axis == -1 ? axis : -2;
      if (std::abs(place.along_column[axis]) == 1) column_axis = column_axis == -1 ? axis : -2;
      if (std::abs(place.along_row[axis]) > 1 || std::abs(place.along_column[axis]) > 1) {
        return file_.Fault("a frame of another pixel spacing than the image");
      }
    }
    if (row_axis < 0 || column_axis < 0 || row_axis == column_axis) {
      return file_.Fault("a frame of another orientation than the image");
    }
    if (grid_.size_xyz[row_axis] != encoding_.columns ||
        grid_.size_xyz[column_axis] != encoding_.rows) {
      return file_.Fault("a frame of another matrix size than the image");
    }
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t last = place.base[axis] + place.along_row[axis] * (encoding_.columns - 1) +
                           place.along_column[axis] * (encoding_.rows - 1);
      if (std::min(place.base[axis], last) < 0 ||
          std::max(place.base[axis], last) >= grid_.size_xyz[axis]) {
        return file_.Fault("a frame that lies on no slice of the image");
      }
    }
    return absl::OkStatus();
  }

  const DicomFile& file_;
  const Encoding& encoding_;
  const Geometry& grid_;
  DcmItem* const shared_;
};

// Frames follow each other bit by bit, least significant first, without filling up a byte
// (PS3.5 8.1.1).
bool IsInside(const std::string& pixels, const Encoding& encoding, int64_t index) {
  if (encoding.is_bits) return pixels[static_cast<size_t>(index / 8)] >> (index % 8) & 1;
  return 2.0 * static_cast<unsigned char>(pixels[static_cast<size_t>(index)]) >=
         encoding.fraction_max;
}

void PaintFrame(const std::string& pixels, const Encoding& encoding, int64_t frame,
                const FramePlace& place, uint8_t value, LabelVolume& labels) {
  const auto& size = labels.geometry.size_xyz;
  const auto flat = [&](const std::array<int64_t, 3>& at) {
    return at[0] + size[0] * (at[1] + size[1] * at[2]);
  };
  const int64_t start = flat(place.base), step_c = flat(place.along_row),
                step_r = flat(place.along_column);
  int64_t index = frame * encoding.frame_pixels();
  for (int64_t r = 0; r < encoding.rows; ++r) {
    for (int64_t c = 0; c < encoding.columns; ++c, ++index) {
      if (!IsInside(pixels, encoding, index)) continue;
      uint8_t& voxel = labels.voxels[static_cast<size_t>(start + c * step_c + r * step_r)];
      voxel = std::max(voxel, value);
    }
  }
}

absl::StatusOr<int64_t> SegmentOfFrame(DcmItem& groups, DcmItem* shared, const DicomFile& file) {
  DcmItem* segment = SequenceItem(groups, DCM_SegmentIdentificationSequence);
  if (segment == nullptr && shared != nullptr) {
    segment = SequenceItem(*shared, DCM_SegmentIdentificationSequence);
  }
  if (segment != nullptr) {
    if (const std::optional<double> number = Number(*segment, DCM_ReferencedSegmentNumber)) {
      return static_cast<int64_t>(*number);
    }
  }
  return file.Fault("a frame that belongs to no segment");
}

}  // namespace

absl::StatusOr<LabelVolume> ReadSegmentation(const std::string& path, const Geometry& grid,
                                             const std::vector<wire::PlanLabel>& labels) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  if (Text(*dataset, DCM_SOPClassUID) != kSegmentationStorageUid) {
    return file.Fault("not a DICOM segmentation");
  }
  CSL_ASSIGN_OR_RETURN(const SegmentLabels segments, MatchSegments(*dataset, file, labels));
  CSL_ASSIGN_OR_RETURN(const Encoding encoding, ReadEncoding(*dataset, file));
  const std::vector<DcmItem*> per_frame =
      SequenceItems(*dataset, DCM_PerFrameFunctionalGroupsSequence);
  if (static_cast<int64_t>(per_frame.size()) != encoding.frames) {
    return file.Fault("a number of frames that differs from its functional groups");
  }
  const int64_t pixels_wanted = encoding.frames * encoding.frame_pixels();
  CSL_ASSIGN_OR_RETURN(
      const std::string pixels,
      ReadPixelBytes(
          file, static_cast<uint64_t>(encoding.is_bits ? (pixels_wanted + 7) / 8 : pixels_wanted)));
  LabelVolume out{grid, std::vector<uint8_t>(static_cast<size_t>(grid.voxels()))};
  DcmItem* shared = SequenceItem(*dataset, DCM_SharedFunctionalGroupsSequence);
  const FrameLocator locator(*dataset, file, encoding, grid);
  for (int64_t frame = 0; frame < encoding.frames; ++frame) {
    DcmItem& groups = *per_frame[static_cast<size_t>(frame)];
    CSL_ASSIGN_OR_RETURN(const int64_t segment, SegmentOfFrame(groups, shared, file));
    const auto label = segments.find(segment);
    if (label == segments.end()) continue;
    CSL_ASSIGN_OR_RETURN(const FramePlace place, locator.Locate(groups));
    PaintFrame(pixels, encoding, frame, place, label->second, out);
  }
  return out;
}

}  // namespace consilium::imaging
