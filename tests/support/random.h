// The phantom's numbers: the same on every machine, unlike the distributions of <random>.
#ifndef CONSILIUM_TESTS_SUPPORT_RANDOM_H_
#define CONSILIUM_TESTS_SUPPORT_RANDOM_H_

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "absl/strings/string_view.h"

namespace consilium::phantom {

// SplitMix64's finaliser: one bijective mix of 64 bits.
inline uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// A repeatable stream of numbers. Not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // An independent stream for one purpose, so that a change to one draw leaves the others alone.
  Random(uint64_t seed, absl::string_view purpose) : state_(seed) {
    for (char c : purpose) state_ = Mix64(state_ * 31 + static_cast<unsigned char>(c));
  }

  uint64_t Next() { return Mix64(state_ += 0x9e3779b97f4a7c15ull); }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }  // [0, 1)
  double Uniform(double low, double high) { return low + (high - low) * Uniform(); }
  int64_t Index(int64_t count) { return static_cast<int64_t>(Next() % count); }
  double Normal() {  // Box-Muller; one of the pair, which is enough here
    const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

  // "2.25." and 120 random bits in decimal (PS3.5 B.2), at most 42 characters.
  std::string Uid() {
    unsigned __int128 value = static_cast<unsigned __int128>(Next() >> 8) << 64 | Next();
    std::string digits;
    for (; value != 0; value /= 10)
      digits.insert(digits.begin(), static_cast<char>('0' + value % 10));
    return "2.25." + digits;
  }

 private:
  uint64_t state_;
};

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_RANDOM_H_
