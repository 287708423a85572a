#include "site_agent/imaging/dicom_series.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"
#include "proto/base/status.h"
#include "site_agent/imaging/pixel_reader.h"
#include "site_agent/imaging/slice_reader.h"
#include "site_agent/imaging/slice_stack.h"

namespace consilium::imaging {
namespace {

absl::StatusOr<std::vector<Slice>> ReadAllSlices(const std::vector<std::string>& paths) {
  std::vector<Slice> slices;
  for (const std::string& path : paths) {
    CSL_ASSIGN_OR_RETURN(std::vector<Slice> read, ReadSlices(path));
    std::move(read.begin(), read.end(), std::back_inserter(slices));
  }
  return slices;
}

absl::StatusOr<std::vector<float>> ReadOneSlice(const Slice& slice) {
  CSL_ASSIGN_OR_RETURN(const FilePixels pixels,
                       FilePixels::Load(slice.path, slice.format, slice.frames_in_file));
  std::vector<float> out(static_cast<size_t>(slice.format.frame_voxels()));
  ConvertFrame(pixels, slice, out.data());
  return out;
}

absl::StatusOr<bool> SamePixels(const Slice& a, const Slice& b) {
  CSL_ASSIGN_OR_RETURN(const std::vector<float> of_a, ReadOneSlice(a));
  CSL_ASSIGN_OR_RETURN(const std::vector<float> of_b, ReadOneSlice(b));
  // By bytes: padding is NaN, which is not equal to itself.
  return of_a.size() == of_b.size() &&
         std::memcmp(of_a.data(), of_b.data(), of_a.size() * sizeof(float)) == 0;
}

// One slice per position: copies go, different pictures are refused.
absl::StatusOr<std::vector<Slice>> DropCopies(SliceStack& stack) {
  std::vector<Slice> ordered;
  int64_t copies = 0;
  for (std::vector<Slice>& here : stack.positions) {
    for (size_t i = 1; i < here.size(); ++i) {
      if (here[i].moments != here[0].moments) {
        return absl::InvalidArgumentError("several time points at one position");
      }
      CSL_ASSIGN_OR_RETURN(const bool same, SamePixels(here[0], here[i]));
      if (!same) return absl::InvalidArgumentError("different images at one position");
      ++copies;
    }
    ordered.push_back(std::move(here.front()));
  }
  if (copies > 0) stack.notes.push_back(absl::StrFormat("%d duplicate images dropped", copies));
  return ordered;
}

absl::Status CheckInstancesDiffer(const std::vector<Slice>& ordered) {
  std::map<std::pair<std::string, int64_t>, int> seen;
  for (const Slice& slice : ordered) {
    if (seen[{slice.sop_instance_uid, slice.frame}]++ > 0) {
      return absl::InvalidArgumentError("two different images with one SOP instance UID");
    }
  }
  return absl::OkStatus();
}

// Padding takes the darkest real value, so that it stands out in neither direction.
void FillPadding(std::vector<float>& voxels) {
  bool found = false;
  float darkest = 0;
  for (float voxel : voxels) {
    if (std::isnan(voxel) || (found && voxel >= darkest)) continue;
    darkest = voxel;
    found = true;
  }
  for (float& voxel : voxels) {
    if (std::isnan(voxel)) voxel = darkest;
  }
}

absl::StatusOr<std::vector<float>> ReadVoxels(const std::vector<Slice>& ordered,
                                              const Geometry& geometry) {
  // By file, so that a multi-frame object is decoded once.
  std::map<std::string, std::vector<size_t>> slices_of_file;
  for (size_t k = 0; k < ordered.size(); ++k) slices_of_file[ordered[k].path].push_back(k);
  std::vector<float> voxels(static_cast<size_t>(geometry.voxels()));
  const size_t plane = static_cast<size_t>(geometry.size_xyz[0] * geometry.size_xyz[1]);
  bool padded = false;
  for (const auto& [path, indices] : slices_of_file) {
    const Slice& any = ordered[indices.front()];
    CSL_ASSIGN_OR_RETURN(const FilePixels pixels,
                         FilePixels::Load(path, any.format, any.frames_in_file));
    for (size_t k : indices) padded |= ConvertFrame(pixels, ordered[k], voxels.data() + k * plane);
  }
  if (padded) FillPadding(voxels);
  return voxels;
}

}  // namespace

absl::StatusOr<AssembledSeries> AssembleSeries(const std::vector<std::string>& paths) {
  CSL_ASSIGN_OR_RETURN(std::vector<Slice> slices, ReadAllSlices(paths));
  CSL_ASSIGN_OR_RETURN(SliceStack stack, StackSlices(std::move(slices)));
  CSL_ASSIGN_OR_RETURN(const std::vector<Slice> ordered, DropCopies(stack));
  CSL_RETURN_IF_ERROR(CheckInstancesDiffer(ordered));
  AssembledSeries series;
  CSL_ASSIGN_OR_RETURN(series.volume.geometry, StackGeometry(ordered, stack.direction));
  CSL_ASSIGN_OR_RETURN(series.volume.voxels, ReadVoxels(ordered, series.volume.geometry));
  series.modality = ordered.front().modality;
  series.series_uid = ordered.front().series_uid;
  series.frame_of_reference_uid = ordered.front().frame_of_reference_uid;
  for (const Slice& slice : ordered) {
    series.slice_paths.push_back(slice.path);
    series.slice_uids.push_back(slice.sop_instance_uid);
    series.slice_frames.push_back(slice.frames_in_file > 1 ? static_cast<int>(slice.frame) + 1 : 0);
  }
  series.notes = std::move(stack.notes);
  return series;
}

}  // namespace consilium::imaging
