#include "site_agent/imaging/test_series.h"

#include <algorithm>
#include <filesystem>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcrleerg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpls/djencode.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::imaging {
namespace {

void Put(DcmItem& item, const DcmTagKey& key, const std::string& value) {
  CSL_CHECK(item.putAndInsertString(key, value.c_str()).good());
}

template <size_t N>
std::string Joined(const std::array<double, N>& values) {
  std::string text;
  for (double value : values) absl::StrAppend(&text, text.empty() ? "" : "\\", value);
  return text;
}

void PutIdentity(DcmDataset& dataset, int64_t k) {
  Put(dataset, DCM_SOPClassUID, UID_MRImageStorage);
  Put(dataset, DCM_SOPInstanceUID, absl::StrCat("2.25.1000", k + 1));
  Put(dataset, DCM_StudyInstanceUID, "2.25.11");
  Put(dataset, DCM_SeriesInstanceUID, "2.25.12");
  Put(dataset, DCM_FrameOfReferenceUID, "2.25.13");
  Put(dataset, DCM_PatientName, "Phantom^Ada");
  Put(dataset, DCM_PatientID, "PHANTOM-1");
  Put(dataset, DCM_PatientBirthDate, "19500102");
  Put(dataset, DCM_PatientSex, "F");
  Put(dataset, DCM_StudyDate, "20200304");
  Put(dataset, DCM_StudyTime, "101500");
  Put(dataset, DCM_StudyID, "1");
  Put(dataset, DCM_Modality, "MR");
  Put(dataset, DCM_ImageType, "ORIGINAL\\PRIMARY\\M");
  Put(dataset, DCM_InstanceNumber, absl::StrCat(k + 1));
}

void PutPlane(DcmDataset& dataset, const TestSeries& series, int64_t k) {
  std::array<double, 3> position;
  for (int i = 0; i < 3; ++i) {
    position[i] = series.first_position[i] + series.slice_step[i] * static_cast<double>(k);
  }
  Put(dataset, DCM_ImagePositionPatient, Joined(position));
  Put(dataset, DCM_ImageOrientationPatient, Joined(series.orientation));
  Put(dataset, DCM_PixelSpacing,
      absl::StrCat(series.row_spacing_mm, "\\", series.column_spacing_mm));
}

void PutPixels(DcmDataset& dataset, const TestSeries& series, int64_t k) {
  Put(dataset, DCM_PhotometricInterpretation, "MONOCHROME2");
  const std::pair<DcmTagKey, int64_t> numbers[] = {
      {DCM_SamplesPerPixel, 1},    {DCM_Rows, series.rows}, {DCM_Columns, series.columns},
      {DCM_BitsAllocated, 16},     {DCM_BitsStored, 16},    {DCM_HighBit, 15},
      {DCM_PixelRepresentation, 1}};
  for (const auto& [key, value] : numbers) {
    CSL_CHECK(dataset.putAndInsertUint16(key, static_cast<Uint16>(value)).good());
  }
  std::vector<Uint16> pixels;
  for (int64_t row = 0; row < series.rows; ++row) {
    for (int64_t column = 0; column < series.columns; ++column) {
      pixels.push_back(static_cast<Uint16>(TestVoxel(column, row, k)));
    }
  }
  CSL_CHECK(dataset.putAndInsertUint16Array(DCM_PixelData, pixels.data(), pixels.size()).good());
}

}  // namespace

std::vector<std::string> WriteTestSeries(const TestSeries& series, const std::string& folder) {
  static const bool encoders = [] {
    DcmRLEEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs();
    return true;
  }();
  CSL_CHECK(encoders);
  std::vector<std::string> paths;
  const E_TransferSyntax xfer = DcmXfer(series.transfer_syntax_uid.c_str()).getXfer();
  for (int64_t k = 0; k < series.slices; ++k) {
    DcmFileFormat file;
    DcmDataset& dataset = *file.getDataset();
    PutIdentity(dataset, k);
    PutPlane(dataset, series, k);
    PutPixels(dataset, series, k);
    if (series.change) series.change(dataset, k);
    CSL_CHECK(dataset.chooseRepresentation(xfer, nullptr).good());
    paths.push_back(JoinPath(folder, absl::StrCat("slice", k, ".dcm")));
    CSL_CHECK(file.saveFile(paths.back().c_str(), xfer).good());
  }
  return paths;
}

