#include "site_agent/intake/label_source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/deid/patient_tokens.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/nifti_label.h"
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/imaging/structure_set.h"

namespace consilium::agent {
namespace {

using imaging::LabelSegment;
using Segments = std::vector<LabelSegment>;

// A frame of reference that is not the image's means another patient position: millimetres of one
// say nothing in the other.
absl::Status CheckFrameOfReference(const imaging::StructureSet& set,
                                   const imaging::AssembledSeries& series,
                                   const privacy::Deidentifier& deidentifier) {
  const std::string& own = set.frame_of_reference_uid;
  if (own.empty() || series.frame_of_reference_uid.empty() ||
      deidentifier.MapUid(own) == series.frame_of_reference_uid) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("contours of another frame of reference than the image");
}

absl::StatusOr<Segments> ReadForeign(const LabelSource& source,
                                     const imaging::AssembledSeries& series,
                                     const LabelContext& context) {
  const imaging::Geometry& grid = series.volume.geometry;
  if (source.sop_class_uid.empty()) {
    return imaging::ReadNiftiLabels(source.path, grid, context.vocabulary.nifti);
  }
  if (source.sop_class_uid != imaging::kStructureSetStorageUid) {
    return imaging::ReadSegments(source.path, grid);
  }
  CSL_ASSIGN_OR_RETURN(imaging::StructureSet set, imaging::ReadStructureSet(source.path, grid));
  CSL_RETURN_IF_ERROR(CheckFrameOfReference(set, series, context.deidentifier));
  return std::move(set.segments);
}

// Names are free text until here: whatever identifies goes, then the site's words become the
// study's. Segments of one name become one; without a name there is none to train on.
Segments Named(Segments segments, const LabelContext& context) {
  Segments named;
  for (LabelSegment& segment : segments) {
    segment.name = context.vocabulary.Canonical(context.tokens.Scrub(segment.name));
    if (segment.name.empty()) continue;
    const auto same = std::find_if(named.begin(), named.end(), [&](const LabelSegment& other) {
      return absl::EqualsIgnoreCase(other.name, segment.name);
    });
    if (same == named.end()) {
      named.push_back(std::move(segment));
      continue;
    }
    same->source_ml += segment.source_ml;
    for (size_t i = 0; i < segment.mask.size(); ++i) {
      if (segment.mask[i]) same->mask[i] = true;
    }
  }
  return named;
}

bool IsRenamed(const Segments& segments, const LabelVocabulary& vocabulary) {
  return std::any_of(segments.begin(), segments.end(), [&](const LabelSegment& segment) {
    return vocabulary.Canonical(segment.name) != segment.name;
  });
}

absl::Status Describe(const Segments& segments, const imaging::Geometry& grid, CaseRecord& record) {
  std::vector<std::string> names;
  std::map<std::string, std::array<double, 2>> volumes;
  for (const LabelSegment& segment : segments) {
    const auto voxels = std::count(segment.mask.begin(), segment.mask.end(), true);
    names.push_back(segment.name);
    volumes[segment.name] = {segment.source_ml,
                             static_cast<double>(voxels) * imaging::VoxelMl(grid)};
  }
  if (names.empty() || names.size() > imaging::kSegmentsMax) {
    return absl::InvalidArgumentError("no segment has a label, or too many have one");
  }
  record.segment_labels = std::move(names);
  record.segment_ml = std::move(volumes);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<privacy::DeidReport> PlaceLabel(const LabelSource& source,
                                               const imaging::AssembledSeries& series,
                                               const LabelContext& context, const std::string& path,
                                               CaseRecord& record) {
  const imaging::Geometry& grid = series.volume.geometry;
  privacy::DeidReport deid;
  Segments segments;
  bool is_written = false;
  if (source.sop_class_uid == imaging::kSegmentationStorageUid) {
    CSL_ASSIGN_OR_RETURN(deid, context.deidentifier.Deidentify(source.path, path, context.tokens));
    CSL_ASSIGN_OR_RETURN(segments, imaging::ReadSegments(path, grid));
    is_written = !IsRenamed(segments, context.vocabulary);
  } else {
    CSL_ASSIGN_OR_RETURN(segments, ReadForeign(source, series, context));
  }
  segments = Named(std::move(segments), context);
  CSL_RETURN_IF_ERROR(Describe(segments, grid, record));
  if (is_written) return deid;
  CSL_RETURN_IF_ERROR(imaging::WriteReferenceLabels(series, segments, "reference labels", path));
  if (deid.files == 0) deid.files = 1;
  return deid;
}

}  // namespace consilium::agent
