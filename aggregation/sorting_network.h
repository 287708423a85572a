// Batcher's merge exchange: which places to compare, and swap if they are out of order, so that any
// n values end up sorted (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M). The list
// depends on n alone, so it sorts many columns at once in vector registers.
#ifndef CONSILIUM_AGGREGATION_SORTING_NETWORK_H_
#define CONSILIUM_AGGREGATION_SORTING_NETWORK_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace consilium::aggregation {

struct Comparator {
  uint16_t low;  // gets the smaller value
  uint16_t high;
};

// Calls visit(low, high) for each comparator in order.
template <typename Visit>
constexpr void VisitNetwork(size_t n, Visit visit) {
  size_t top = 1;
  while (2 * top < n) top *= 2;
  for (size_t p = n < 2 ? 0 : top; p > 0; p /= 2) {
    size_t r = 0;
    size_t d = p;
    for (size_t q = top;; q /= 2) {
      for (size_t i = 0; i + d < n; ++i) {
        if ((i & p) == r) visit(i, i + d);
      }
      if (q == p) break;
      d = q - p;
      r = p;
    }
  }
}

constexpr size_t NetworkSize(size_t n) {
  size_t size = 0;
  VisitNetwork(n, [&size](size_t, size_t) { ++size; });
  return size;
}

template <size_t N>
constexpr std::array<Comparator, NetworkSize(N)> Network() {
  std::array<Comparator, NetworkSize(N)> network = {};
  size_t at = 0;
  VisitNetwork(N, [&](size_t low, size_t high) {
    network[at++] = {static_cast<uint16_t>(low), static_cast<uint16_t>(high)};
  });
  return network;
}

}  // namespace consilium::aggregation

#endif  // CONSILIUM_AGGREGATION_SORTING_NETWORK_H_
