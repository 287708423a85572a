// A sealed masked update read as words, any part of it (privacy/secagg/payload.h).
//
// Errors: INVALID_ARGUMENT and PERMISSION_DENIED: it is not what was announced, and never will be.
// Others: this machine could not read it.
#ifndef CONSILIUM_COORDINATOR_ROUND_MASKED_READER_H_
#define CONSILIUM_COORDINATOR_ROUND_MASKED_READER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/secagg/payload.h"

namespace consilium::coordinator {

// Thread-safe. The file must not change meanwhile. Memory: a piece for each call under way.
class MaskedReader {
 public:
  // Opens the file and checks that it is the update of this session.
  static absl::StatusOr<MaskedReader> Open(const std::string& path, const privacy::HpkeKeyPair& key,
                                           const privacy::SealContext& context,
                                           const secagg::PayloadHeader& expected);

  uint64_t words() const { return header_.words; }
  uint32_t bits() const { return header_.bits; }
  // OUT_OF_RANGE: beyond the last word. The words have to be of the session's size.
  absl::Status Read(uint64_t offset, absl::Span<uint32_t> words) const;
  absl::Status Read(uint64_t offset, absl::Span<uint16_t> words) const;
  // The last place not after `end` that reads best end at: the piece's end, if it is after `begin`.
  uint64_t BlockEnd(uint64_t begin, uint64_t end) const;

 private:
  MaskedReader(privacy::SealedReader sealed, secagg::PayloadHeader header)
      : sealed_(std::move(sealed)), header_(std::move(header)) {}
  template <typename Word>
  absl::Status ReadWords(uint64_t offset, absl::Span<Word> words) const;

  privacy::SealedReader sealed_;
  secagg::PayloadHeader header_;
};

// Reads all of it: opens, and is the update of this session. What the words say nobody can check.
absl::Status CheckMasked(const std::string& path, const privacy::HpkeKeyPair& key,
                         const privacy::SealContext& context,
                         const secagg::PayloadHeader& expected);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_MASKED_READER_H_
