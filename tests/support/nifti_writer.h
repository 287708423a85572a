// The truth beside an archive, as NIfTI-1 that every viewer opens.
#ifndef CONSILIUM_TESTS_SUPPORT_NIFTI_WRITER_H_
#define CONSILIUM_TESTS_SUPPORT_NIFTI_WRITER_H_

#include <string>

#include "absl/status/status.h"
#include "site_agent/imaging/volume.h"

namespace consilium::phantom {

// Writes `mask` as gzipped NIfTI-1 (.nii.gz), with its place in the patient as RAS sform.
absl::Status WriteNifti(const imaging::LabelVolume& mask, const std::string& path);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_NIFTI_WRITER_H_
