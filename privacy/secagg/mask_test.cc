#include "privacy/secagg/mask.h"

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/aes_ctr.h"

namespace consilium::secagg {
namespace {

constexpr uint64_t kWords = 70'003;  // several blocks, and a piece of one

std::string Key(char c) { return std::string(32, c); }

MaskSum ThreeKeys() {
  MaskSum masks;
  masks.Add(privacy::SecretBytes(Key('a')), MaskSign::kAdd);
  masks.Add(privacy::SecretBytes(Key('b')), MaskSign::kSubtract);
  masks.Add(privacy::SecretBytes(Key('c')), MaskSign::kAdd);
  return masks;
}

// What three whole keystreams give, word by word.
template <typename Word>
std::vector<Word> Expected(std::vector<Word> words) {
  for (const char c : {'a', 'b', 'c'}) {
    std::string stream(words.size() * sizeof(Word), '\0');
    privacy::AesCtr cipher;
    const std::string key = Key(c);
    cipher.Start(key, 0);
    cipher.Read(absl::MakeSpan(stream));
    for (size_t i = 0; i < words.size(); ++i) {
      Word mask;
      std::memcpy(&mask, stream.data() + i * sizeof(Word), sizeof(Word));
      words[i] = static_cast<Word>(c == 'b' ? words[i] - mask : words[i] + mask);
    }
  }
  return words;
}

template <typename Word>
std::vector<Word> Input() {
  std::vector<Word> words(kWords);
  for (size_t i = 0; i < words.size(); ++i) words[i] = static_cast<Word>(i * 2654435761u);
  return words;
}

template <typename Word>
void CheckAnyOrderAndPieces() {
  const MaskSum masks = ThreeKeys();
  const std::vector<Word> expected = Expected(Input<Word>());
  std::vector<Word> whole = Input<Word>();
  masks.Apply(0, absl::MakeSpan(whole));
  EXPECT_EQ(whole, expected);
  std::vector<Word> pieces = Input<Word>();
  const absl::Span<Word> all = absl::MakeSpan(pieces);
  masks.Apply(33'333, all.subspan(33'333));
  masks.Apply(0, all.subspan(0, 1));
  masks.Apply(1, all.subspan(1, 32'767));
  masks.Apply(32'768, all.subspan(32'768, 565));
  EXPECT_EQ(pieces, expected);
}

TEST(MaskTest, MasksInAnyOrderAndPieces) {
  CheckAnyOrderAndPieces<uint32_t>();
  CheckAnyOrderAndPieces<uint16_t>();
}

TEST(MaskTest, RangesOnThreadsGiveTheSame) {
  const MaskSum masks = ThreeKeys();
  const std::vector<uint32_t> expected = Expected(Input<uint32_t>());
  ThreadPool pool(2);
  for (const int parts : {1, 2, 3, 7}) {
    std::vector<uint32_t> words = Input<uint32_t>();
    RunByRange(pool, parts, words.size(), 1024, [&](uint64_t begin, uint64_t count) {
      EXPECT_EQ(begin % 1024, 0u);
      masks.Apply(begin, absl::MakeSpan(words).subspan(begin, count));
    });
    EXPECT_EQ(words, expected) << parts;
  }
}

TEST(MaskTest, RangesCoverEachWordOnceWhateverTheSizes) {
  ThreadPool pool(3);
  for (const uint64_t words : {0, 1, 15, 16, 17, 100, 1000}) {
    for (const int parts : {1, 2, 5, 64}) {
      std::vector<std::atomic<int>> seen(words);
      RunByRange(pool, parts, words, 16, [&](uint64_t begin, uint64_t count) {
        for (uint64_t i = begin; i < begin + count; ++i) ++seen[i];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

}  // namespace
}  // namespace consilium::secagg
