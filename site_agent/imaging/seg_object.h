// A DICOM SEG or Label Map Segmentation object, its frames placed on an image's grid.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SEG_OBJECT_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SEG_OBJECT_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/volume.h"

namespace consilium::imaging {

// What SegmentationType says of the pixels (PS3.3 C.8.20.2, C.8.20.5 for label maps).
enum class SegEncoding { kBits, kFraction, kLabelMap };

struct SegSegment {
  int64_t number = 0;
  std::string name;
  std::string code;
  std::string code_scheme;
};

// Immutable. Frames may be sparse, overlapping and in any order, and stored in the image's
// orientation or any flip or permutation of its axes.
class SegObject {
 public:
  // INVALID_ARGUMENT: not a segmentation, broken, or of a kind that is not BINARY of 1 bit,
  // FRACTIONAL of 8 or LABELMAP of 8 or 16.
  static absl::StatusOr<SegObject> Open(const std::string& path);
  SegObject(SegObject&&) noexcept;
  ~SegObject();

  // By their place in the file; the background of a label map is not among them.
  const std::vector<SegSegment>& segments() const { return segments_; }

  // Calls `inside(number, index)` for every voxel of `grid` (index as VolumeOf::voxels) that the
  // segments of `wanted` cover; fractions count from half of their maximum.
  // INVALID_ARGUMENT: a frame of a wanted segment that lies off the grid by more than 0.1 voxel,
  // or has another matrix, orientation or spacing; the words give the distance.
  absl::Status Visit(const Geometry& grid, const std::set<int64_t>& wanted,
                     absl::FunctionRef<void(int64_t number, size_t index)> inside) const;

 private:
  SegObject(DicomFile file, std::unique_ptr<DcmDataset> dataset);
  absl::Status ReadEncoding();
  absl::Status ReadSegments();
  absl::StatusOr<int64_t> SegmentOfFrame(DcmItem& groups) const;
  uint64_t PixelBytes() const;
  int64_t frame_pixels() const { return rows_ * columns_; }

  DicomFile file_;
  std::unique_ptr<DcmDataset> dataset_;
  std::vector<DcmItem*> per_frame_;  // of dataset_
  DcmItem* shared_ = nullptr;
  std::vector<SegSegment> segments_;
  SegEncoding encoding_ = SegEncoding::kBits;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  int64_t frames_ = 0;
  int bytes_per_pixel_ = 1;  // label maps
  double fraction_max_ = 255;
};

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SEG_OBJECT_H_
