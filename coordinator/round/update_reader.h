// A sealed update read as tensors, any part of it: whole to check it, block by block to fold it.
//
// Errors: INVALID_ARGUMENT and PERMISSION_DENIED: the update is not what it has to be, and never
// will be. Others: this machine could not read it.
#ifndef CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_
#define CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "aggregation/update_check.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {

// Thread-safe. The file must not change meanwhile. Memory: a piece for each call under way.
class UpdateReader {
 public:
  // Opens the file and reads its header.
  static absl::StatusOr<UpdateReader> Open(const std::string& path, const privacy::HpkeKeyPair& key,
                                           const privacy::SealContext& context);
  const wire::SafetensorsHeader& header() const { return header_; }
  int64_t parameters() const { return header_.layout.parameters(); }

  // Values from `offset` on. OUT_OF_RANGE: beyond the last.
  absl::Status Read(int64_t offset, absl::Span<float> values) const;
  // The last place not after `end` that reads best end at: the piece's end, if it is after `begin`.
  int64_t BlockEnd(int64_t begin, int64_t end) const;

 private:
  UpdateReader(privacy::SealedReader sealed, wire::SafetensorsHeader header)
      : sealed_(std::move(sealed)), header_(std::move(header)) {}
  privacy::SealedReader sealed_;
  wire::SafetensorsHeader header_;
};

// `size` bytes of the plaintext from `at` on. REQUIRES: they are there.
absl::Status ReadSealed(const privacy::SealedReader& sealed, uint64_t at, char* out, size_t size);

struct UpdateExpectation {
  std::string layout_sha256;  // of TensorLayout::Canonical()
  bool with_control = false;  // SCAFFOLD: the same tensors again, named kControlPrefix + name
  double norm_max = 0;        // 0: no bound
};
inline constexpr const char* kControlPrefix = "control.";

std::string LayoutSha256(const wire::TensorLayout& layout);

// Reads all of it: opens, has the layout, every value is finite and within the fold's range, and the
// norm within its bound.
absl::StatusOr<aggregation::UpdateFacts> CheckUpdate(const std::string& path,
                                                     const privacy::HpkeKeyPair& key,
                                                     const privacy::SealContext& context,
                                                     const UpdateExpectation& expectation);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_UPDATE_READER_H_
