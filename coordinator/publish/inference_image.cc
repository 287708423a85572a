#include "coordinator/publish/inference_image.h"

#include <utility>

#include "coordinator/publish/runtime_layer.h"
#include "proto/base/status.h"

namespace consilium::publish {

absl::StatusOr<Image> MakeInferenceImage(const InferenceImageOptions& options) {
  CSL_ASSIGN_OR_RETURN(Runtime runtime, MakeRuntime({options.program}, options.dictionaries));
  runtime.layer.tree.AddFolder("app/data/input_data");
  runtime.layer.tree.AddFolder("app/data/output_data", 01777);
  runtime.layer.tree.AddLink("app/data/output", "output_data");
  Image image;
  image.architecture = runtime.architecture;
  image.created = options.created;
  image.user = kImageUser;
  image.folder = "/app";
  image.environment = std::move(runtime.environment);
  image.entrypoint = {"/app/bin/consilium-infer"};
  image.command = {"--input",  "/app/data/input_data",
                   "--output", "/app/data/output_data",
                   "--model",  "/app/model"};
  image.annotations = options.annotations;
  image.layers.push_back(std::move(runtime.layer));
  ImageLayer application = {"application: consilium-infer", {}};
  application.tree.AddFileFrom("app/bin/consilium-infer", options.program, 0755);
  application.tree.AddLink("app/bin/mhub.run", "consilium-infer");
  image.layers.push_back(std::move(application));
  ImageLayer model = {"model: weights and release record", {}};
  model.tree.AddFile("app/model/release.json", options.record_json);
  model.tree.AddFileFrom("app/model/model.safetensors", options.model_path);
  image.layers.push_back(std::move(model));
  return image;
}

}  // namespace consilium::publish
