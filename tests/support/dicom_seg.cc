#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "tests/support/dicom_item.h"
#include "tests/support/dicom_writer.h"
#include "tests/support/phantom.h"

namespace consilium::phantom {
namespace {

// The planes of all frames, packed: frames follow each other without padding (PS3.5 8.1.1).
class PlaneBits {
 public:
  void Append(bool set) {
    if (count_ % 8 == 0) bytes_.push_back('\0');
    if (set) bytes_.back() = static_cast<char>(bytes_.back() | 1 << (count_ % 8));
    ++count_;
  }
  std::string Finish() && {
    if (bytes_.size() % 2 != 0) bytes_.push_back('\0');
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
  uint64_t count_ = 0;
};

const uint8_t* Plane(const imaging::LabelVolume& mask, int64_t k) {
  return mask.voxels.data() + k * mask.geometry.size_xyz[0] * mask.geometry.size_xyz[1];
}

std::vector<double> SlicePosition(const imaging::Geometry& grid, int64_t k) {
  std::vector<double> position(3);
  for (int d = 0; d < 3; ++d) {
    position[d] = grid.origin_lps_mm[d] +
                  grid.direction[3 * d + 2] * grid.spacing_xyz_mm[2] * static_cast<double>(k);
  }
  return position;
}

void AddSegment(DicomItem& item, const Segment& segment) {
  DicomItem entry = item.Append(DCM_SegmentSequence);
  entry.Unsigned16(DCM_SegmentNumber, static_cast<uint16_t>(segment.value));
  entry.Text(DCM_SegmentLabel, segment.label);
  entry.Text(DCM_SegmentAlgorithmType, "MANUAL");
  entry.Code(DCM_SegmentedPropertyCategoryCodeSequence, "123037004", "SCT", "Anatomical Structure");
  entry.Code(DCM_SegmentedPropertyTypeCodeSequence, segment.code, "99PHANTOM", segment.label);
}

void AddFrame(DicomItem& item, const imaging::Geometry& grid, const WrittenSeries& series,
              int segment, uint32_t rank, int64_t k) {
  DicomItem frame = item.Append(DCM_PerFrameFunctionalGroupsSequence);
  DicomItem derivation = frame.Append(DCM_DerivationImageSequence);
  DicomItem source = derivation.Append(DCM_SourceImageSequence);
  source.Text(DCM_ReferencedSOPClassUID, UID_MRImageStorage);
  source.Text(DCM_ReferencedSOPInstanceUID, series.slice_uids[k]);
  source.Code(DCM_PurposeOfReferenceCodeSequence, "121322", "DCM",
              "Source image for image processing operation");
  derivation.Code(DCM_DerivationCodeSequence, "113076", "DCM", "Segmentation");
  frame.Append(DCM_FrameContentSequence)
      .Unsigned32s(DCM_DimensionIndexValues, {static_cast<uint32_t>(segment), rank});
  frame.Append(DCM_PlanePositionSequence)
      .Decimals(DCM_ImagePositionPatient, SlicePosition(grid, k));
  frame.Append(DCM_SegmentIdentificationSequence)
      .Unsigned16(DCM_ReferencedSegmentNumber, static_cast<uint16_t>(segment));
}

void AddSharedGroups(DicomItem& item, const imaging::Geometry& grid) {
  DicomItem shared = item.Append(DCM_SharedFunctionalGroupsSequence);
  DicomItem measures = shared.Append(DCM_PixelMeasuresSequence);
  measures.Decimals(DCM_PixelSpacing, {grid.spacing_xyz_mm[1], grid.spacing_xyz_mm[0]});
  measures.Decimals(DCM_SliceThickness, {grid.spacing_xyz_mm[2]});
  measures.Decimals(DCM_SpacingBetweenSlices, {grid.spacing_xyz_mm[2]});
  const auto& d = grid.direction;
  shared.Append(DCM_PlaneOrientationSequence)
      .Decimals(DCM_ImageOrientationPatient, {d[0], d[3], d[6], d[1], d[4], d[7]});
}

void AddDimensions(DicomItem& item, const std::string& organization_uid) {
  item.Append(DCM_DimensionOrganizationSequence)
      .Text(DCM_DimensionOrganizationUID, organization_uid);
  const std::pair<DcmTagKey, DcmTagKey> dimensions[] = {
      {DCM_ReferencedSegmentNumber, DCM_SegmentIdentificationSequence},
      {DCM_ImagePositionPatient, DCM_PlanePositionSequence}};
  for (const auto& [pointer, group] : dimensions) {
    DicomItem index = item.Append(DCM_DimensionIndexSequence);
    index.Text(DCM_DimensionOrganizationUID, organization_uid);
    index.TagKey(DCM_DimensionIndexPointer, pointer);
    index.TagKey(DCM_FunctionalGroupPointer, group);
  }
}

void AddReferences(DicomItem& item, const WrittenSeries& series) {
  DicomItem reference = item.Append(DCM_ReferencedSeriesSequence);
  reference.Text(DCM_SeriesInstanceUID, series.series_uid);
  for (const std::string& uid : series.slice_uids) {
    DicomItem instance = reference.Append(DCM_ReferencedInstanceSequence);
    instance.Text(DCM_ReferencedSOPClassUID, UID_MRImageStorage);
    instance.Text(DCM_ReferencedSOPInstanceUID, uid);
  }
}

void AddImageModules(DicomItem& item, const imaging::Geometry& grid, const Identity& identity) {
  item.Text(DCM_Modality, "SEG");
  item.Texts(DCM_ImageType, {"DERIVED", "PRIMARY"});
  item.Text(DCM_SeriesDescription, "Phantom structures");
  item.Text(DCM_SeriesNumber, "50");
  item.Text(DCM_InstanceNumber, "1");
  item.Text(DCM_FrameOfReferenceUID, identity.frame_of_reference_uid);
  item.Text(DCM_PositionReferenceIndicator, "");
  item.Text(DCM_ContentLabel, "PHANTOM");
  item.Text(DCM_ContentDescription, "");
  item.Text(DCM_ContentCreatorName, identity.operator_name);
  item.Text(DCM_SegmentationType, "BINARY");
  item.Text(DCM_LossyImageCompression, "00");
  item.Unsigned16(DCM_SamplesPerPixel, 1);
  item.Text(DCM_PhotometricInterpretation, "MONOCHROME2");
  item.Unsigned16(DCM_Rows, static_cast<uint16_t>(grid.size_xyz[1]));
  item.Unsigned16(DCM_Columns, static_cast<uint16_t>(grid.size_xyz[0]));
  item.Unsigned16(DCM_BitsAllocated, 1);
  item.Unsigned16(DCM_BitsStored, 1);
  item.Unsigned16(DCM_HighBit, 0);
  item.Unsigned16(DCM_PixelRepresentation, 0);
}

}  // namespace

const std::vector<Segment>& PhantomSegments() {
  static const auto* const segments =
      new std::vector<Segment>{{1, kOrganName, "ELLIPSOID_ORGAN"}, {2, kTubeName, "CURVED_TUBE"}};
  return *segments;
}

absl::Status WriteSegmentation(const imaging::LabelVolume& mask, const WrittenSeries& series,
                               const std::vector<Segment>& segments, const Identity& identity,
                               const DicomStyle& style, const std::string& path, Random& random) {
  const imaging::Geometry& grid = mask.geometry;
  CSL_CHECK(static_cast<int64_t>(mask.voxels.size()) == grid.voxels());
  CSL_CHECK(static_cast<int64_t>(series.slice_uids.size()) == grid.size_xyz[2]);
  DcmFileFormat file;
  DicomItem item(file.getDataset(), style.encoding);
  Describe(item, identity, UID_SegmentationStorage, random.Uid(), style.encoding);
  AddImageModules(item, grid, identity);
  item.Text(DCM_SeriesInstanceUID, random.Uid());
  AddDimensions(item, random.Uid());
  AddSharedGroups(item, grid);
  AddReferences(item, series);

  const int64_t pixels = grid.size_xyz[0] * grid.size_xyz[1];
  PlaneBits bits;
  int frames = 0;
  for (const Segment& segment : segments) {
    AddSegment(item, segment);
    uint32_t rank = 0;
    for (int64_t k = 0; k < grid.size_xyz[2]; ++k) {
      const uint8_t* plane = Plane(mask, k);
      if (std::find(plane, plane + pixels, segment.value) == plane + pixels) continue;
      AddFrame(item, grid, series, segment.value, ++rank, k);
      for (int64_t i = 0; i < pixels; ++i) bits.Append(plane[i] == segment.value);
      ++frames;
    }
  }
  if (frames == 0) return absl::InvalidArgumentError("the mask holds none of the segments");
  item.Text(DCM_NumberOfFrames, absl::StrCat(frames));
  item.Bytes(DCM_PixelData, std::move(bits).Finish());
  // Compressed single-bit frames are rare and optional; SEG objects are written uncompressed.
  const TransferSyntax syntax = style.syntax == TransferSyntax::kRleLossless
                                    ? TransferSyntax::kExplicitLittleEndian
                                    : style.syntax;
  return SaveDicom(file, identity, syntax, path);
}

}  // namespace consilium::phantom
