// The image of a release: consilium-infer, all it needs to start, and one model.
//
// Layers, by how seldom they change: runtime (loader, libraries, DICOM dictionary, folders),
// application (the program), model (weights and release record). Two releases made with the same
// program share all but the last byte for byte.
//
// The image honours MHub's container contract: /app/data/input_data, /app/data/output_data (also as
// /app/data/output), mhub.run; it has no shell, needs no network, and runs as 65532.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_INFERENCE_IMAGE_H_
#define CONSILIUM_COORDINATOR_PUBLISH_INFERENCE_IMAGE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/publish/oci_layout.h"

namespace consilium::publish {

struct InferenceImageOptions {
  std::string program;      // consilium-infer on this machine
  std::string model_path;   // model.safetensors
  std::string record_json;  // release.json
  absl::Time created;       // of the release
  std::map<std::string, std::string> annotations;
  // DICOM data dictionaries (dicom.dic, private.dic). Empty: those of the DCMTK that the program
  // links, in /usr/share.
  std::vector<std::string> dictionaries;
};

// NOT_FOUND: the program, a library or the DICOM dictionary is missing; says which.
absl::StatusOr<Image> MakeInferenceImage(const InferenceImageOptions& options);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_INFERENCE_IMAGE_H_
