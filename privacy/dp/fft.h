// The discrete Fourier transform of a length that is a power of two. Thread-compatible.
//
//   forward: X_k = sum_n x_n e^{-2 pi i n k / N}; inverse: x_n = (1/N) sum_k X_k e^{+2 pi i n k /
//   N}
//
// Cooley and Tukey, radix 2, in place; the error of a value is about log2(N) rounding errors of the
// root mean square.
#ifndef CONSILIUM_PRIVACY_DP_FFT_H_
#define CONSILIUM_PRIVACY_DP_FFT_H_

#include <complex>
#include <cstddef>
#include <vector>

#include "absl/types/span.h"

namespace consilium::dp {

class Fft {
 public:
  // A power of two, at least 2. Memory: 8 bytes * size.
  explicit Fft(size_t size);

  size_t size() const { return size_; }
  // `values` has size() values.
  void Forward(absl::Span<std::complex<double>> values) const;
  void Inverse(absl::Span<std::complex<double>> values) const;

 private:
  size_t size_;
  std::vector<std::complex<double>> roots_;  // e^{-2 pi i k / N} for k < N/2
};

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_FFT_H_
