#include "site_agent/round/masking/masked_words.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/base/status.h"

namespace consilium::agent {
namespace {

// Both are multiples of every rotation block up to that size.
constexpr uint64_t kWindowWords = uint64_t{2} << 20;
constexpr uint64_t kPartWords = 64 * 1024;
static_assert(kWindowWords >= 2 * secagg::kRotationBlockMax);

}  // namespace

template <typename Word>
MaskedWords<Word>::MaskedWords(MaskedSource source)
    : source_(std::move(source)), pool_(std::max(source_.threads - 1, 1)) {}

template <typename Word>
absl::Status MaskedWords<Word>::EncodeRange(uint64_t begin, uint64_t count) {
  const absl::Span<Word> words = absl::MakeSpan(window_).subspan(begin, count);
  const uint64_t first = next_word_ + begin;
  uint64_t saturated = 0;
  std::vector<int64_t> noise;
  if (source_.noise) {
    noise.resize(count);
    source_.noise(first, absl::MakeSpan(noise));
  }
  CSL_RETURN_IF_ERROR(source_.quantiser.Encode(
      source_.input, first, source_.values.subspan(first, count), noise, words, saturated));
  source_.masker.Apply(first, words);
  absl::MutexLock lock(&mutex_);
  saturated_ += saturated;
  return absl::OkStatus();
}

template <typename Word>
absl::Status MaskedWords<Word>::FillValues(uint64_t words) {
  window_.resize(words);
  const uint64_t align = std::max<uint64_t>(kPartWords, source_.quantiser.spec().rotation_block);
  secagg::RunByRange(pool_, source_.threads, words, align, [&](uint64_t begin, uint64_t count) {
    const absl::Status encoded = EncodeRange(begin, count);
    absl::MutexLock lock(&mutex_);
    failed_.Update(encoded);
  });
  absl::MutexLock lock(&mutex_);
  return failed_;
}

template <typename Word>
absl::Status MaskedWords<Word>::FillLanes() {
  uint64_t saturated = 0;
  {
    absl::MutexLock lock(&mutex_);
    saturated = saturated_;
  }
  window_.resize(source_.quantiser.spec().lanes());
  CSL_RETURN_IF_ERROR(source_.quantiser.EncodeLanes(
      source_.input.weight, source_.metrics(saturated), absl::MakeSpan(window_)));
  source_.masker.Apply(next_word_, absl::MakeSpan(window_));
  return absl::OkStatus();
}

template <typename Word>
absl::Status MaskedWords<Word>::Fill() {
  const uint64_t lanes_at = source_.quantiser.padded_parameters();
  if (next_word_ >= source_.quantiser.words()) {
    return absl::OutOfRangeError("the masked vector ends before");
  }
  if (next_word_ < lanes_at) {
    CSL_RETURN_IF_ERROR(FillValues(std::min(kWindowWords, lanes_at - next_word_)));
  } else {
    CSL_RETURN_IF_ERROR(FillLanes());
  }
  next_word_ += window_.size();
  read_bytes_ = 0;
  return absl::OkStatus();
}

template <typename Word>
absl::Status MaskedWords<Word>::Read(char* out, size_t size) {
  while (size > 0) {
    if (read_bytes_ == window_.size() * sizeof(Word)) CSL_RETURN_IF_ERROR(Fill());
    const size_t part = std::min(size, window_.size() * sizeof(Word) - read_bytes_);
    std::memcpy(out, reinterpret_cast<const char*>(window_.data()) + read_bytes_, part);
    read_bytes_ += part;
    out += part;
    size -= part;
  }
  return absl::OkStatus();
}

template class MaskedWords<uint32_t>;
template class MaskedWords<uint16_t>;

}  // namespace consilium::agent
