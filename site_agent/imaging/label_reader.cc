#include "site_agent/imaging/label_reader.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "site_agent/imaging/seg_object.h"

namespace consilium::imaging {
namespace {

// Segment number to label value; segments that the plan does not name are absent.
absl::StatusOr<std::map<int64_t, uint8_t>> MatchSegments(
    const std::vector<SegSegment>& segments, const std::vector<wire::PlanLabel>& labels) {
  std::map<int64_t, uint8_t> matched;
  std::set<int> found;
  for (const SegSegment& segment : segments) {
    auto label = std::find_if(labels.begin(), labels.end(), [&](const wire::PlanLabel& wanted) {
      return absl::EqualsIgnoreCase(segment.name, wanted.name);
    });
    if (label == labels.end()) {
      label = std::find_if(labels.begin(), labels.end(), [&](const wire::PlanLabel& wanted) {
        return !wanted.code.empty() && absl::EqualsIgnoreCase(segment.code, wanted.code);
      });
    }
    if (label == labels.end()) continue;
    matched[segment.number] = static_cast<uint8_t>(label->value);
    found.insert(label->value);
  }
  for (const wire::PlanLabel& label : labels) {
    if (found.contains(label.value)) continue;
    return absl::NotFoundError(absl::StrCat("no segment for label \"", label.name, "\""));
  }
  return matched;
}

}  // namespace

absl::StatusOr<LabelVolume> ReadSegmentation(const std::string& path, const Geometry& grid,
                                             const std::vector<wire::PlanLabel>& labels) {
  CSL_ASSIGN_OR_RETURN(const SegObject object, SegObject::Open(path));
  CSL_ASSIGN_OR_RETURN(const auto matched, MatchSegments(object.segments(), labels));
  std::set<int64_t> wanted;
  for (const auto& [number, value] : matched) wanted.insert(number);
  LabelVolume out{grid, std::vector<uint8_t>(static_cast<size_t>(grid.voxels()))};
  CSL_RETURN_IF_ERROR(object.Visit(grid, wanted, [&](int64_t number, size_t index) {
    out.voxels[index] = std::max(out.voxels[index], matched.at(number));
  }));
  return out;
}

absl::StatusOr<std::vector<LabelSegment>> ReadSegments(const std::string& path,
                                                       const Geometry& grid) {
  CSL_ASSIGN_OR_RETURN(const SegObject object, SegObject::Open(path));
  const std::vector<SegSegment>& listed = object.segments();
  if (listed.empty()) return absl::InvalidArgumentError("no segments");
  if (listed.size() > kSegmentsMax) return absl::InvalidArgumentError("too many segments");
  if (grid.voxels() > kSegmentVoxelsMax / static_cast<int64_t>(listed.size())) {
    return absl::ResourceExhaustedError("more masks than can be held");
  }
  std::vector<LabelSegment> segments;
  std::map<int64_t, size_t> place;
  std::set<int64_t> wanted;
  for (const SegSegment& segment : listed) {
    place[segment.number] = segments.size();
    wanted.insert(segment.number);
    segments.push_back({segment.name, segment.code, segment.code_scheme,
                        std::vector<bool>(static_cast<size_t>(grid.voxels())), 0, 0});
  }
  const double voxel_ml = VoxelMl(grid);
  CSL_RETURN_IF_ERROR(object.Visit(grid, wanted, [&](int64_t number, size_t index) {
    LabelSegment& segment = segments[place.at(number)];
    segment.source_ml += voxel_ml;
    if (!segment.mask[index]) segment.grid_ml += voxel_ml;
    segment.mask[index] = true;
  }));
  return segments;
}

}  // namespace consilium::imaging
