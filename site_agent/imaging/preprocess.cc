#include "site_agent/imaging/preprocess.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/status.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "proto/wire/normalisation.h"
#include "site_agent/imaging/intensity.h"

namespace consilium::imaging {
namespace {

// Coordinates this close to a voxel centre are that centre: a grid mapped onto itself copies.
constexpr double kSnapVoxels = 1e-6;
// Sums of weights this close are a tie.
constexpr float kTie = 1e-6f;

// The two neighbours along one axis, as offsets into the voxels, and the weight of the second.
struct Between {
  int64_t low = 0;
  int64_t high = 0;
  float weight_high = 0;
  bool inside = true;  // of the source's extent, which reaches half a voxel beyond the last centre
};

Between Locate(double at, int64_t size, int64_t stride) {
  const double nearest = std::round(at);
  if (std::abs(at - nearest) < kSnapVoxels) at = nearest;
  constexpr double kEdge = 0.5 + kSnapVoxels;
  const bool inside = at >= -kEdge && at <= static_cast<double>(size - 1) + kEdge;
  at = std::clamp(at, 0.0, static_cast<double>(size - 1));
  const auto low = static_cast<int64_t>(at);
  const int64_t high = std::min(low + 1, size - 1);
  return {low * stride, high * stride, static_cast<float>(at - static_cast<double>(low)), inside};
}

// Where the voxels of `target` lie in `source`. Axis-parallel grids, which is all that PlanGrid
// makes, cost one table look-up per axis; any other pair of grids is computed voxel by voxel.
class GridMap {
 public:
  GridMap(const Geometry& source, const Geometry& target) : source_(source) {
    strides_ = {1, source.size_xyz[0], source.size_xyz[0] * source.size_xyz[1]};
    for (int s = 0; s < 3; ++s) {
      start_[s] = 0;
      for (int row = 0; row < 3; ++row) {
        start_[s] += source.direction[3 * row + s] *
                     (target.origin_lps_mm[row] - source.origin_lps_mm[row]) /
                     source.spacing_xyz_mm[s];
      }
      for (int t = 0; t < 3; ++t) {
        double cosine = 0;
        for (int row = 0; row < 3; ++row) {
          cosine += source.direction[3 * row + s] * target.direction[3 * row + t];
        }
        step_[s][t] = cosine * target.spacing_xyz_mm[t] / source.spacing_xyz_mm[s];
        if (std::abs(cosine) < 1e-9) step_[s][t] = 0;
      }
    }
    BuildTables(target);
  }

  bool aligned() const { return aligned_; }
  // Aligned grids: the source axis that moves along target axis x, and its neighbours by i.
  int axis_of_x() const {
    return static_cast<int>(std::find(driver_.begin(), driver_.end(), 0) - driver_.begin());
  }
  const std::vector<Between>& table(int source_axis) const { return table_[source_axis]; }

  // The neighbours of target voxel (i, j, k), by source axis.
  void At(const std::array<int64_t, 3>& ijk, std::array<Between, 3>& out) const {
    for (int s = 0; s < 3; ++s) {
      if (aligned_) {
        out[s] = table_[s][static_cast<size_t>(ijk[driver_[s]])];
        continue;
      }
      double at = start_[s];
      for (int t = 0; t < 3; ++t) at += step_[s][t] * static_cast<double>(ijk[t]);
      out[s] = Locate(at, source_.size_xyz[s], strides_[s]);
    }
  }

 private:
  void BuildTables(const Geometry& target) {
    for (int s = 0; s < 3; ++s) {
      int used = 0;
      for (int t = 0; t < 3; ++t) {
        if (step_[s][t] == 0) continue;
        driver_[s] = t;
        ++used;
      }
      if (used != 1) {
        aligned_ = false;
        return;
      }
    }
    for (int s = 0; s < 3; ++s) {
      const int t = driver_[s];
      for (int64_t i = 0; i < target.size_xyz[t]; ++i) {
        table_[s].push_back(Locate(start_[s] + step_[s][t] * static_cast<double>(i),
                                   source_.size_xyz[s], strides_[s]));
      }
    }
  }

