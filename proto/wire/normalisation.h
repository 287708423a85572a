// How a plan has intensities brought to numbers that a network sees: the text of its key
// `normalisation`, which is part of the plan's digest as it stands.
#ifndef CONSILIUM_PROTO_WIRE_NORMALISATION_H_
#define CONSILIUM_PROTO_WIRE_NORMALISATION_H_

#include <array>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::wire {

struct Normalisation {
  enum class Scale {
    kZScore,      // mean 0, population standard deviation 1
    kRange,       // lowest to 0, highest to 1; of the window where there is one, else of the volume
    kPercentile,  // `percentiles` to 0 and 1, beyond them cut off
  };
  enum class Unit {
    kOfSeries,       // what the series' rescale gives
    kSuvBodyWeight,  // PT: standardised uptake value, g/ml (PS3.3 C.8.9.1)
  };
  Unit unit = Unit::kOfSeries;
  Scale scale = Scale::kZScore;
  std::array<double, 2> percentiles = {0.5, 99.5};
  // Lowest and highest intensity that is kept, before scaling; in `unit` (CT: HU).
  std::optional<std::array<double, 2>> window;
  friend bool operator==(const Normalisation&, const Normalisation&) = default;
};

// "z-score" | "range" | "percentile" | "percentile 1 99", and before any of them "window NAME" or
// "window CENTRE WIDTH" with NAME one of lung (-600 1500), bone (400 1800), soft-tissue (40 400)
// and brain (40 80): "window lung z-score". A window alone is scaled by range. "suv" in
// front of all that makes it standardised uptake values: "suv window 5 10". INVALID_ARGUMENT:
// anything else, with what may be written.
absl::StatusOr<Normalisation> ParseNormalisation(absl::string_view text);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_NORMALISATION_H_
