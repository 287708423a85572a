// Figures of privacy/secagg, each against the bare keystream of the same run. Not run by ctest:
//   build/check/tests/bench/secagg_bench [--quick]
// The goals: masking against 9 peers (10 keystreams) at most 1.4 times AES-256-CTR and an addition
// of the same bytes, two threads at least 1.8 times one; unmasking 10 sites with 1 dropped
// within 1.5 times the keystreams it needs.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "privacy/crypto/aes_ctr.h"
#include "privacy/crypto/random.h"
#include "privacy/secagg/mask.h"
#include "privacy/secagg/quantise.h"
#include "privacy/secagg/unmask.h"
#include "proto/base/check.h"
#include "proto/base/thread_pool.h"

namespace consilium::secagg {
namespace {

constexpr uint64_t kAlignWords = 256 * 1024;  // a wire chunk of 1 MiB
constexpr int kRepeats = 5;

// Seconds on the wall and of the processor; the least of some runs, as other work on the machine
// only adds. One thread is compared by the processor's time, which other work leaves nearly alone.
struct Times {
  double wall = 1e30;
  double processor = 1e30;

  void Run(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    const double before = Processor();
    work();
    processor = std::min(processor, Processor() - before);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    wall = std::min(wall, took.count());
  }
  static double Processor() {
    timespec now;
    CSL_CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }
};

// The floor: one keystream after the other, in pieces of 64 KiB, each added to the words it is for.
template <typename Word>
void BareKeystreamAndAdd(size_t keystreams, absl::Span<Word> words) {
  constexpr size_t kPieceWords = 64 * 1024 / sizeof(Word);
  std::vector<Word> stream(kPieceWords);
  std::vector<privacy::AesCtr> ciphers(keystreams);
  for (size_t k = 0; k < keystreams; ++k) {
    ciphers[k].Start(std::string(privacy::kAesCtrKeyBytes, static_cast<char>(k)), 0);
  }
  for (size_t at = 0; at < words.size(); at += kPieceWords) {
    const absl::Span<Word> piece = words.subspan(at, kPieceWords);
    for (privacy::AesCtr& cipher : ciphers) {
      cipher.Read(
          absl::MakeSpan(reinterpret_cast<char*>(stream.data()), piece.size() * sizeof(Word)));
      for (size_t i = 0; i < piece.size(); ++i) piece[i] = static_cast<Word>(piece[i] + stream[i]);
    }
  }
}

MaskSum Masks(size_t keys) {
  MaskSum masks;
  for (size_t k = 0; k < keys; ++k) {
    masks.Add(privacy::RandomSecret(32), k % 2 == 0 ? MaskSign::kAdd : MaskSign::kSubtract);
  }
  return masks;
}

template <typename Word>
void Compare(const char* what, size_t keystreams, uint64_t words_count,
             const std::function<void(uint64_t, absl::Span<Word>)>& apply) {
  std::vector<Word> words(words_count, 1);
  const absl::Span<Word> all = absl::MakeSpan(words);
  ThreadPool pool(1);
  Times bare;
  Times one;
  Times two;
  for (int i = 0; i < kRepeats; ++i) {
    bare.Run([&] { BareKeystreamAndAdd(keystreams, all); });
    one.Run([&] { apply(0, all); });
    two.Run([&] {
      RunByRange(pool, 2, words.size(), kAlignWords,
                 [&](uint64_t begin, uint64_t count) { apply(begin, all.subspan(begin, count)); });
    });
  }
  std::printf(
      "%-8s %2zu bit, %4.1f M words, %2zu keystreams: bare %.3f s, one thread %.3f s: %.2f of "
      "bare; "
      "on the wall %.3f s, two threads %.3f s: %.2f times as fast\n",
      what, 8 * sizeof(Word), static_cast<double>(words_count) / 1e6, keystreams, bare.processor,
      one.processor, one.processor / bare.processor, one.wall, two.wall, one.wall / two.wall);
}

void MeasureQuantiser(uint64_t parameters, uint32_t bits, uint32_t block) {
  QuantiserSpec spec;
  spec.clip = 0.05;
  spec.divisor = 1000;
  spec.rotation_block = block;
  spec.rounding = block != 0 ? Rounding::kStochastic : Rounding::kNearest;
  const Quantiser quantiser = *Quantiser::Create({.spec = spec,
                                                  .bits = bits,
                                                  .sites = 10,
                                                  .parameters = parameters,
                                                  .rotation_seed = std::string(32, 's')});
  const std::vector<float> values(parameters, 1e-3f);
  std::vector<uint32_t> words32(bits == 32 ? quantiser.padded_parameters() : 0);
  std::vector<uint16_t> words16(bits == 16 ? quantiser.padded_parameters() : 0);
  const std::string seed(32, 'r');
  const Quantiser::SiteInput site{.weight = 100, .rounding_seed = seed};
  Times times;
  for (int i = 0; i < kRepeats; ++i) {
    times.Run([&] {
      uint64_t saturated = 0;
      const absl::Status status =
          bits == 32 ? quantiser.Encode(site, 0, values, {}, absl::MakeSpan(words32), saturated)
                     : quantiser.Encode(site, 0, values, {}, absl::MakeSpan(words16), saturated);
      CSL_CHECK(status.ok());
    });
  }
  std::printf("quantise %2u bit, %4.1f M values, rotation %u: %.2f ns a value\n", bits,
              static_cast<double>(parameters) / 1e6, block,
              times.processor / static_cast<double>(parameters) * 1e9);
}

void Main(uint64_t mask_words, uint64_t unmask_words) {
  const Masker masker(Masks(10));
  Compare<uint32_t>("mask", 10, mask_words,
                    [&](uint64_t at, absl::Span<uint32_t> words) { masker.Apply(at, words); });
  Compare<uint16_t>("mask", 10, mask_words,
                    [&](uint64_t at, absl::Span<uint16_t> words) { masker.Apply(at, words); });
  const Unmasker unmasker(Masks(9 + 9));
  Compare<uint32_t>("unmask", unmasker.keystreams(), unmask_words,
                    [&](uint64_t at, absl::Span<uint32_t> sum) { unmasker.Remove(at, sum); });
  MeasureQuantiser(mask_words, 32, 0);
  MeasureQuantiser(mask_words, 16, 16384);
}

}  // namespace
}  // namespace consilium::secagg

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string(argv[1]) == "--quick";
  consilium::secagg::Main(quick ? 4'000'000 : 20'000'000, quick ? 8'000'000 : 62'000'000);
  return 0;
}
