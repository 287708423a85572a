// The masked vector of one update, made piece by piece as it is read.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_WORDS_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_WORDS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "privacy/secagg/mask.h"
#include "privacy/secagg/quantise.h"
#include "proto/base/thread_pool.h"

namespace consilium::agent {

// What a payload is made from. Everything must outlive the reader.
struct MaskedSource {
  const secagg::Quantiser& quantiser;
  const secagg::Masker& masker;
  absl::Span<const float> values;
  secagg::Quantiser::SiteInput input;
  // The metrics of the lanes, asked for once all values are quantised; `saturated` of them were cut
  // off.
  std::function<std::vector<double>(uint64_t saturated)> metrics;
  // Noise of the words of values from `offset` on, added to them before they are masked; empty: none.
  // Thread-safe; the same whenever the same words are asked for. Offsets are multiples of 64 Ki.
  std::function<void(uint64_t offset, absl::Span<int64_t> noise)> noise = {};
  int threads = 1;
};

// Reads the vector once from its beginning to its end, each word quantised and masked once, in
// windows of 2 Mi words on `threads` threads. Word is uint32_t or uint16_t, as the quantiser's
// bits. Thread-compatible.
template <typename Word>
class MaskedWords {
 public:
  explicit MaskedWords(MaskedSource source);

  // The next `size` bytes. OUT_OF_RANGE: beyond the end. Errors of Quantiser::Encode.
  absl::Status Read(char* out, size_t size);

 private:
  absl::Status Fill();
  absl::Status FillValues(uint64_t words);
  absl::Status FillLanes();
  absl::Status EncodeRange(uint64_t begin, uint64_t count);

  const MaskedSource source_;
  ThreadPool pool_;
  std::vector<Word> window_;
  uint64_t next_word_ = 0;  // where the window ends
  size_t read_bytes_ = 0;   // of the window
  absl::Mutex mutex_;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  uint64_t saturated_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_MASKED_WORDS_H_
