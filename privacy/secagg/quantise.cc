#include "privacy/secagg/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/secagg/hadamard.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/rounding.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

constexpr size_t kPieceValues = 4096;  // quantised at a time where nothing is rotated

absl::Status Invalid(absl::string_view what) { return absl::InvalidArgumentError(what); }

// All values are finite: an exponent of ones has a NaN or an infinity behind it.
bool AllFinite(absl::Span<const float> values) {
  uint32_t bad = 0;
  for (const float value : values) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    bad |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  return bad == 0;
}

// Clips to [-limit, limit]; returns how many values that changed.
uint64_t Clip(absl::Span<float> values, float limit) {
  uint32_t changed = 0;
  for (float& value : values) {
    changed += static_cast<uint32_t>(value > limit) + static_cast<uint32_t>(value < -limit);
    value = std::min(std::max(value, -limit), limit);
  }
  return changed;
}

// The largest float that is not above C, so that clipped values keep the bound on the sum.
float FloatBelow(double clip) {
  const auto nearest = static_cast<float>(clip);
  return nearest > clip ? std::nextafter(nearest, 0.0f) : nearest;
}

template <typename Word>
void AddNoise(absl::Span<const int64_t> noise, absl::Span<Word> words) {
  for (size_t i = 0; i < noise.size(); ++i) {
    words[i] = static_cast<Word>(words[i] + static_cast<Word>(noise[i]));
  }
}

// Digits of 8 bits, the lowest first.
template <typename Word>
void PutDigits(uint32_t value, size_t digits, Word* out) {
  for (size_t i = 0; i < digits; ++i) out[i] = static_cast<Word>(value >> (8 * i) & 0xff);
}

template <typename Word>
absl::StatusOr<uint64_t> SumOfDigits(absl::Span<const Word> lanes, size_t survivors) {
  uint64_t sum = 0;
  for (size_t i = 0; i < lanes.size(); ++i) {
    if (lanes[i] > 255 * survivors) {
      return absl::DataLossError("a lane of the sum holds more than the sites can have sent");
    }
    sum += uint64_t{lanes[i]} << (8 * i);
  }
  return sum;
}

template <typename Word>
absl::Status PutLanes(const QuantiserSpec& spec, uint32_t weight, absl::Span<const double> metrics,
                      absl::Span<Word> words) {
  if (weight == 0 || weight > kWeightMax || weight > spec.divisor) {
    return Invalid(absl::StrCat("a weight of ", weight));
  }
  if (metrics.size() != spec.metrics.size() || words.size() != spec.lanes()) {
    return Invalid(
        absl::StrCat(metrics.size(), " metrics where ", spec.metrics.size(), " are planned"));
  }
  PutDigits(weight, 2, words.data());
  for (size_t i = 0; i < metrics.size(); ++i) {
    if (!(metrics[i] >= 0 && metrics[i] <= kMetricMax)) {
      return Invalid(absl::StrCat("metric ", spec.metrics[i], " is not within 0 to ", kMetricMax));
    }
    PutDigits(static_cast<uint32_t>(std::llrint(metrics[i] * kMetricUnits)), 4,
              words.data() + 2 + 4 * i);
  }
  return absl::OkStatus();
}

template <typename Word>
absl::StatusOr<LaneSums> GetLanes(const QuantiserSpec& spec, absl::Span<const Word> sum,
                                  size_t survivors) {
  if (sum.size() != spec.lanes()) return Invalid("another number of lanes");
  LaneSums sums;
  CSL_ASSIGN_OR_RETURN(sums.weight, SumOfDigits(sum.subspan(0, 2), survivors));
  if (sums.weight == 0 || sums.weight > spec.divisor) {
    return absl::DataLossError(
        absl::StrCat("a sum of weights of ", sums.weight, ", not within 1 to ", spec.divisor));
  }
  for (size_t i = 0; i < spec.metrics.size(); ++i) {
    CSL_ASSIGN_OR_RETURN(const uint64_t digits, SumOfDigits(sum.subspan(2 + 4 * i, 4), survivors));
    sums.metrics.push_back(static_cast<double>(digits) / kMetricUnits);
  }
  return sums;
}

}  // namespace

