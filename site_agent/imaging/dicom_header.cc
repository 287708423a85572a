#include "site_agent/imaging/dicom_header.h"

#include <utility>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::imaging {
namespace {

void ReadSegmentationAttributes(DcmDataset& dataset, DicomHeader& header) {
  if (DcmItem* series = SequenceItem(dataset, DCM_ReferencedSeriesSequence)) {
    header.referenced_series_uid = Text(*series, DCM_SeriesInstanceUID);
  }
  for (DcmItem* segment : SequenceItems(dataset, DCM_SegmentSequence)) {
    header.segment_labels.push_back(Text(*segment, DCM_SegmentLabel));
  }
}

}  // namespace

absl::StatusOr<DicomHeader> ReadDicomHeader(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  DicomHeader header;
  header.path = path;
  header.transfer_syntax_uid = file.transfer_syntax_uid();
  header.sop_class_uid = Text(*dataset, DCM_SOPClassUID);
  header.sop_instance_uid = Text(*dataset, DCM_SOPInstanceUID);
  if (header.sop_class_uid.empty() || header.sop_instance_uid.empty()) {
    return file.Fault("no SOP class or SOP instance UID");
  }
  header.study_uid = Text(*dataset, DCM_StudyInstanceUID);
  header.series_uid = Text(*dataset, DCM_SeriesInstanceUID);
  header.patient_id = Text(*dataset, DCM_PatientID);
  header.modality = Text(*dataset, DCM_Modality);
  const std::pair<const char*, DcmTagKey> listed[] = {
      {"ImageType", DCM_ImageType},
      {"SliceThickness", DCM_SliceThickness},
      {"SeriesDescription", DCM_SeriesDescription},
      {"ProtocolName", DCM_ProtocolName},
      {"MRAcquisitionType", DCM_MRAcquisitionType},
      {"ScanningSequence", DCM_ScanningSequence},
      {"EchoTime", DCM_EchoTime},
      {"RepetitionTime", DCM_RepetitionTime},
      {"MagneticFieldStrength", DCM_MagneticFieldStrength},
      {"BodyPartExamined", DCM_BodyPartExamined},
      {"Manufacturer", DCM_Manufacturer},
      {"ContrastBolusAgent", DCM_ContrastBolusAgent},
      {"KVP", DCM_KVP},
      {"ConvolutionKernel", DCM_ConvolutionKernel},
      {"PhotometricInterpretation", DCM_PhotometricInterpretation},
  };
  for (const auto& [keyword, key] : listed) {
    std::vector<std::string> values = Texts(*dataset, key);
    if (!values.empty()) header.attributes.emplace(keyword, std::move(values));
  }
  if (header.sop_class_uid == kSegmentationStorageUid) ReadSegmentationAttributes(*dataset, header);
  return header;
}

}  // namespace consilium::imaging