void PutPet(DcmDataset& dataset, int64_t slice) {
  Put(dataset, DCM_SOPClassUID, UID_PositronEmissionTomographyImageStorage);
  Put(dataset, DCM_Modality, "PT");
  Put(dataset, DCM_Units, "BQML");
  Put(dataset, DCM_CorrectedImage, "DECY\\ATTN\\SCAT");
  Put(dataset, DCM_DecayCorrection, "START");
  Put(dataset, DCM_PatientWeight, "70");
  Put(dataset, DCM_SeriesDate, "20200304");
  Put(dataset, DCM_SeriesTime, "113000.00");
  Put(dataset, DCM_AcquisitionDate, "20200304");
  Put(dataset, DCM_AcquisitionTime, slice < 3 ? "113000" : "113245.5");
  DcmItem* given = nullptr;
  CSL_CHECK(
      dataset.findOrCreateSequenceItem(DCM_RadiopharmaceuticalInformationSequence, given).good());
  Put(*given, DCM_RadionuclideTotalDose, "350000000");
  Put(*given, DCM_RadionuclideHalfLife, "6586.2");
  Put(*given, DCM_RadiopharmaceuticalStartTime, "103000");
  Put(*given, DCM_RadiopharmaceuticalStartDateTime, "20200304103000.000000");
}

void PutText(DcmDataset& dataset, const std::string& keyword, const std::string& value) {
  DcmTag tag;
  CSL_CHECK(DcmTag::findTagFromName(keyword.c_str(), tag).good());
  Put(dataset, tag, value);
}

namespace {

DcmItem& NewItem(DcmItem& parent, const DcmTagKey& sequence) {
  DcmItem* item = nullptr;
  CSL_CHECK(parent.findOrCreateSequenceItem(sequence, item, -2).good());  // -2: one more
  return *item;
}

void PutCode(DcmItem& parent, const DcmTagKey& sequence, const std::string& code) {
  DcmItem& item = NewItem(parent, sequence);
  const size_t colon = code.find(':');
  Put(item, DCM_CodingSchemeDesignator, code.substr(0, colon));
  Put(item, DCM_CodeValue, code.substr(colon + 1));
  Put(item, DCM_CodeMeaning, "meaning");
}

DcmItem& NewContent(DcmItem& parent, const char* relationship, const char* type,
                    const std::string& concept_code) {
  DcmItem& item = NewItem(parent, DCM_ContentSequence);
  Put(item, DCM_RelationshipType, relationship);
  Put(item, DCM_ValueType, type);
  PutCode(item, DCM_ConceptNameCodeSequence, concept_code);
  return item;
}

}  // namespace

void WriteTestReport(const std::vector<TestFinding>& findings, const std::string& path,
                     const std::function<void(DcmDataset&)>& change) {
  DcmFileFormat file;
  DcmDataset& dataset = *file.getDataset();
  PutIdentity(dataset, 5000);
  Put(dataset, DCM_SOPClassUID, UID_EnhancedSRStorage);
  Put(dataset, DCM_SeriesInstanceUID, "2.25.88");
  Put(dataset, DCM_Modality, "SR");
  Put(dataset, DCM_CompletionFlag, "COMPLETE");
  Put(dataset, DCM_VerificationFlag, "VERIFIED");
  Put(NewItem(dataset, DCM_CurrentRequestedProcedureEvidenceSequence), DCM_StudyInstanceUID,
      "2.25.11");
  Put(dataset, DCM_ValueType, "CONTAINER");
  PutCode(dataset, DCM_ConceptNameCodeSequence, "DCM:126000");
  for (const TestFinding& finding : findings) {
    DcmItem& parent = finding.container.empty()
                          ? dataset
                          : NewContent(dataset, "CONTAINS", "CONTAINER", finding.container);
    DcmItem& item = NewContent(parent, "CONTAINS", "CODE", finding.concept_code);
    PutCode(item, DCM_ConceptCodeSequence, finding.value);
    if (finding.modifier.empty()) continue;
    DcmItem& modifier = NewContent(item, "HAS CONCEPT MOD", "CODE", "SCT:106233006");
    PutCode(modifier, DCM_ConceptCodeSequence, finding.modifier);
  }
  if (change) change(dataset);
  CSL_CHECK(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

std::vector<std::string> FilesBelow(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, error)) {
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace consilium::imaging
