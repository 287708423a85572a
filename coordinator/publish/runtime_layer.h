// The lowest layer of every image of ours: what programs need to start, and no more.
//
// Their loader and libraries (/app/lib), the DICOM dictionaries where they link DCMTK
// (/app/share/dcmtk), users root and consilium (65532), /tmp. No shell, no package manager.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_RUNTIME_LAYER_H_
#define CONSILIUM_COORDINATOR_PUBLISH_RUNTIME_LAYER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/publish/oci_layout.h"

namespace consilium::publish {

inline constexpr const char* kImageUser = "65532";

struct Runtime {
  std::string architecture;              // as Image wants it
  std::vector<std::string> environment;  // that finds what is in the layer
  ImageLayer layer;
};

// For all of `programs`, files on this machine. `dictionaries` (dicom.dic, private.dic) empty:
// those of the DCMTK that the programs link, in /usr/share; none where they link none. NOT_FOUND: a
// program, a library or the dictionary is missing; says which. INVALID_ARGUMENT: no programs, an
// architecture that has no images, or programs that do not go together.
absl::StatusOr<Runtime> MakeRuntime(const std::vector<std::string>& programs,
                                    const std::vector<std::string>& dictionaries);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_RUNTIME_LAYER_H_
