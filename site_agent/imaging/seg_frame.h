// Where one frame of a segmentation lies on an image's grid.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SEG_FRAME_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SEG_FRAME_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "site_agent/imaging/volume.h"

class DcmItem;

namespace consilium::imaging {

// Pixel (column c, row r) of a frame is voxel base + c * along_row + r * along_column.
struct FramePlace {
  std::array<int64_t, 3> base;
  std::array<int64_t, 3> along_row;
  std::array<int64_t, 3> along_column;
};

// From the frame's own functional groups, and `shared` (may be null) where they say nothing.
// INVALID_ARGUMENT: the frame is not exactly one plane of the grid.
absl::StatusOr<FramePlace> LocateFrame(DcmItem& groups, DcmItem* shared, int64_t rows,
                                       int64_t columns, const Geometry& grid);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SEG_FRAME_H_
