#include "privacy/dp/fft.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/base/check.h"

namespace consilium::dp {
namespace {

using Complex = std::complex<double>;

void ReverseBits(absl::Span<Complex> values) {
  const size_t size = values.size();
  for (size_t i = 1, j = 0; i < size; ++i) {
    size_t bit = size >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(values[i], values[j]);
  }
}

}  // namespace

Fft::Fft(size_t size) : size_(size), roots_(size / 2) {
  CSL_CHECK(size >= 2 && (size & (size - 1)) == 0);
  for (size_t k = 0; k < roots_.size(); ++k) {
    const double angle = -2 * M_PI * static_cast<double>(k) / static_cast<double>(size);
    roots_[k] = Complex(std::cos(angle), std::sin(angle));
  }
}

void Fft::Forward(absl::Span<Complex> values) const {
  CSL_CHECK(values.size() == size_);
  ReverseBits(values);
  for (size_t half = 1, stride = size_ / 2; half < size_; half *= 2, stride /= 2) {
    for (size_t block = 0; block < size_; block += 2 * half) {
      Complex* const low = values.data() + block;
      Complex* const high = low + half;
      for (size_t k = 0; k < half; ++k) {
        // By parts: the library's product looks for infinities each time.
        const Complex root = roots_[k * stride];
        const double re = high[k].real() * root.real() - high[k].imag() * root.imag();
        const double im = high[k].real() * root.imag() + high[k].imag() * root.real();
        high[k] = Complex(low[k].real() - re, low[k].imag() - im);
        low[k] = Complex(low[k].real() + re, low[k].imag() + im);
      }
    }
  }
}

void Fft::Inverse(absl::Span<Complex> values) const {
  Forward(values);
  std::reverse(values.begin() + 1, values.end());
  const double scale = 1 / static_cast<double>(size_);
  for (Complex& value : values) value *= scale;
}

}  // namespace consilium::dp
