// What the server takes off a sum of masked updates.
#ifndef CONSILIUM_PRIVACY_SECAGG_UNMASK_H_
#define CONSILIUM_PRIVACY_SECAGG_UNMASK_H_

#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "privacy/secagg/mask.h"

namespace consilium::secagg {

// The self masks of the survivors and the pair masks that a site which did not deliver left behind
// in the others' updates; each keystream once. Made by ServerSession::Unmask. Thread-safe.
//
// Time: (survivors + survivors x dropped) keystreams over the words.
class Unmasker {
 public:
  explicit Unmasker(MaskSum masks) : masks_(std::move(masks)) {}
  // Turns the sum of the survivors' masked words [word_offset, ...) into the sum of their words, in
  // place. Each word once.
  void Remove(uint64_t word_offset, absl::Span<uint32_t> sum) const {
    masks_.Apply(word_offset, sum);
  }
  void Remove(uint64_t word_offset, absl::Span<uint16_t> sum) const {
    masks_.Apply(word_offset, sum);
  }
  size_t keystreams() const { return masks_.keys(); }

 private:
  MaskSum masks_;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_UNMASK_H_
