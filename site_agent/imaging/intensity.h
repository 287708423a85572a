// What a plan's normalisation makes of intensities (proto/wire/normalisation.h).
#ifndef CONSILIUM_SITE_AGENT_IMAGING_INTENSITY_H_
#define CONSILIUM_SITE_AGENT_IMAGING_INTENSITY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/normalisation.h"

namespace consilium::imaging {

// Where there is a window: what is below or above it becomes its border. Comes before the scale.
void CutToWindow(const wire::Normalisation& how, std::vector<float>& voxels);

// A linear map of intensities, fitted to one volume. Immutable.
class IntensityScale {
 public:
  // To voxels that are cut to the window, at least one. INVALID_ARGUMENT: all are equal.
  static absl::StatusOr<IntensityScale> Fit(const wire::Normalisation& how,
                                            const std::vector<float>& voxels);
  void Apply(std::vector<float>& voxels) const;

 private:
  enum class Ends { kOpen, kCut };  // kCut: beyond 0 and 1 cut off
  IntensityScale(double zero, double span, Ends ends) : zero_(zero), span_(span), ends_(ends) {}

  double zero_;  // becomes 0
  double span_;  // becomes 1
  Ends ends_;
};

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_INTENSITY_H_
