#include "site_agent/imaging/dicom_series.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/status.h"
#include "site_agent/imaging/pixel_reader.h"
#include "site_agent/imaging/series_split.h"
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

constexpr const char* kCopies = "copies of another image";

absl::Status CheckOneSeries(const std::vector<Slice>& slices) {
  if (slices.empty()) return absl::InvalidArgumentError("no files");
  for (const Slice& slice : slices) {
    if (slice.series_uid != slices.front().series_uid) {
      return absl::InvalidArgumentError("files of several series");
    }
  }
  return absl::OkStatus();
}

void CountAside(int64_t images, absl::string_view reason, std::vector<SetAside>& aside) {
  if (images == 0) return;
  for (SetAside& entry : aside) {
    if (entry.reason != reason) continue;
    entry.images += images;
    return;
  }
  aside.push_back({images, std::string(reason)});
}

// A file that is there twice goes once; another picture under the same identity is refused.
absl::Status DropSameInstances(std::vector<Slice>& slices, std::vector<SetAside>& aside) {
  std::map<std::pair<std::string, int64_t>, size_t> first;
  std::vector<Slice> kept;
  for (Slice& slice : slices) {
    const auto [at, is_new] = first.try_emplace({slice.sop_instance_uid, slice.frame}, kept.size());
    if (is_new) {
      kept.push_back(std::move(slice));
      continue;
    }
    const Slice& other = kept[at->second];
    bool same = slice.position_lps_mm == other.position_lps_mm;
    if (same) {
      CSL_ASSIGN_OR_RETURN(same, SamePixels(other, slice));
    }
    if (!same) {
      return absl::InvalidArgumentError("two different images with one SOP instance UID");
    }
    CountAside(1, kCopies, aside);
  }
  slices = std::move(kept);
  return absl::OkStatus();
}

bool SameMoment(const Slice& a, const Slice& b) {
  for (const SplitKey key :
       {SplitKey::kTriggerTime, SplitKey::kAcquisitionNumber, SplitKey::kAcquisitionTime}) {
    const auto index = static_cast<size_t>(key);
    if (a.split_keys[index] != b.split_keys[index]) return false;
  }
  return true;
}

// One slice per position: copies go, different pictures are refused.
absl::StatusOr<std::vector<Slice>> DropCopies(SliceStack stack, std::vector<SetAside>& aside) {
  std::vector<Slice> ordered;
  for (std::vector<Slice>& here : stack.positions) {
    for (size_t i = 1; i < here.size(); ++i) {
      if (!SameMoment(here[i], here[0])) {
        return absl::InvalidArgumentError(
            "several time points at one position, not the same number at each");
      }
      CSL_ASSIGN_OR_RETURN(const bool same, SamePixels(here[0], here[i]));
      if (!same) return absl::InvalidArgumentError("different images at one position");
      CountAside(1, kCopies, aside);
    }
    ordered.push_back(std::move(here.front()));
  }
  return ordered;
}

SeriesReport Describe(const std::vector<Slice>& ordered, const StackGeometry& measured) {
  const Slice& first = ordered.front();
  const auto& d = measured.geometry.direction;
  SeriesReport report;
  report.images_used = static_cast<int64_t>(ordered.size());
  report.step_mm = measured.geometry.spacing_xyz_mm[2];
  report.step_spread_mm = measured.step_spread_mm;
  report.direction_determinant = d[0] * (d[4] * d[8] - d[5] * d[7]) -
                                 d[1] * (d[3] * d[8] - d[5] * d[6]) +
                                 d[2] * (d[3] * d[7] - d[4] * d[6]);
  report.matrix = {first.format.rows, first.format.columns};
  report.bits_stored = first.format.bits_stored;
  report.photometric = first.photometric;
  report.slope_range = {first.rescale_slope, first.rescale_slope};
  report.intercept_range = {first.rescale_intercept, first.rescale_intercept};
  std::set<std::string> syntaxes;
  for (const Slice& slice : ordered) {
    report.bits_stored = std::max(report.bits_stored, slice.format.bits_stored);
    report.slope_range[0] = std::min(report.slope_range[0], slice.rescale_slope);
    report.slope_range[1] = std::max(report.slope_range[1], slice.rescale_slope);
    report.intercept_range[0] = std::min(report.intercept_range[0], slice.rescale_intercept);
    report.intercept_range[1] = std::max(report.intercept_range[1], slice.rescale_intercept);
    syntaxes.insert(slice.transfer_syntax_uid);
  }
  report.transfer_syntaxes.assign(syntaxes.begin(), syntaxes.end());
  return report;
}

