// The header and the array of a NIfTI file (nifti.nimh.nih.gov, NIfTI-1 and NIfTI-2).
#ifndef CONSILIUM_SITE_AGENT_IMAGING_NIFTI_FILE_H_
#define CONSILIUM_SITE_AGENT_IMAGING_NIFTI_FILE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::imaging {

// Rows x, y, z of RAS, mm; columns i, j, k and the offset.
using NiftiAffine = std::array<std::array<double, 4>, 3>;

struct NiftiFile {
  std::array<int64_t, 3> size = {0, 0, 0};
  std::optional<NiftiAffine> sform;
  std::optional<NiftiAffine> qform;
  std::vector<double> values;  // i runs fastest; scaled
};

// INVALID_ARGUMENT: not NIfTI, broken, a pair of files (.hdr/.img), more than three dimensions, a
// kind of number that labels do not have (complex, colour). RESOURCE_EXHAUSTED: more voxels than
// `voxels_max`, which bounds what is allocated. NOT_FOUND: no such file.
absl::StatusOr<NiftiFile> ReadNifti(const std::string& path, int64_t voxels_max);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_NIFTI_FILE_H_
