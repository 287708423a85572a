#include "tests/support/dicom_writer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "tests/support/dicom_item.h"

namespace consilium::phantom {
namespace {

std::vector<double> Column(const imaging::Geometry& grid, int axis) {
  return {grid.direction[axis], grid.direction[3 + axis], grid.direction[6 + axis]};
}

void AddPixelModule(DicomItem& item, int64_t rows, int64_t columns, uint16_t bits) {
  item.Unsigned16(DCM_SamplesPerPixel, 1);
  item.Text(DCM_PhotometricInterpretation, "MONOCHROME2");
  item.Unsigned16(DCM_Rows, static_cast<uint16_t>(rows));
  item.Unsigned16(DCM_Columns, static_cast<uint16_t>(columns));
  item.Unsigned16(DCM_BitsAllocated, bits);
  item.Unsigned16(DCM_BitsStored, bits);
  item.Unsigned16(DCM_HighBit, static_cast<uint16_t>(bits - 1));
  item.Unsigned16(DCM_PixelRepresentation, 0);
}

void AddMrModules(DicomItem& item, const SeriesText& text) {
  item.Text(DCM_Modality, "MR");
  item.Texts(DCM_ImageType, text.image_type);
  item.Text(DCM_SeriesDescription, text.description);
  item.Text(DCM_ProtocolName, "T1 3D");
  item.Text(DCM_BodyPartExamined, "ABDOMEN");
  item.Text(DCM_PatientPosition, "HFS");
  item.Text(DCM_ScanningSequence, "GR");
  item.Text(DCM_SequenceVariant, "SP");
  item.Text(DCM_ScanOptions, "");
  item.Text(DCM_MRAcquisitionType, "3D");
  item.Text(DCM_MagneticFieldStrength, "1.5");
  item.Text(DCM_RepetitionTime, "2300");
  item.Text(DCM_EchoTime, "3.1");
  item.Text(DCM_EchoTrainLength, "1");
  item.Text(DCM_SeriesNumber, absl::StrCat(text.series_number));
}

void AddPlane(DicomItem& item, const imaging::Geometry& grid, int64_t k) {
  const std::vector<double> row = Column(grid, 0), column = Column(grid, 1),
                            normal = Column(grid, 2);
  std::vector<double> position(3);
  for (int d = 0; d < 3; ++d) {
    position[d] =
        grid.origin_lps_mm[d] + normal[d] * grid.spacing_xyz_mm[2] * static_cast<double>(k);
  }
  item.Decimals(DCM_ImagePositionPatient, position);
  item.Decimals(DCM_ImageOrientationPatient,
                {row[0], row[1], row[2], column[0], column[1], column[2]});
  // Row spacing (from row to row, along j) comes first (PS3.3 10.7.1.3).
  item.Decimals(DCM_PixelSpacing, {grid.spacing_xyz_mm[1], grid.spacing_xyz_mm[0]});
  item.Decimals(DCM_SliceThickness, {grid.spacing_xyz_mm[2]});
  item.Decimals(DCM_SpacingBetweenSlices, {grid.spacing_xyz_mm[2]});
}

std::vector<uint16_t> StoredSlice(const imaging::Volume& volume, int64_t k) {
  const int64_t pixels = volume.geometry.size_xyz[0] * volume.geometry.size_xyz[1];
  std::vector<uint16_t> stored(pixels);
  std::transform(volume.voxels.begin() + k * pixels, volume.voxels.begin() + (k + 1) * pixels,
                 stored.begin(), [](float value) {
                   return static_cast<uint16_t>(std::clamp(std::round(value), 0.f, 65535.f));
                 });
  return stored;
}

}  // namespace

absl::StatusOr<WrittenSeries> WriteMrSeries(const imaging::Volume& volume, const Identity& identity,
                                            const DicomStyle& style, const SeriesText& text,
                                            const std::string& folder, Random& random) {
  const imaging::Geometry& grid = volume.geometry;
  CSL_CHECK(static_cast<int64_t>(volume.voxels.size()) == grid.voxels());
  const float brightest = *std::max_element(volume.voxels.begin(), volume.voxels.end());
  WrittenSeries series{random.Uid(), {}, {}};
  for (int64_t k = 0; k < grid.size_xyz[2]; ++k) {
    DcmFileFormat file;
    DicomItem item(file.getDataset(), style.encoding);
    series.slice_uids.push_back(random.Uid());
    series.paths.push_back(JoinPath(folder, absl::StrFormat("IM%04d.dcm", k + 1)));
    Describe(item, identity, UID_MRImageStorage, series.slice_uids.back(), style.encoding);
    AddMrModules(item, text);
    item.Text(DCM_SeriesInstanceUID, series.series_uid);
    item.Text(DCM_FrameOfReferenceUID, identity.frame_of_reference_uid);
    item.Text(DCM_PositionReferenceIndicator, "");
    item.Text(DCM_InstanceNumber, absl::StrCat(k + 1));
    AddPlane(item, grid, k);
    AddPixelModule(item, grid.size_xyz[1], grid.size_xyz[0], 16);
    item.Decimals(DCM_WindowCenter, {std::round(brightest / 2)});
    item.Decimals(DCM_WindowWidth, {std::round(brightest)});
    item.Words(DCM_PixelData, StoredSlice(volume, k));
    CSL_RETURN_IF_ERROR(SaveDicom(file, identity, style.syntax, series.paths.back()));
  }
  return series;
}

absl::Status WriteSecondaryCapture(const Identity& identity, const DicomStyle& style,
                                   const std::string& path, Random& random) {
  constexpr int64_t kSide = 96;
  DcmFileFormat file;
  DicomItem item(file.getDataset(), style.encoding);
  Describe(item, identity, UID_SecondaryCaptureImageStorage, random.Uid(), style.encoding);
  item.Text(DCM_Modality, "OT");
  item.Text(DCM_ConversionType, "WSD");
  item.Texts(DCM_ImageType, {"DERIVED", "SECONDARY"});
  item.Text(DCM_BurnedInAnnotation, "YES");
  item.Text(DCM_BodyPartExamined, "ABDOMEN");
  item.Text(DCM_SeriesInstanceUID, random.Uid());
  item.Text(DCM_SeriesNumber, "90");
  item.Text(DCM_InstanceNumber, "1");
  item.Text(DCM_PatientOrientation, "");
  item.Text(DCM_SeriesDescription, absl::StrCat("Screenshot ", identity.family_name()));
  AddPixelModule(item, kSide, kSide, 8);
  std::string pixels(kSide * kSide, '\x20');
  for (int64_t y = 4; y < 14; ++y) std::fill_n(pixels.begin() + y * kSide + 4, 60, '\xf0');
  item.Bytes(DCM_PixelData, pixels);
  return SaveDicom(file, identity, TransferSyntax::kExplicitLittleEndian, path);
}

absl::Status WriteReport(const Identity& identity, const DicomStyle& style, const std::string& path,
                         Random& random) {
  DcmFileFormat file;
  DicomItem item(file.getDataset(), style.encoding);
  Describe(item, identity, UID_BasicTextSRStorage, random.Uid(), style.encoding);
  item.Text(DCM_Modality, "SR");
  item.Text(DCM_SeriesInstanceUID, random.Uid());
  item.Text(DCM_SeriesNumber, "80");
  item.Text(DCM_InstanceNumber, "1");
  item.Empty(DCM_ReferencedPerformedProcedureStepSequence);
  item.Empty(DCM_PerformedProcedureCodeSequence);
  item.Text(DCM_CompletionFlag, "COMPLETE");
  item.Text(DCM_VerificationFlag, "UNVERIFIED");
  item.Text(DCM_ValueType, "CONTAINER");
  item.Text(DCM_ContinuityOfContent, "SEPARATE");
  item.Code(DCM_ConceptNameCodeSequence, "18748-4", "LN", "Diagnostic imaging report");
  DicomItem finding = item.Append(DCM_ContentSequence);
  finding.Text(DCM_RelationshipType, "CONTAINS");
  finding.Text(DCM_ValueType, "TEXT");
  finding.Code(DCM_ConceptNameCodeSequence, "121071", "DCM", "Finding");
  finding.Text(DCM_TextValue, absl::StrCat("Seen today: ", identity.family_name(), ", born ",
                                           identity.birth_date, ", ", identity.address, "."));
  return SaveDicom(file, identity, TransferSyntax::kExplicitLittleEndian, path);
}

}  // namespace consilium::phantom
