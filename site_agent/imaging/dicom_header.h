// What intake decides on, read from one DICOM file without its pixels.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_DICOM_HEADER_H_
#define CONSILIUM_SITE_AGENT_IMAGING_DICOM_HEADER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::imaging {

// Privacy: patient_id and all UIDs identify; they never reach a log, an error or a message.
struct DicomHeader {
  std::string path;
  std::string sop_class_uid;
  std::string sop_instance_uid;
  std::string study_uid;
  std::string series_uid;
  std::string frame_of_reference_uid;
  std::string transfer_syntax_uid;
  std::string patient_id;
  std::string modality;
  // Values of the attributes that a series rule may name, by keyword, multiple values in order:
  // ImageType, SliceThickness, SeriesDescription, ProtocolName, MRAcquisitionType,
  // ScanningSequence, EchoTime, RepetitionTime, MagneticFieldStrength, BodyPartExamined,
  // Manufacturer, ContrastBolusAgent, KVP, ConvolutionKernel, PhotometricInterpretation.
  std::map<std::string, std::vector<std::string>> attributes;
  // SEG, label map and RTSTRUCT only: the series and the images of it that they label, and the
  // labels of their segments or ROIs.
  std::string referenced_series_uid;
  std::vector<std::string> referenced_instance_uids;
  std::vector<std::string> segment_labels;
};

inline constexpr const char* kSegmentationStorageUid = "1.2.840.10008.5.1.4.1.1.66.4";
// Not in DCMTK 3.6.7's dictionary.
inline constexpr const char* kLabelMapStorageUid = "1.2.840.10008.5.1.4.1.1.66.7";
inline constexpr const char* kStructureSetStorageUid = "1.2.840.10008.5.1.4.1.1.481.3";

// Whether objects of this class label another series.
bool IsLabelClass(absl::string_view sop_class_uid);

// INVALID_ARGUMENT: not DICOM, or broken, or hostile (sequences nested deeper than 64, a length
// beyond the file): the message names the fault, never the file or a value. NOT_FOUND: no such
// file.
absl::StatusOr<DicomHeader> ReadDicomHeader(const std::string& path);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_DICOM_HEADER_H_
