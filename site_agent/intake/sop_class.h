// Kinds of DICOM objects, as far as intake tells them apart.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_SOP_CLASS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_SOP_CLASS_H_

#include "absl/strings/string_view.h"

namespace consilium::agent {

enum class SopKind {
  kVolumeSlice,  // MR, CT or PET image, one slice a file
  kMultiFrame,   // enhanced or legacy-converted MR, CT or PET, many slices a file
  kOtherImage,
  kNoImage,  // reports, plans, presentation states, waveforms, DICOMDIR
};

SopKind SopKindOf(absl::string_view sop_class_uid);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_SOP_CLASS_H_
