// Writes a container image as an OCI image layout: a folder that podman, skopeo and umoci read.
//
// Format: OCI image specification 1.1 (image-layout, manifest, config). Layers are plain tar, so a
// layer's digest is also its diff id and nothing depends on a compressor. The same image gives the
// same bytes: no build time, no host name.
//
// Memory: 1 MiB, whatever a layer's size; blobs are hashed as they are written.
// Atomic: built in DIR.partial, synced, renamed.
#ifndef CONSILIUM_COORDINATOR_PUBLISH_OCI_LAYOUT_H_
#define CONSILIUM_COORDINATOR_PUBLISH_OCI_LAYOUT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/publish/tar_writer.h"

namespace consilium::publish {

struct ImageLayer {
  std::string title;  // what it holds, for the image's history
  TarTree tree;
};

struct Image {
  std::string architecture;  // as Go names it: amd64, arm64
  absl::Time created;
  std::string user;
  std::string folder;                    // working directory
  std::vector<std::string> environment;  // NAME=value
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::map<std::string, std::string> annotations;  // of the manifest; also the config's labels
  std::vector<ImageLayer> layers;                  // lowest first
};

struct WrittenLayer {
  std::string title;
  std::string sha256;
  uint64_t bytes = 0;
};

struct WrittenImage {
  std::string manifest_sha256;
  std::vector<WrittenLayer> layers;
  uint64_t bytes = 0;          // of all blobs
  bool already_there = false;  // `dir` held this very image
};

// Of the files that the layers take from this machine: what there is to write, nearly.
uint64_t ImageBytes(const Image& image);

// OK, or INVALID_ARGUMENT: what a tag may be.
absl::Status CheckTag(const std::string& tag);

// `on_bytes` hears how many bytes of blobs are written so far.
// FAILED_PRECONDITION: `dir` holds something else. RESOURCE_EXHAUSTED: the disk is full.
// After a failure `dir` is as it was.
absl::StatusOr<WrittenImage> WriteOciLayout(const Image& image, const std::string& tag,
                                            const std::string& dir,
                                            const std::function<void(uint64_t)>& on_bytes);

}  // namespace consilium::publish

#endif  // CONSILIUM_COORDINATOR_PUBLISH_OCI_LAYOUT_H_
