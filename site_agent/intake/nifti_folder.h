// The NIfTI labels that a site's people put into one folder, by what their names name.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_NIFTI_FOLDER_H_
#define CONSILIUM_SITE_AGENT_INTAKE_NIFTI_FOLDER_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace consilium::agent {

// Path by the file's name without .nii or .nii.gz: a series UID or a patient ID. Looked up with
// received values, which never become part of a path. An empty `folder` is an empty map.
// NOT_FOUND: no such folder. INVALID_ARGUMENT: two files of one name.
absl::StatusOr<std::map<std::string, std::string>> ListNiftiLabels(const std::string& folder);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_NIFTI_FOLDER_H_
