// The bits of a pixel that belong to the image, and those around them.
#ifndef CONSILIUM_PRIVACY_DEID_STORED_BITS_H_
#define CONSILIUM_PRIVACY_DEID_STORED_BITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace consilium::privacy {

// For native little endian pixels of 8 or 16 bits, of which `stored` up to `high_bit` count
// (PS3.5 8.1.1). Bits above are clear where they repeat the sign, those below where they are 0.
// Works on a machine word of pixels at a time; pieces begin with a pixel. Immutable.
class StoredBits {
 public:
  // `high_bit` + 1 is at least `stored`, at most `allocated`.
  StoredBits(int allocated, int stored, int high_bit, bool is_signed);

  bool AreClear(absl::string_view pixels) const;
  // Returns whether anything was there.
  bool Clear(char* pixels, size_t bytes) const;

 private:
  uint64_t Clear(uint64_t word) const;

  int high_bit_;
  bool is_signed_;
  uint64_t in_each_;  // 1 in the lowest bit of each pixel
  uint64_t below_;
  uint64_t above_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_STORED_BITS_H_
