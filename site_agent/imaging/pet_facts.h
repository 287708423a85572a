// What a PET series' headers say of its unit, and what makes standardised uptake values of it.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_PET_FACTS_H_
#define CONSILIUM_SITE_AGENT_IMAGING_PET_FACTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::imaging {

// Privacy: the factor is of weight and dose, neither of which can be told from it.
struct PetFacts {
  std::string units;        // Units (0054,1001): "BQML", "GML", "CNTS"; "other"; empty: not said
  double suv_factor = 0;    // SUV by body weight (g/ml) of one unit; 0: cannot be computed
  std::string suv_refusal;  // then: why, in words without values
  friend bool operator==(const PetFacts&, const PetFacts&) = default;
};

// Of one series' files (PS3.3 C.8.9.1). From BQML that is corrected for attenuation and decay:
// weight / (total dose, decayed from the injection to the series' start); decay corrected to the
// injection (ADMIN): without the decay. GML of SUV type BW is SUV as it is. Nothing is guessed:
// what is missing, is not the same in all files, or lies in another order than injection, series,
// acquisitions is a refusal. INVALID_ARGUMENT, NOT_FOUND: a file cannot be read.
absl::StatusOr<PetFacts> ReadPetFacts(const std::vector<std::string>& paths);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_PET_FACTS_H_