absl::StatusOr<SortedVolume> SortPart(SeriesPart part, std::vector<SetAside>& aside) {
  CSL_ASSIGN_OR_RETURN(SliceStack stack, StackSlices(std::move(part.slices)));
  const std::array<double, 9> direction = stack.direction;
  SortedVolume volume;
  CSL_ASSIGN_OR_RETURN(volume.ordered, DropCopies(std::move(stack), aside));
  CSL_ASSIGN_OR_RETURN(const StackGeometry measured, MeasureStack(volume.ordered, direction));
  volume.geometry = measured.geometry;
  volume.report = Describe(volume.ordered, measured);
  volume.report.part = std::move(part.words);
  for (const SplitKey key : part.keys) volume.report.split_by.push_back(SplitKeyName(key));
  return volume;
}

// The parts of one series; localizers leave each stack on their own, as a stack has one
// orientation.
std::vector<SeriesPart> PartsOf(std::vector<Slice> slices, std::vector<SetAside>& aside,
                                absl::Status& refusal) {
  std::vector<SeriesPart> parts;
  std::vector<std::vector<Slice>> stacks = GroupBy(std::move(slices), SplitKey::kStack);
  for (size_t i = 0; i < stacks.size(); ++i) {
    const auto images = static_cast<int64_t>(stacks[i].size());
    std::vector<SetAside> localizers;
    if (const absl::Status status = SetLocalizersAside(stacks[i], localizers); !status.ok()) {
      refusal.Update(status);
      CountAside(images, status.message(), aside);
      continue;
    }
    for (const SetAside& entry : localizers) CountAside(entry.images, entry.reason, aside);
    SeriesPart whole{std::move(stacks[i]), "", {}};
    if (stacks.size() > 1) {
      whole.words = absl::StrCat("stack ", i + 1, " of ", stacks.size());
      whole.keys.push_back(SplitKey::kStack);
    }
    std::vector<SeriesPart> split = SplitIntoVolumes(std::move(whole));
    std::move(split.begin(), split.end(), std::back_inserter(parts));
  }
  return parts;
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

absl::StatusOr<std::vector<SortedVolume>> SortSeries(const std::vector<std::string>& paths) {
  CSL_ASSIGN_OR_RETURN(std::vector<Slice> slices, ReadAllSlices(paths));
  CSL_RETURN_IF_ERROR(CheckOneSeries(slices));
  const auto images_in = static_cast<int64_t>(slices.size());
  std::vector<SetAside> aside;
  CSL_RETURN_IF_ERROR(DropSameInstances(slices, aside));
  absl::Status refusal;
  std::vector<SortedVolume> volumes;
  for (SeriesPart& part : PartsOf(std::move(slices), aside, refusal)) {
    const auto images = static_cast<int64_t>(part.slices.size());
    const std::string words = part.words;
    std::vector<SetAside> copies;
    absl::StatusOr<SortedVolume> volume = SortPart(std::move(part), copies);
    if (volume.ok()) {
      for (const SetAside& entry : copies) CountAside(entry.images, entry.reason, aside);
      volumes.push_back(*std::move(volume));
      continue;
    }
    refusal.Update(volume.status());
    CountAside(images, absl::StrCat(words, words.empty() ? "" : ": ", volume.status().message()),
               aside);
  }
  if (volumes.empty()) return refusal;
  for (SortedVolume& volume : volumes) {
    volume.report.images_in = images_in;
    volume.report.set_aside = aside;
  }
  return volumes;
}

absl::StatusOr<AssembledSeries> ReadVolume(const SortedVolume& sorted) {
  const std::vector<Slice>& ordered = sorted.ordered;
  AssembledSeries series;
  series.volume.geometry = sorted.geometry;
  CSL_ASSIGN_OR_RETURN(series.volume.voxels, ReadVoxels(ordered, sorted.geometry));
  series.modality = ordered.front().modality;
  series.series_uid = ordered.front().series_uid;
  series.frame_of_reference_uid = ordered.front().frame_of_reference_uid;
  for (const Slice& slice : ordered) {
    series.slice_paths.push_back(slice.path);
    series.slice_uids.push_back(slice.sop_instance_uid);
    series.slice_frames.push_back(slice.frames_in_file > 1 ? static_cast<int>(slice.frame) + 1 : 0);
  }
  series.report = sorted.report;
  return series;
}

absl::StatusOr<AssembledSeries> AssembleSeries(const std::vector<std::string>& paths,
                                               absl::string_view part) {
  CSL_ASSIGN_OR_RETURN(const std::vector<SortedVolume> volumes, SortSeries(paths));
  if (volumes.size() == 1) return ReadVolume(volumes.front());
  if (part.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(volumes.size(), " volumes in one series, by ",
                     absl::StrJoin(volumes.front().report.split_by, " and ")));
  }
  for (const SortedVolume& volume : volumes) {
    if (volume.report.part == part) return ReadVolume(volume);
  }
  return absl::NotFoundError("the series has no such part");
}

}  // namespace consilium::imaging