  const Geometry source_;
  std::array<int64_t, 3> strides_;
  std::array<double, 3> start_;
  std::array<std::array<double, 3>, 3> step_;
  bool aligned_ = true;
  std::array<int, 3> driver_ = {0, 0, 0};
  std::array<std::vector<Between>, 3> table_;
};

// The eight voxels around a point and their weights.
struct Corners {
  std::array<int64_t, 8> offset;
  std::array<float, 8> weight;
};

void Expand(const std::array<Between, 3>& between, Corners& corners) {
  for (int c = 0; c < 8; ++c) {
    int64_t offset = 0;
    float weight = 1;
    for (int s = 0; s < 3; ++s) {
      const bool high = c >> s & 1;
      offset += high ? between[s].high : between[s].low;
      weight *= high ? between[s].weight_high : 1 - between[s].weight_high;
    }
    corners.offset[c] = offset;
    corners.weight[c] = weight;
  }
}

// Calls `visit(index, between)` for every voxel of `target`, x fastest.
template <typename Visit>
void ForEachVoxel(const Geometry& source, const Geometry& target, Visit visit) {
  if (target.voxels() == 0) return;
  const GridMap map(source, target);
  std::array<Between, 3> between;
  size_t index = 0;
  for (int64_t k = 0; k < target.size_xyz[2]; ++k) {
    for (int64_t j = 0; j < target.size_xyz[1]; ++j) {
      if (!map.aligned()) {
        for (int64_t i = 0; i < target.size_xyz[0]; ++i) {
          map.At({i, j, k}, between);
          visit(index++, between);
        }
        continue;
      }
      map.At({0, j, k}, between);
      Between& moving = between[static_cast<size_t>(map.axis_of_x())];
      for (const Between& x : map.table(map.axis_of_x())) {
        moving = x;
        visit(index++, between);
      }
    }
  }
}

float Interpolate(const float* voxels, const std::array<Between, 3>& between) {
  // No structured binding: clang 14 does not capture one.
  const Between &x = between[0], &y = between[1], &z = between[2];
  const auto line = [&](int64_t offset) {
    const float low = voxels[offset + x.low], high = voxels[offset + x.high];
    return low + x.weight_high * (high - low);
  };
  const auto plane = [&](int64_t offset) {
    const float low = line(offset + y.low), high = line(offset + y.high);
    return low + y.weight_high * (high - low);
  };
  const float low = plane(z.low), high = plane(z.high);
  return low + z.weight_high * (high - low);
}

uint8_t LargestLabel(const uint8_t* labels, const Corners& corners) {
  uint8_t best = labels[corners.offset[0]];
  bool uniform = true;
  for (int64_t offset : corners.offset) uniform &= labels[offset] == best;
  if (uniform) return best;
  float best_sum = -1;
  for (int c = 0; c < 8; ++c) {
    const uint8_t label = labels[corners.offset[c]];
    float sum = 0;
    for (int other = 0; other < 8; ++other) {
      if (labels[corners.offset[other]] == label) sum += corners.weight[other];
    }
    const bool tie = std::abs(sum - best_sum) <= kTie;
    if ((!tie && sum > best_sum) || (tie && label < best)) {
      best = label;
      best_sum = sum;
    }
  }
  return best;
}

// For each patient axis the axis of `direction` that is nearest to it, each taken once.
std::array<int, 3> NearestAxes(const std::array<double, 9>& direction) {
  std::array<int, 3> order = {0, 1, 2}, best = order;
  double best_sum = -1;
  do {
    double sum = 0;
    for (int row = 0; row < 3; ++row) sum += std::abs(direction[3 * row + order[row]]);
    if (sum > best_sum + 1e-12) {
      best_sum = sum;
      best = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

// Whether `at` lies in the box of a voxel, and not only beside the outermost.
bool IsInside(const std::array<Between, 3>& between) {
  return between[0].inside && between[1].inside && between[2].inside;
}

}  // namespace

Geometry PlanGrid(const Geometry& source, const std::array<double, 3>& spacing_xyz_mm) {
  const std::array<int, 3> axes = NearestAxes(source.direction);
  Geometry grid;
  // The corner of the volume (not of its first voxel's centre) that all new axes start from.
  std::array<double, 3> corner = source.origin_lps_mm;
  for (int a = 0; a < 3; ++a) {
    const int s = axes[a];
    const double sign = source.direction[3 * a + s] < 0 ? -1 : 1;
    const double extent = source.spacing_xyz_mm[s] * static_cast<double>(source.size_xyz[s]);
    grid.size_xyz[a] = std::max<int64_t>(1, std::llround(extent / spacing_xyz_mm[a]));
    const double fitted = extent / static_cast<double>(grid.size_xyz[a]);
    grid.spacing_xyz_mm[a] =
        std::abs(fitted - spacing_xyz_mm[a]) < 1e-9 ? spacing_xyz_mm[a] : fitted;
    const double along =
        sign > 0 ? -0.5 * source.spacing_xyz_mm[s] : extent - 0.5 * source.spacing_xyz_mm[s];
    for (int row = 0; row < 3; ++row) {
      grid.direction[3 * row + a] = sign * source.direction[3 * row + s];
      corner[row] += source.direction[3 * row + s] * along;
    }
  }
  grid.origin_lps_mm = corner;
  for (int a = 0; a < 3; ++a) {
    for (int row = 0; row < 3; ++row) {
      grid.origin_lps_mm[row] += grid.direction[3 * row + a] * 0.5 * grid.spacing_xyz_mm[a];
    }
  }
  return grid;
}

Volume ResampleImage(const Volume& source, const Geometry& target) {
  CSL_CHECK(static_cast<int64_t>(source.voxels.size()) == source.geometry.voxels());
  Volume out{target, std::vector<float>(static_cast<size_t>(target.voxels()))};
  ForEachVoxel(source.geometry, target, [&](size_t index, const std::array<Between, 3>& between) {
    out.voxels[index] = Interpolate(source.voxels.data(), between);
  });
  return out;
}

LabelVolume ResampleLabel(const LabelVolume& source, const Geometry& target) {
  CSL_CHECK(static_cast<int64_t>(source.voxels.size()) == source.geometry.voxels());
  LabelVolume out{target, std::vector<uint8_t>(static_cast<size_t>(target.voxels()))};
  Corners corners;
  ForEachVoxel(source.geometry, target, [&](size_t index, const std::array<Between, 3>& between) {
    Expand(between, corners);
    out.voxels[index] = LargestLabel(source.voxels.data(), corners);
  });
  return out;
}

Volume ResampleCovered(const Volume& source, const Geometry& target, float outside,
                       std::vector<uint8_t>& covered) {
  CSL_CHECK(static_cast<int64_t>(source.voxels.size()) == source.geometry.voxels());
  Volume out{target, std::vector<float>(static_cast<size_t>(target.voxels()), outside)};
  covered.assign(out.voxels.size(), 0);
  ForEachVoxel(source.geometry, target, [&](size_t index, const std::array<Between, 3>& between) {
    if (!IsInside(between)) return;
    out.voxels[index] = Interpolate(source.voxels.data(), between);
    covered[index] = 1;
  });
  return out;
}

double CoveredPart(const Geometry& source, const Geometry& target) {
  if (source.voxels() == 0 || target.voxels() == 0) return 0;
  // The target's box again, in few cells: their centres are asked.
  constexpr int64_t kCells = 32;
  Geometry coarse = target;
  for (int a = 0; a < 3; ++a) {
    const double extent = target.spacing_xyz_mm[a] * static_cast<double>(target.size_xyz[a]);
    coarse.size_xyz[a] = kCells;
    coarse.spacing_xyz_mm[a] = extent / kCells;
    const double shift = 0.5 * (coarse.spacing_xyz_mm[a] - target.spacing_xyz_mm[a]);
    for (int row = 0; row < 3; ++row) {
      coarse.origin_lps_mm[row] += target.direction[3 * row + a] * shift;
    }
  }
  int64_t inside = 0;
  ForEachVoxel(source, coarse, [&](size_t, const std::array<Between, 3>& between) {
    inside += IsInside(between) ? 1 : 0;
  });
  return static_cast<double>(inside) / static_cast<double>(coarse.voxels());
}

absl::Status CheckVoxels(const Volume& source) {
  if (source.voxels.empty()) return absl::InvalidArgumentError("a volume without voxels");
  for (float voxel : source.voxels) {
    if (!std::isfinite(voxel)) return absl::InvalidArgumentError("a voxel is not a number");
  }
  return absl::OkStatus();
}

absl::StatusOr<Volume> PrepareImage(const Volume& source, const wire::Plan& plan) {
  CSL_ASSIGN_OR_RETURN(const wire::Normalisation normalisation,
                       wire::ParseNormalisation(plan.normalisation));
  CSL_RETURN_IF_ERROR(CheckVoxels(source));
  Volume prepared = ResampleImage(source, PlanGrid(source.geometry, plan.spacing_xyz_mm));
  CutToWindow(normalisation, prepared.voxels);
  CSL_ASSIGN_OR_RETURN(const IntensityScale scale,
                       IntensityScale::Fit(normalisation, prepared.voxels));
  scale.Apply(prepared.voxels);
  return prepared;
}

LabelVolume RestoreLabels(const std::vector<float>& probabilities, int64_t classes,
                          const Geometry& grid, const Geometry& source) {
  CSL_CHECK(classes >= 1 && classes <= 256);
  CSL_CHECK(static_cast<int64_t>(probabilities.size()) == classes * grid.voxels());
  LabelVolume out{source, std::vector<uint8_t>(static_cast<size_t>(source.voxels()))};
  ForEachVoxel(grid, source, [&](size_t index, const std::array<Between, 3>& between) {
    float best = Interpolate(probabilities.data(), between);
    for (int64_t c = 1; c < classes; ++c) {
      const float here = Interpolate(probabilities.data() + c * grid.voxels(), between);
      if (here <= best) continue;
      best = here;
      out.voxels[index] = static_cast<uint8_t>(c);
    }
  });
  return out;
}

}  // namespace consilium::imaging
