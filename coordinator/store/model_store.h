// The weights of registered models: manifests in the store, chunks beside it.
//
// Order: Prepare once at start, then any call. Thread-safe. The store must outlive it, and it must
// outlive every reader and writer it gives out.
// A new model: NewWriter, Append, Finish; then Batch::Put of the manifest together with the version
// while the writer lives.
#ifndef CONSILIUM_COORDINATOR_STORE_MODEL_STORE_H_
#define CONSILIUM_COORDINATOR_STORE_MODEL_STORE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/store/chunk_store.h"
#include "coordinator/store/store.h"

namespace consilium::coordinator {

class ModelStore {
 public:
  ModelStore(Store& store, std::string chunks_folder)
      : store_(store), chunks_(std::move(chunks_folder)) {}

  // Also takes in models of the layout before chunks, <old_folder>/<sha256>.safetensors: each is
  // written as chunks, its manifest committed, then the file removed, so that a crash at any point
  // only repeats work. A file that no longer has its digest stays where it is and is logged.
  absl::Status Prepare(const std::string& old_folder, absl::Time now);

  // NOT_FOUND: no version has this digest, or its weights are no longer kept.
  // INVALID_ARGUMENT: not a digest.
  absl::StatusOr<ModelReader> Open(absl::string_view sha256);
  ChunkWriter NewWriter() { return chunks_.NewWriter(); }
  ChunkStore& chunks() { return chunks_; }
  // Held by whoever deletes manifests, and by whoever commits one of bytes that it did not make
  // itself and that an old version may have too.
  absl::Mutex& turn() ABSL_LOCK_RETURNED(turn_) { return turn_; }

 private:
  absl::Status TakeIn(const std::string& path, absl::string_view sha256, absl::Time now);

  Store& store_;
  ChunkStore chunks_;
  absl::Mutex turn_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_MODEL_STORE_H_
