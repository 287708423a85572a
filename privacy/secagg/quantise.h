// Updates as integers modulo 2^bits, so that their sum is exact and can be masked.
//
//   q = round( x * (w / D) / step ),   step = 2C / (2^bits - 4n)
//
// w is the site's weight, D >= the sum of all weights is announced, n the number of sites of the
// roster, and |x| <= C after clipping each value: so |sum of q| stays below 2^(bits-1) without any
// headroom for n. The mean is step * D / (sum of w) * (sum of q).
//
// A vector is: the parameters (padded with zeros to whole blocks of the rotation), then lanes. A
// lane holds an 8-bit digit, so a sum over 255 sites fits even 16 bits: two lanes for the weight,
// low digit first, then four for each metric in units of 2^-16.
//
// With 16 bits, values are rotated first: each block of B values is multiplied by random signs that
// all sites share and by the Hadamard matrix / sqrt(B) (Suresh et al. 2017, arXiv:1611.00429), and
// rounded up or down at random so that the mean has no bias. Clipping then applies to the rotated
// values.
#ifndef CONSILIUM_PRIVACY_SECAGG_QUANTISE_H_
#define CONSILIUM_PRIVACY_SECAGG_QUANTISE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::secagg {

enum class Rounding { kNearest, kStochastic };  // nearest: halves to even

inline constexpr size_t kMetricsMax = 32;
inline constexpr uint32_t kWeightMax = 65535;  // two digits
inline constexpr double kMetricMax = 65535.0;
inline constexpr double kMetricUnits = 65536.0;  // of 1
inline constexpr uint32_t kRotationBlockMin = 64;
inline constexpr uint32_t kRotationBlockMax = 1 << 20;

// What a plan says about quantising, as the text that the session id covers:
//   clip=0.05;D=354;lanes=2
//   clip=0.05;D=354;lanes=10;metrics=dice,loss;rotate=16384;round=stochastic
// `lanes` counts all; what stands behind it may be absent, and then is empty, none, nearest.
struct QuantiserSpec {
  double clip = 0;                   // C > 0, finite
  uint64_t divisor = 0;              // D, 1 to kSitesMax * kWeightMax
  std::vector<std::string> metrics;  // [a-z0-9_.-], at most kMetricsMax, none twice
  uint32_t rotation_block = 0;       // B, a power of two, or 0: no rotation
  Rounding rounding = Rounding::kNearest;

  size_t lanes() const { return 2 + 4 * metrics.size(); }
  // Words of a vector of `parameters` values: Job::words.
  uint64_t Words(uint64_t parameters) const;
  // OK, or INVALID_ARGUMENT with what is beyond its limits.
  absl::Status Check() const;
  std::string ToText() const;  // REQUIRES: Check().ok()
  // Takes only what ToText writes. INVALID_ARGUMENT.
  static absl::StatusOr<QuantiserSpec> Parse(absl::string_view text);

  friend bool operator==(const QuantiserSpec&, const QuantiserSpec&) = default;
};

struct LaneSums {
  uint64_t weight = 0;
  std::vector<double> metrics;  // in the order of QuantiserSpec::metrics
};

// One session's quantiser. Immutable; thread-safe. Offsets count parameters, which are the vector's
// first words; with a rotation they must be multiples of its block, and so must every size but that
// of the last part.
class Quantiser {
 public:
  struct Options {
    QuantiserSpec spec;
    uint32_t bits = 32;
    size_t sites = 0;  // n of the roster
    uint64_t parameters = 0;
    // RotationSeed(session id); any 32 bytes where nothing is rotated.
    std::string rotation_seed;
  };
  // INVALID_ARGUMENT: the spec's Check, bits not 16 or 32, sites or seed beyond their limits.
  static absl::StatusOr<Quantiser> Create(Options options);

  const QuantiserSpec& spec() const { return options_.spec; }
  uint64_t parameters() const { return options_.parameters; }
  uint64_t padded_parameters() const { return padded_; }  // where the lanes start
  uint64_t words() const { return padded_ + options_.spec.lanes(); }
  double step() const { return step_; }
  // Words that the values [offset, offset + values) take: more than `values` only at the end of a
  // rotated vector.
  uint64_t WordsOf(uint64_t offset, uint64_t values) const;

  // What one site's calls have in common.
  struct SiteInput {
    uint32_t weight = 0;  // 1 to kWeightMax, at most D
    // 32 secret bytes of this site and session (SiteSession::rounding_seed), for stochastic
    // rounding: a repetition rounds the same way. Unused with kNearest.
    absl::string_view rounding_seed;
  };
  // Quantises values [offset, offset + values.size()) into WordsOf words. `noise` is empty or an
  // integer for each word, added before the result is taken modulo 2^bits. `saturated` grows by the
  // number of values that were clipped. INVALID_ARGUMENT: a value that is not finite, a weight or
  // rounding seed beyond its limits; OUT_OF_RANGE: offset or a size. `words` is then undefined.
  absl::Status Encode(const SiteInput& site, uint64_t offset, absl::Span<const float> values,
                      absl::Span<const int64_t> noise, absl::Span<uint32_t> words,
                      uint64_t& saturated) const;
  absl::Status Encode(const SiteInput& site, uint64_t offset, absl::Span<const float> values,
                      absl::Span<const int64_t> noise, absl::Span<uint16_t> words,
                      uint64_t& saturated) const;
  // The lanes, spec().lanes() words. INVALID_ARGUMENT: the weight, another number of metrics, one
  // that is negative, not finite or above kMetricMax.
  absl::Status EncodeLanes(uint32_t weight, absl::Span<const double> metrics,
                           absl::Span<uint32_t> words) const;
  absl::Status EncodeLanes(uint32_t weight, absl::Span<const double> metrics,
                           absl::Span<uint16_t> words) const;

  // Sums over `survivors` sites from the summed lanes. DATA_LOSS: a digit or the weight is more
  // than that many sites can have, as when masks did not cancel; or a weight of 0.
  absl::StatusOr<LaneSums> DecodeLanes(absl::Span<const uint32_t> sum, size_t survivors) const;
  absl::StatusOr<LaneSums> DecodeLanes(absl::Span<const uint16_t> sum, size_t survivors) const;
  // Means of parameters [offset, offset + means.size()) from their summed words, WordsOf of them.
  // OUT_OF_RANGE as Encode. INVALID_ARGUMENT: weight_sum 0 or above D.
  absl::Status Decode(uint64_t weight_sum, uint64_t offset, absl::Span<const uint32_t> sum,
                      absl::Span<float> means) const;
  absl::Status Decode(uint64_t weight_sum, uint64_t offset, absl::Span<const uint16_t> sum,
                      absl::Span<float> means) const;
  // |mean - exact weighted mean| of a value that was not clipped (nor rotated, nor given noise), in
  // double precision: survivors * step / 2 * D / weight_sum, twice that with stochastic rounding.
  double ErrorBound(uint64_t weight_sum, size_t survivors) const;

 private:
  explicit Quantiser(Options options);
  template <typename Word>
  absl::Status EncodeWords(const SiteInput& site, uint64_t offset, absl::Span<const float> values,
                           absl::Span<const int64_t> noise, absl::Span<Word> words,
                           uint64_t& saturated) const;
  template <typename Word>
  absl::Status DecodeWords(uint64_t weight_sum, uint64_t offset, absl::Span<const Word> sum,
                           absl::Span<float> means) const;
  absl::Status CheckRange(uint64_t offset, uint64_t values, uint64_t words) const;

  Options options_;
  uint64_t padded_ = 0;
  double step_ = 0;
};

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_QUANTISE_H_
