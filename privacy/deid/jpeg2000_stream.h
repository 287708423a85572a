// The bounded walk over a JPEG 2000 code stream that comes before its decoder.
//
// The decoder allocates by what the stream's markers claim: a hundred bytes can ask for gigabytes
// of tiles, precincts or code-blocks. What passes here cannot.
#ifndef CONSILIUM_PRIVACY_DEID_JPEG2000_STREAM_H_
#define CONSILIUM_PRIVACY_DEID_JPEG2000_STREAM_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

struct Jpeg2000Stream {
  size_t begin =
      0;           // of the code stream in the bytes given: a JP2 file's boxes may stand before it
  size_t end = 0;  // just behind its end marker
  uint32_t columns = 0;
  uint32_t rows = 0;
  int components = 0;
  int precision = 0;  // bits of every component
  bool is_signed = false;
  bool reversible = false;     // every coding style uses the 5-3 wavelet and no quantisation
  bool colours_mixed = false;  // RCT or ICT: the decoder gives RGB
};

// Checks the marker segments and the lengths of the tile-parts (ISO/IEC 15444-1 Annex A, and of
// 15444-15 that the stream may be a high-throughput one), that each tile is there, and that
// samples, tiles, precincts, packets and code-blocks stay within what `bytes` of this length can
// honestly hold. Every component has the same bits and is not subsampled. Time: linear in the
// bytes. INVALID_ARGUMENT: broken, or claims more than its bytes can hold. UNIMPLEMENTED: a form of
// JPEG 2000 that is not covered.
absl::StatusOr<Jpeg2000Stream> ScanJpeg2000(absl::string_view bytes);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_JPEG2000_STREAM_H_
