// Which pixels of a plane lie inside a set of closed contours.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_POLYGON_FILL_H_
#define CONSILIUM_SITE_AGENT_IMAGING_POLYGON_FILL_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace consilium::imaging {

// Points (u, v) in pixels, pixel centres at whole numbers; closed from the last to the first.
using Polygon = std::vector<std::array<double, 2>>;

// Calls `inside(u, v)` for each pixel of 0..width-1, 0..height-1 whose centre lies inside by the
// even-odd rule: a contour inside another is a hole. A centre on an edge counts where the edge is
// the low end of the inside, so that two regions that share an edge share no pixel.
// RESOURCE_EXHAUSTED: more crossings than contours of an image have. Coordinates are finite.
absl::Status FillEvenOdd(const std::vector<Polygon>& contours, int64_t width, int64_t height,
                         absl::FunctionRef<void(int64_t u, int64_t v)> inside);

// Area in pixels by the same rule, for contours that do not cross each other: a contour inside an
// odd number of others is taken away.
double EvenOddArea(const std::vector<Polygon>& contours);

// Sum of the contours' lengths, in pixels.
double Perimeter(const std::vector<Polygon>& contours);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_POLYGON_FILL_H_
