#include "site_agent/imaging/polygon_fill.h"

#include <algorithm>
#include <cmath>

namespace consilium::imaging {
namespace {

// Of one plane. A contour of a thousand points crosses some thousands of rows.
constexpr int64_t kCrossingsMax = 10'000'000;

// Calls `edge(from, to)` for every side of the polygon.
template <typename Edge>
void ForEachEdge(const Polygon& polygon, Edge edge) {
  for (size_t i = 0; i < polygon.size(); ++i) edge(polygon[i], polygon[(i + 1) % polygon.size()]);
}

double SignedArea(const Polygon& polygon) {
  double twice = 0;
  ForEachEdge(polygon, [&](const auto& a, const auto& b) { twice += a[0] * b[1] - b[0] * a[1]; });
  return twice / 2;
}

bool Contains(const Polygon& polygon, const std::array<double, 2>& point) {
  bool inside = false;
  ForEachEdge(polygon, [&](const auto& a, const auto& b) {
    if ((a[1] > point[1]) == (b[1] > point[1])) return;
    const double u = a[0] + (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]);
    if (point[0] < u) inside = !inside;
  });
  return inside;
}

// First row at or above `v`, inside the image; half-open: an edge from 1.0 to 2.0 crosses row 1.
int64_t RowFrom(double v, int64_t height) {
  return static_cast<int64_t>(std::ceil(std::clamp(v, 0.0, static_cast<double>(height))));
}

}  // namespace

absl::Status FillEvenOdd(const std::vector<Polygon>& contours, int64_t width, int64_t height,
                         absl::FunctionRef<void(int64_t u, int64_t v)> inside) {
  std::vector<std::vector<double>> crossings(static_cast<size_t>(height));
  int64_t count = 0;
  for (const Polygon& polygon : contours) {
    bool too_many = false;
    ForEachEdge(polygon, [&](const auto& a, const auto& b) {
      const auto& low = a[1] < b[1] ? a : b;
      const auto& high = a[1] < b[1] ? b : a;
      const int64_t first = RowFrom(low[1], height), last = RowFrom(high[1], height);
      count += last - first;
      too_many |= count > kCrossingsMax;
      for (int64_t v = first; v < last && !too_many; ++v) {
        const double along = (static_cast<double>(v) - low[1]) / (high[1] - low[1]);
        crossings[static_cast<size_t>(v)].push_back(low[0] + along * (high[0] - low[0]));
      }
    });
    if (too_many) return absl::ResourceExhaustedError("contours with more sides than can be held");
  }
  for (int64_t v = 0; v < height; ++v) {
    std::vector<double>& row = crossings[static_cast<size_t>(v)];
    std::sort(row.begin(), row.end());
    // Every closed contour crosses a row an even number of times.
    for (size_t i = 0; i + 1 < row.size(); i += 2) {
      const int64_t from = RowFrom(row[i], width), to = RowFrom(row[i + 1], width);
      for (int64_t u = from; u < to; ++u) inside(u, v);
    }
  }
  return absl::OkStatus();
}

double EvenOddArea(const std::vector<Polygon>& contours) {
  double area = 0;
  for (size_t i = 0; i < contours.size(); ++i) {
    if (contours[i].empty()) continue;
    int around = 0;
    for (size_t j = 0; j < contours.size(); ++j) {
      if (j != i && Contains(contours[j], contours[i].front())) ++around;
    }
    area += (around % 2 == 0 ? 1 : -1) * std::abs(SignedArea(contours[i]));
  }
  return area;
}

double Perimeter(const std::vector<Polygon>& contours) {
  double length = 0;
  for (const Polygon& polygon : contours) {
    ForEachEdge(polygon, [&](const auto& a, const auto& b) {
      length += std::hypot(b[0] - a[0], b[1] - a[1]);
    });
  }
  return length;
}

}  // namespace consilium::imaging