absl::StatusOr<Quantiser> Quantiser::Create(Options options) {
  CSL_RETURN_IF_ERROR(options.spec.Check());
  if (options.bits != 16 && options.bits != 32) return Invalid("words of neither 16 nor 32 bits");
  if (options.sites < kSitesMin || options.sites > kSitesMax) {
    return Invalid(absl::StrCat("a quantiser for ", options.sites, " sites"));
  }
  if (options.parameters == 0 || options.parameters > kWordsMax / 2) {
    return Invalid("a quantiser for no parameters, or too many");
  }
  if (options.rotation_seed.size() != kKeyBytes)
    return Invalid("the rotation's seed: not 32 bytes");
  return Quantiser(std::move(options));
}

Quantiser::Quantiser(Options options)
    : options_(std::move(options)),
      padded_(options_.spec.Words(options_.parameters) - options_.spec.lanes()),
      step_(2 * options_.spec.clip /
            (std::ldexp(1.0, static_cast<int>(options_.bits)) -
             4.0 * static_cast<double>(options_.sites))) {}

uint64_t Quantiser::WordsOf(uint64_t offset, uint64_t values) const {
  return offset + values == options_.parameters ? padded_ - offset : values;
}

absl::Status Quantiser::CheckRange(uint64_t offset, uint64_t values, uint64_t words) const {
  const uint64_t parameters = options_.parameters;
  const uint64_t block = std::max<uint64_t>(options_.spec.rotation_block, 1);
  if (offset > parameters || values > parameters - offset || offset % block != 0 ||
      (values % block != 0 && offset + values != parameters) || words != WordsOf(offset, values)) {
    return absl::OutOfRangeError(absl::StrCat("parameters ", offset, " and ", values, " more in ",
                                              words, " words, of ", parameters));
  }
  return absl::OkStatus();
}

template <typename Word>
absl::Status Quantiser::EncodeWords(const SiteInput& site, uint64_t offset,
                                    absl::Span<const float> values, absl::Span<const int64_t> noise,
                                    absl::Span<Word> words, uint64_t& saturated) const {
  CSL_CHECK(options_.bits == 8 * sizeof(Word));
  const QuantiserSpec& spec = options_.spec;
  const bool stochastic = spec.rounding == Rounding::kStochastic;
  CSL_RETURN_IF_ERROR(CheckRange(offset, values.size(), words.size()));
  if (!noise.empty() && noise.size() != words.size()) {
    return absl::OutOfRangeError("not a noise for each word");
  }
  if (site.weight == 0 || site.weight > kWeightMax || site.weight > spec.divisor) {
    return Invalid(absl::StrCat("a weight of ", site.weight));
  }
  if (stochastic && site.rounding_seed.size() != kKeyBytes) {
    return Invalid("the rounding's seed: not 32 bytes");
  }
  if (!AllFinite(values)) return Invalid("an update with a value that is not finite");

  const double scale = static_cast<double>(site.weight) / static_cast<double>(spec.divisor) / step_;
  const float limit = FloatBelow(spec.clip);
  const size_t piece = spec.rotation_block != 0 ? spec.rotation_block : kPieceValues;
  std::vector<float> buffer(piece);
  RotationSigns signs(options_.rotation_seed);
  StochasticRounder rounder(site.rounding_seed);
  for (size_t at = 0; at < words.size(); at += piece) {
    const absl::Span<Word> out = words.subspan(at, piece);
    const absl::Span<float> work = absl::MakeSpan(buffer).subspan(0, out.size());
    const absl::Span<const float> in = values.subspan(std::min(at, values.size()), work.size());
    std::copy(in.begin(), in.end(), work.begin());
    std::fill(work.begin() + in.size(), work.end(), 0.0f);
    if (spec.rotation_block != 0) {
      signs.Apply(offset + at, work);
      Hadamard(work);
      if (!AllFinite(work)) return Invalid("an update whose values are too large to rotate");
    }
    saturated += Clip(work, limit);
    if (stochastic) {
      rounder.Round(offset + at, work, scale, out);
    } else {
      RoundToEven(work, scale, out);
    }
    if (!noise.empty()) AddNoise(noise.subspan(at, out.size()), out);
  }
  return absl::OkStatus();
}

