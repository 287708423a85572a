// From a label file of any kind to the segmentation in a case's folder.
//
// The store holds DICOM SEG only, without identity: a SEG is de-identified as it is, the others
// (label map, RT structure set, NIfTI, and a SEG whose names the vocabulary changes) are brought
// onto the image's grid and written anew, so that none of their text comes along but the label
// names.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_LABEL_SOURCE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_LABEL_SOURCE_H_

#include <string>

#include "absl/status/statusor.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/label_vocabulary.h"

namespace consilium::agent {

struct LabelSource {
  std::string path;
  std::string sop_class_uid;  // empty: NIfTI
};

// What labels of one patient are made with; everything outlives the call.
struct LabelContext {
  const privacy::Deidentifier& deidentifier;
  const privacy::PatientTokens& tokens;
  const LabelVocabulary& vocabulary;
};

// Writes `source` as the segmentation of `series` (de-identified; voxels are not needed) to `path`
// and tells `record` its labels and their volumes. Errors leave `record` as it was, name neither
// file nor value, and are those of the readers; UNAVAILABLE and INTERNAL are ours.
absl::StatusOr<privacy::DeidReport> PlaceLabel(const LabelSource& source,
                                               const imaging::AssembledSeries& series,
                                               const LabelContext& context, const std::string& path,
                                               CaseRecord& record);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_LABEL_SOURCE_H_
