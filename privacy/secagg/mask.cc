#include "privacy/secagg/mask.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/synchronization/blocking_counter.h"
#include "absl/types/span.h"
#include "privacy/crypto/aes_ctr.h"
#include "proto/base/check.h"

namespace consilium::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "words are added as they lie in memory");

// Room for a keystream, aligned for the vector units; wiped, as it is a mask.
class Scratch {
 public:
  static constexpr size_t kBytes = MaskSum::kBlockBytes + privacy::kAesCtrBlockBytes;
  Scratch() : bytes_(kBytes + kAlign) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    data_ = bytes_.data() + (kAlign - address % kAlign) % kAlign;
  }
  char* data() { return data_; }

 private:
  static constexpr size_t kAlign = 64;
  privacy::SecretBytes bytes_;
  char* data_;
};

template <typename Word>
void AddWords(const char* __restrict stream, Word* __restrict words, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word mask;
    std::memcpy(&mask, stream + i * sizeof(Word), sizeof(Word));
    words[i] = static_cast<Word>(words[i] + mask);
  }
}

template <typename Word>
void SubtractWords(const char* __restrict stream, Word* __restrict words, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word mask;
    std::memcpy(&mask, stream + i * sizeof(Word), sizeof(Word));
    words[i] = static_cast<Word>(words[i] - mask);
  }
}

}  // namespace

void MaskSum::Add(privacy::SecretBytes key, MaskSign sign) {
  CSL_CHECK(key.size() == privacy::kAesCtrKeyBytes);
  keys_.push_back({std::move(key), sign});
}

template <typename Word>
void MaskSum::ApplyWords(uint64_t word_offset, absl::Span<Word> words) const {
  constexpr size_t kBlockWords = kBlockBytes / sizeof(Word);
  privacy::AesCtr stream;
  Scratch scratch;
  while (!words.empty()) {
    const absl::Span<Word> block = words.subspan(0, std::min(words.size(), kBlockWords));
    const uint64_t byte_offset = word_offset * sizeof(Word);
    const size_t skip = byte_offset % privacy::kAesCtrBlockBytes;
    const size_t bytes = skip + block.size() * sizeof(Word);
    for (const SignedKey& key : keys_) {
      stream.Start(key.key.view(), byte_offset - skip);
      stream.Read(absl::MakeSpan(scratch.data(), bytes));
      if (key.sign == MaskSign::kAdd) {
        AddWords(scratch.data() + skip, block.data(), block.size());
      } else {
        SubtractWords(scratch.data() + skip, block.data(), block.size());
      }
    }
    word_offset += block.size();
    words.remove_prefix(block.size());
  }
}

void MaskSum::Apply(uint64_t word_offset, absl::Span<uint32_t> words) const {
  ApplyWords(word_offset, words);
}

void MaskSum::Apply(uint64_t word_offset, absl::Span<uint16_t> words) const {
  ApplyWords(word_offset, words);
}

void RunByRange(ThreadPool& pool, int parts, uint64_t words, uint64_t align,
                absl::FunctionRef<void(uint64_t begin, uint64_t count)> work) {
  CSL_CHECK(parts >= 1 && align >= 1);
  const uint64_t units = (words + align - 1) / align;
  const uint64_t size = (units + parts - 1) / parts * align;
  if (size == 0) return;
  const uint64_t ranges = (words + size - 1) / size;
  absl::BlockingCounter others(static_cast<int>(ranges - 1));
  for (uint64_t range = 1; range < ranges; ++range) {
    pool.Schedule(
        [&work, &others, begin = range * size, end = std::min(words, (range + 1) * size)] {
          work(begin, end - begin);
          others.DecrementCount();
        });
  }
  work(0, std::min(words, size));
  others.Wait();
}

}  // namespace consilium::secagg
