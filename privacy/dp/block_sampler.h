// Draws integers from a log-concave distribution, to within a statistical distance of 2^-90 of it,
// for about the price of one comparison. Internal to discrete_noise.cc.
//
// The integers on either side of the mode 0 are cut into blocks of equal width, and each block is
// capped by its value next to the mode. A draw picks a block by its capped weight (128-bit table),
// an integer in it uniformly, and accepts that with probability f(y)/cap. Probabilities are
// compared with a random word in 64 bits; where the error of the floating-point value could decide,
// the word is extended and the value computed again with 113 bits. Blocks that weigh less than
// 2^-120 are left out. With a quarter of a standard deviation a block, nine draws in ten are
// accepted.
//
// `Target` has:
//   double Log(int64_t y) const;          log f(y); its error is below kMargin * 2^-63
//   Wide LogWide(int64_t y) const;        the same with 113 bits
//   double Drop(const Block&, int64_t y) const;  log(cap) - log f(y) >= 0, error as above
//   int64_t lowest() const;               f is 0 below
//   static constexpr uint64_t kMargin;
// f falls monotonically on both sides of 0. Immutable after construction; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_BLOCK_SAMPLER_H_
#define CONSILIUM_PRIVACY_DP_BLOCK_SAMPLER_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "privacy/dp/random_stream.h"
#include "privacy/dp/wide.h"

namespace consilium::dp {

struct Block {
  int64_t edge = 0;       // its integer next to the mode
  int64_t direction = 1;  // away from the mode
  double log_edge = 0;
  uint64_t accept_at_once = 0;  // words (of 63 bits) below need no f
};

template <typename Target>
class BlockSampler {
 public:
  // REQUIRES: width > 0.
  BlockSampler(Target target, int64_t width)
      : target_(std::move(target)), width_(static_cast<uint64_t>(width)) {
    std::vector<Wide> weights;
    AddBlocks(0, 1, weights);
    AddBlocks(-1, -1, weights);
    MakeTable(weights);
  }

  int64_t Draw(RandomStream& random) const {
    for (;;) {
      const Block& block = blocks_[Pick(random)];
      const int64_t y = block.edge + block.direction * static_cast<int64_t>(
                                                           width_ == 1 ? 0 : random.Below(width_));
      const uint64_t word = random.Next() >> 1;
      if (word < block.accept_at_once || Accept(block, y, word, random)) return y;
    }
  }

 private:
  static constexpr double kLogLeast = -120 * M_LN2;
  static constexpr size_t kGuides = 256;

  void AddBlocks(int64_t edge, int64_t direction, std::vector<Wide>& weights) {
    for (; edge >= target_.lowest(); edge += direction * static_cast<int64_t>(width_)) {
      Block block{.edge = edge, .direction = direction, .log_edge = target_.Log(edge)};
      if (block.log_edge < kLogLeast) break;
      const int64_t far = edge + direction * static_cast<int64_t>(width_ - 1);
      if (far >= target_.lowest()) {
        const uint64_t sure = Threshold(target_.Drop(block, far));
        block.accept_at_once = width_ == 1 ? UINT64_MAX : sure - std::min(sure, Target::kMargin);
      }
      blocks_.push_back(block);
      weights.push_back(WideExp(target_.LogWide(edge)));
    }
  }

  void MakeTable(const std::vector<Wide>& weights) {
    Wide total = 0;
    for (const Wide weight : weights) total += weight;
    Wide sum = 0;
    constexpr Wide kTwo64 = 18446744073709551616.0;
    for (const Wide weight : weights) {
      sum += weight;
      const Wide scaled = sum / total * kTwo64;
      const bool last = high_.size() + 1 == weights.size() || scaled >= kTwo64;
      high_.push_back(last ? UINT64_MAX : static_cast<uint64_t>(scaled));
      low_.push_back(last ? UINT64_MAX
                          : static_cast<uint64_t>((scaled - Wide(high_.back())) * kTwo64));
    }
    size_t index = 0;
    for (size_t i = 0; i < kGuides; ++i) {
      while (high_[index] < (static_cast<uint64_t>(i) << 56)) ++index;
      guide_[i] = static_cast<uint16_t>(index);
    }
  }

  // The first block whose cumulative weight is above a random number of 128 bits.
  size_t Pick(RandomStream& random) const {
    const uint64_t word = random.Next();
    size_t index = guide_[word >> 56];
    while (word > high_[index]) ++index;
    if (word == high_[index]) {
      const uint64_t rest = random.Next();
      while (index + 1 < high_.size() && word == high_[index] && rest >= low_[index]) ++index;
    }
    return index;
  }

  // e^-drop in units of 2^-63.
  static uint64_t Threshold(double drop) {
    return static_cast<uint64_t>(std::exp(-std::max(0.0, drop)) * 0x1p63);
  }

  bool Accept(const Block& block, int64_t y, uint64_t word, RandomStream& random) const {
    if (y < target_.lowest()) return false;
    const uint64_t threshold = Threshold(target_.Drop(block, y));
    if (word + Target::kMargin < threshold) return true;
    if (word > threshold + Target::kMargin) return false;
    const Wide exact = WideExp(target_.LogWide(y) - target_.LogWide(block.edge));
    const Wide uniform = (Wide(word) + Wide(random.Next()) * Wide(0x1p-64)) * Wide(0x1p-63);
    return uniform < exact;
  }

  Target target_;
  uint64_t width_;
  std::vector<Block> blocks_;
  std::vector<uint64_t> high_;  // cumulative weights, upper and lower words
  std::vector<uint64_t> low_;
  std::array<uint16_t, kGuides> guide_ = {};  // where to begin, by the top byte of the word
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_BLOCK_SAMPLER_H_