absl::Status Quantiser::Encode(const SiteInput& site, uint64_t offset,
                               absl::Span<const float> values, absl::Span<const int64_t> noise,
                               absl::Span<uint32_t> words, uint64_t& saturated) const {
  return EncodeWords(site, offset, values, noise, words, saturated);
}

absl::Status Quantiser::Encode(const SiteInput& site, uint64_t offset,
                               absl::Span<const float> values, absl::Span<const int64_t> noise,
                               absl::Span<uint16_t> words, uint64_t& saturated) const {
  return EncodeWords(site, offset, values, noise, words, saturated);
}

absl::Status Quantiser::EncodeLanes(uint32_t weight, absl::Span<const double> metrics,
                                    absl::Span<uint32_t> words) const {
  return PutLanes(options_.spec, weight, metrics, words);
}

absl::Status Quantiser::EncodeLanes(uint32_t weight, absl::Span<const double> metrics,
                                    absl::Span<uint16_t> words) const {
  return PutLanes(options_.spec, weight, metrics, words);
}

absl::StatusOr<LaneSums> Quantiser::DecodeLanes(absl::Span<const uint32_t> sum,
                                                size_t survivors) const {
  return GetLanes(options_.spec, sum, survivors);
}

absl::StatusOr<LaneSums> Quantiser::DecodeLanes(absl::Span<const uint16_t> sum,
                                                size_t survivors) const {
  return GetLanes(options_.spec, sum, survivors);
}

template <typename Word>
absl::Status Quantiser::DecodeWords(uint64_t weight_sum, uint64_t offset,
                                    absl::Span<const Word> sum, absl::Span<float> means) const {
  CSL_CHECK(options_.bits == 8 * sizeof(Word));
  CSL_RETURN_IF_ERROR(CheckRange(offset, means.size(), sum.size()));
  if (weight_sum == 0 || weight_sum > options_.spec.divisor) {
    return Invalid(absl::StrCat("a sum of weights of ", weight_sum));
  }
  using Signed = std::make_signed_t<Word>;
  const double unit =
      step_ * static_cast<double>(options_.spec.divisor) / static_cast<double>(weight_sum);
  const size_t block = options_.spec.rotation_block;
  if (block == 0) {
    for (size_t i = 0; i < means.size(); ++i) {
      means[i] = static_cast<float>(static_cast<Signed>(sum[i]) * unit);
    }
    return absl::OkStatus();
  }
  std::vector<float> buffer(block);
  RotationSigns signs(options_.rotation_seed);
  for (size_t at = 0; at < sum.size(); at += block) {
    for (size_t i = 0; i < block; ++i) {
      buffer[i] = static_cast<float>(static_cast<Signed>(sum[at + i]) * unit);
    }
    Hadamard(absl::MakeSpan(buffer));  // its own inverse
    signs.Apply(offset + at, absl::MakeSpan(buffer));
    const absl::Span<float> out = means.subspan(std::min(at, means.size()), block);
    std::copy_n(buffer.begin(), out.size(), out.begin());
  }
  return absl::OkStatus();
}

absl::Status Quantiser::Decode(uint64_t weight_sum, uint64_t offset, absl::Span<const uint32_t> sum,
                               absl::Span<float> means) const {
  return DecodeWords(weight_sum, offset, sum, means);
}

absl::Status Quantiser::Decode(uint64_t weight_sum, uint64_t offset, absl::Span<const uint16_t> sum,
                               absl::Span<float> means) const {
  return DecodeWords(weight_sum, offset, sum, means);
}

double Quantiser::ErrorBound(uint64_t weight_sum, size_t survivors) const {
  const double each = options_.spec.rounding == Rounding::kStochastic ? step_ : step_ / 2;
  return static_cast<double>(survivors) * each * static_cast<double>(options_.spec.divisor) /
         static_cast<double>(weight_sum);
}

}  // namespace consilium::secagg
