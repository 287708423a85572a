#include "site_agent/imaging/dicom_header.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::imaging {
namespace {

void AddInstances(DcmItem& item, const DcmTagKey& sequence, DicomHeader& header) {
  for (DcmItem* instance : SequenceItems(item, sequence)) {
    header.referenced_instance_uids.push_back(Text(*instance, DCM_ReferencedSOPInstanceUID));
  }
}

void ReadSegmentationAttributes(DcmDataset& dataset, DicomHeader& header) {
  if (DcmItem* series = SequenceItem(dataset, DCM_ReferencedSeriesSequence)) {
    header.referenced_series_uid = Text(*series, DCM_SeriesInstanceUID);
    AddInstances(*series, DCM_ReferencedInstanceSequence, header);
  }
  for (DcmItem* segment : SequenceItems(dataset, DCM_SegmentSequence)) {
    header.segment_labels.push_back(Text(*segment, DCM_SegmentLabel));
  }
}

// Frame of reference, study, series: three sequences inside each other (PS3.3 C.8.8.5).
void ReadStructureSetAttributes(DcmDataset& dataset, DicomHeader& header) {
  for (DcmItem* frame : SequenceItems(dataset, DCM_ReferencedFrameOfReferenceSequence)) {
    for (DcmItem* study : SequenceItems(*frame, DCM_RTReferencedStudySequence)) {
      for (DcmItem* series : SequenceItems(*study, DCM_RTReferencedSeriesSequence)) {
        if (!header.referenced_series_uid.empty()) continue;
        header.referenced_series_uid = Text(*series, DCM_SeriesInstanceUID);
        AddInstances(*series, DCM_ContourImageSequence, header);
      }
    }
  }
  for (DcmItem* roi : SequenceItems(dataset, DCM_StructureSetROISequence)) {
    header.segment_labels.push_back(Text(*roi, DCM_ROIName));
  }
}

struct Listed {
  const char* keyword;
  DcmTagKey key;
};
const Listed kListed[] = {
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

struct Member {
  DcmTagKey key;
  std::string DicomHeader::*text;
};
const Member kMembers[] = {
    {DCM_SOPClassUID, &DicomHeader::sop_class_uid},
    {DCM_SOPInstanceUID, &DicomHeader::sop_instance_uid},
    {DCM_StudyInstanceUID, &DicomHeader::study_uid},
    {DCM_SeriesInstanceUID, &DicomHeader::series_uid},
    {DCM_FrameOfReferenceUID, &DicomHeader::frame_of_reference_uid},
    {DCM_PatientID, &DicomHeader::patient_id},
    {DCM_Modality, &DicomHeader::modality},
};

// What is parsed; of labels everything is.
bool IsOfHeader(uint32_t tag) {
  const DcmTagKey key(static_cast<Uint16>(tag >> 16), static_cast<Uint16>(tag & 0xFFFF));
  const auto is_it = [&](const auto& one) { return one.key == key; };
  return std::any_of(std::begin(kMembers), std::end(kMembers), is_it) ||
         std::any_of(std::begin(kListed), std::end(kListed), is_it);
}

}  // namespace

bool IsLabelClass(absl::string_view sop_class_uid) {
  return sop_class_uid == kSegmentationStorageUid || sop_class_uid == kLabelMapStorageUid ||
         sop_class_uid == kStructureSetStorageUid;
}

absl::StatusOr<DicomHeader> ReadDicomHeader(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(std::unique_ptr<DcmDataset> dataset, file.ParseHeader(IsOfHeader));
  if (IsLabelClass(Text(*dataset, DCM_SOPClassUID))) {
    CSL_ASSIGN_OR_RETURN(dataset, file.ParseHeader());
  }
  DicomHeader header;
  header.path = path;
  header.transfer_syntax_uid = file.transfer_syntax_uid();
  for (const Member& member : kMembers) header.*member.text = Text(*dataset, member.key);
  if (header.sop_class_uid.empty() || header.sop_instance_uid.empty()) {
    return file.Fault("no SOP class or SOP instance UID");
  }
  for (const auto& [keyword, key] : kListed) {
    std::vector<std::string> values = Texts(*dataset, key);
    if (!values.empty()) header.attributes.emplace(keyword, std::move(values));
  }
  if (header.sop_class_uid == kStructureSetStorageUid) {
    ReadStructureSetAttributes(*dataset, header);
  } else if (IsLabelClass(header.sop_class_uid)) {
    ReadSegmentationAttributes(*dataset, header);
  }
  return header;
}

}  // namespace consilium::imaging
