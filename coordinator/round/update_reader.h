// A sealed update read as tensors, one piece in memory: once to check it, once to fold it.
//
// Thread-compatible. The file must not change meanwhile.
// Errors: INVALID_ARGUMENT and PERMISSION_DENIED: the update is not what it has to be, and never
// will be. Others: this machine could not read it.
#ifndef CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_
#define CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {

class UpdateReader {
 public:
  // Opens the file and reads its header.
  static absl::StatusOr<UpdateReader> Open(const std::string& path,
                                           const privacy::HpkeKeyPair& key,
                                           const privacy::SealContext& context);
  const wire::SafetensorsHeader& header() const { return header_; }

  // Gives every value once, in order; `offset` counts values. Call it once. An error of `visit`
  // ends it.
  using Visit = std::function<absl::Status(int64_t offset, absl::Span<const float> values)>;
  absl::Status ForEachBlock(const Visit& visit);

 private:
  UpdateReader(privacy::SealedReader sealed, wire::SafetensorsHeader header, std::string rest)
      : sealed_(std::move(sealed)), header_(std::move(header)), rest_(std::move(rest)) {}
  privacy::SealedReader sealed_;
  wire::SafetensorsHeader header_;
  std::string rest_;  // data that came with the header's pieces
};

struct UpdateExpectation {
  std::string layout_sha256;  // of TensorLayout::Canonical()
};

std::string LayoutSha256(const wire::TensorLayout& layout);

// Reads all of it: opens, has the layout, every value is finite and within the fold's range.
absl::Status CheckUpdate(const std::string& path, const privacy::HpkeKeyPair& key,
                         const privacy::SealContext& context,
                         const UpdateExpectation& expectation);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_
