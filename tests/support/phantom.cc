#include "tests/support/phantom.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>

namespace consilium::phantom {
namespace {

constexpr double kAir = 0.03;
constexpr double kMuscle = 0.38;
constexpr double kOrgan = 0.64;
constexpr double kTube = 0.80;
constexpr double kFat = 0.80;
constexpr double kCapsule = 0.18;
constexpr double kEdgeMm = 1.6;  // width over which two tissues mix, about one voxel
constexpr int kCentrelinePoints = 33;
constexpr int kPlacementTries = 60;

Vec3 Add(const Vec3& a, const Vec3& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
Vec3 Sub(const Vec3& a, const Vec3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
Vec3 Scale(const Vec3& a, double s) { return {a[0] * s, a[1] * s, a[2] * s}; }
double Dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
double Norm(const Vec3& a) { return std::sqrt(Dot(a, a)); }

double Around(Random& random, double centre, double half_range) {
  return random.Uniform(centre - half_range, centre + half_range);
}

// Columns of Rz * Ry * Rx with each angle within `radians_max` of zero.
std::array<Vec3, 3> RandomAxes(Random& random, double radians_max) {
  const double x = Around(random, 0, radians_max);
  const double y = Around(random, 0, radians_max);
  const double z = Around(random, 0, radians_max);
  const double cx = std::cos(x), sx = std::sin(x), cy = std::cos(y), sy = std::sin(y),
               cz = std::cos(z), sz = std::sin(z);
  return {Vec3{cz * cy, sz * cy, -sy},
          Vec3{cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx},
          Vec3{cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx}};
}

// Surface radius factor in direction `unit` (in the ellipsoid's own frame).
double Wave(const Ellipsoid& e, const Vec3& unit) {
  if (e.waviness == 0) return 1;
  return 1 + e.waviness * 0.5 *
                 (std::sin(5 * unit[0] + 3 * unit[1] + e.wave_phases[0]) +
                  std::sin(4 * unit[1] - 5 * unit[2] + e.wave_phases[1]) +
                  0.5 * std::sin(9 * unit[2] + 4 * unit[0] + e.wave_phases[2]) +
                  0.5 * std::sin(8 * unit[0] - 7 * unit[1] + e.wave_phases[3]));
}

// Distance to the surface, negative inside. First order: exact on the surface, which is where it
// decides, and good within a few mm of it.
double SignedDistance(const Ellipsoid& e, const Vec3& point) {
  const Vec3 offset = Sub(point, e.centre);
  Vec3 scaled;
  for (int a = 0; a < 3; ++a) scaled[a] = Dot(offset, e.axes[a]) / e.semi_axes_mm[a];
  const double radius = Norm(scaled);
  if (radius < 1e-6) return -*std::min_element(e.semi_axes_mm.begin(), e.semi_axes_mm.end());
  return (radius - Wave(e, Scale(scaled, 1 / radius))) * Norm(offset) / radius;
}

double SignedDistance(const Tube& tube, const Vec3& point) {
  double best = std::numeric_limits<double>::max();
  for (size_t i = 0; i + 1 < tube.centreline.size(); ++i) {
    const Vec3 along = Sub(tube.centreline[i + 1], tube.centreline[i]);
    const Vec3 offset = Sub(point, tube.centreline[i]);
    const double t = std::clamp(Dot(offset, along) / Dot(along, along), 0.0, 1.0);
    const double position = (static_cast<double>(i) + t) / (kCentrelinePoints - 1);
    const double radius =
        tube.radius_mm * (1 + tube.ripple * std::sin(4 * std::numbers::pi * position));
    best = std::min(best, Norm(Sub(offset, Scale(along, t))) - radius);
  }
  return best;
}

// Sets the centreline to the quadratic Bezier curve that passes through `middle` at its half.
void RunThrough(Tube& tube, const Vec3& start, const Vec3& middle, const Vec3& end) {
  const Vec3 control = Sub(Scale(middle, 2), Scale(Add(start, end), 0.5));
  tube.centreline.clear();
  tube.low = tube.high = start;
  for (int i = 0; i < kCentrelinePoints; ++i) {
    const double t = static_cast<double>(i) / (kCentrelinePoints - 1);
    const Vec3 point = Add(Add(Scale(start, (1 - t) * (1 - t)), Scale(control, 2 * t * (1 - t))),
                           Scale(end, t * t));
    tube.centreline.push_back(point);
    for (int a = 0; a < 3; ++a) {
      tube.low[a] = std::min(tube.low[a], point[a]);
      tube.high[a] = std::max(tube.high[a], point[a]);
    }
  }
}

double LongestAxis(const Ellipsoid& e) {
  return *std::max_element(e.semi_axes_mm.begin(), e.semi_axes_mm.end()) * (1 + e.waviness);
}

// Whether a ball keeps clear of everything placed so far.
bool IsFree(const Anatomy& anatomy, const Vec3& centre, double radius_mm) {
  constexpr double kGapMm = 3;
  const double clear = radius_mm + kGapMm;
  if (SignedDistance(anatomy.tube, centre) < clear) return false;
  if (Norm(Sub(centre, anatomy.organ.centre)) < clear + LongestAxis(anatomy.organ)) return false;
  for (const Ellipsoid& e : anatomy.other_ellipsoids) {
    if (SignedDistance(e, centre) < clear) return false;
  }
  for (const Tube& t : anatomy.other_tubes) {
    if (SignedDistance(t, centre) < clear) return false;
  }
  return true;
}

Ellipsoid MakeOrgan(Random& random) {
  Ellipsoid organ;
  organ.centre = {Around(random, 14, 3), Around(random, -4, 9), Around(random, 0, 6)};
  organ.semi_axes_mm = {random.Uniform(10, 13), random.Uniform(14, 18), random.Uniform(10, 14)};
  organ.axes = RandomAxes(random, 0.5);
  organ.waviness = random.Uniform(0.04, 0.09);
  for (double& phase : organ.wave_phases) phase = random.Uniform(0, 2 * std::numbers::pi);
  organ.intensity = Around(random, kOrgan, 0.05);
  organ.capsule_mm = random.Uniform(2.2, 3.2);
  return organ;
}

// Runs head to foot along the medial face of the organ and digs a groove into it.
Tube MakeTube(const Ellipsoid& organ, Random& random) {
  Tube tube;
  tube.radius_mm = random.Uniform(5.4, 7);
  tube.ripple = random.Uniform(0.03, 0.1);
  tube.intensity = Around(random, kTube, 0.05);
  const Vec3 direction = {-0.85, Around(random, 0.3, 0.3), Around(random, 0, 0.2)};
  Vec3 touch = organ.centre;
  while (SignedDistance(organ, touch) < 0.4 * tube.radius_mm) touch = Add(touch, direction);
  const Vec3 down = {Around(random, -5, 6), Around(random, 0, 12), Around(random, -46, 4)};
  const Vec3 up = {Around(random, -5, 6), Around(random, 0, 12), Around(random, 46, 4)};
  RunThrough(tube, Add(touch, down), touch, Add(touch, up));
  return tube;
}

std::optional<Ellipsoid> PlaceEllipsoid(const Anatomy& anatomy, Random& random) {
  for (int i = 0; i < kPlacementTries; ++i) {
    Ellipsoid e;
    // Mostly across the midline, where the organ never is; the small ones anywhere.
    const double size = anatomy.other_ellipsoids.empty() ? 1 : random.Uniform(0.5, 0.7);
    e.centre = size == 1
                   ? Vec3{Around(random, -20, 4), Around(random, -4, 18), Around(random, 0, 18)}
                   : Vec3{Around(random, 0, 26), Around(random, 0, 34), Around(random, 0, 30)};
    e.semi_axes_mm = {size * random.Uniform(9, 12), size * random.Uniform(12, 16),
                      size * random.Uniform(10, 13)};
    e.axes = RandomAxes(random, 0.7);
    e.waviness = random.Uniform(0.03, 0.08);
    for (double& phase : e.wave_phases) phase = random.Uniform(0, 2 * std::numbers::pi);
    e.intensity = Around(random, kOrgan, 0.06);
    if (IsFree(anatomy, e.centre, 0.8 * LongestAxis(e))) return e;
  }
  return std::nullopt;
}

std::optional<Tube> PlaceTube(const Anatomy& anatomy, Random& random) {
  for (int i = 0; i < kPlacementTries; ++i) {
    Tube t;
    t.radius_mm = random.Uniform(2.2, 3.2);
    t.ripple = random.Uniform(0, 0.1);
    t.intensity = Around(random, kTube, 0.06);
    const Vec3 middle = {Around(random, -8, 22), Around(random, 4, 30), Around(random, 0, 8)};
    const Vec3 reach = {Around(random, 0, 14), Around(random, 0, 22), Around(random, 28, 6)};
    const Vec3 bend = {Around(random, 0, 7), Around(random, 0, 7), 0};
    RunThrough(t, Add(Sub(middle, reach), bend), middle, Add(Add(middle, reach), bend));
    if (std::all_of(t.centreline.begin(), t.centreline.end(), [&](const Vec3& p) {
          const double x = (p[0] - anatomy.body_centre[0]) / (anatomy.body_semi_axes_mm[0] - 10);
          const double y = (p[1] - anatomy.body_centre[1]) / (anatomy.body_semi_axes_mm[1] - 10);
          return x * x + y * y < 1 && IsFree(anatomy, p, t.radius_mm);
        })) {
      return t;
    }
  }
  return std::nullopt;
}

double LatticeValue(uint64_t seed, int64_t x, int64_t y, int64_t z) {
  const uint64_t bits = Mix64(seed ^ Mix64(static_cast<uint64_t>(x) * 0x9e3779b97f4a7c15ull ^
                                           Mix64(static_cast<uint64_t>(y) * 0xc2b2ae3d27d4eb4full ^
                                                 Mix64(static_cast<uint64_t>(z)))));
  return static_cast<double>(bits >> 11) * 0x1p-52 - 1;
}

// Smooth noise in [-1, 1] with features of about `scale_mm`: random values on a lattice, blended.
double ValueNoise(uint64_t seed, const Vec3& point, double scale_mm) {
  int64_t cell[3];
  double f[3];
  for (int a = 0; a < 3; ++a) {
    const double scaled = point[a] / scale_mm;
    const double floor = std::floor(scaled);
    cell[a] = static_cast<int64_t>(floor);
    const double t = scaled - floor;
    f[a] = t * t * (3 - 2 * t);
  }
  double sum = 0;
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1;
    int64_t at[3];
    for (int a = 0; a < 3; ++a) {
      const int bit = corner >> a & 1;
      weight *= bit ? f[a] : 1 - f[a];
      at[a] = cell[a] + bit;
    }
    sum += weight * LatticeValue(seed, at[0], at[1], at[2]);
  }
  return sum;
}

// Share of a tissue at signed distance `distance_mm` from its surface.
double Coverage(double distance_mm) { return std::clamp(0.5 - distance_mm / kEdgeMm, 0.0, 1.0); }

// Beyond this distance from its surface a structure leaves no trace in a voxel.
constexpr double kReachMm = 4;

// SignedDistance, or kReachMm where a cheap bound shows it to be at least that. Rendering spends
// most of its time here.
double NearDistance(const Ellipsoid& e, const Vec3& point) {
  const double bound = Norm(Sub(point, e.centre)) - 1.3 * LongestAxis(e);
  return bound > kReachMm ? kReachMm : SignedDistance(e, point);
}

double NearDistance(const Tube& tube, const Vec3& point) {
  const double margin = tube.radius_mm * (1 + tube.ripple) + kReachMm;
  for (int a = 0; a < 3; ++a) {
    if (point[a] < tube.low[a] - margin || point[a] > tube.high[a] + margin) return kReachMm;
  }
  return SignedDistance(tube, point);
}

struct Sample {
  double intensity = kAir;
  uint8_t label = 0;
};

void Blend(Sample& sample, double distance_mm, double intensity) {
  const double share = Coverage(distance_mm);
  sample.intensity += share * (intensity - sample.intensity);
}

Sample SampleAnatomy(const Anatomy& anatomy, const Vec3& point) {
  Sample sample;
  const double x = (point[0] - anatomy.body_centre[0]) / anatomy.body_semi_axes_mm[0];
  const double y = (point[1] - anatomy.body_centre[1]) / anatomy.body_semi_axes_mm[1];
  const double radius = std::max(std::hypot(x, y), 1e-3);
  const double body =
      (radius - 1) *
      std::hypot(x * anatomy.body_semi_axes_mm[0], y * anatomy.body_semi_axes_mm[1]) / radius;
  const double coarse = ValueNoise(anatomy.texture_seed, point, 9);
  const double fine = ValueNoise(anatomy.texture_seed + 1, point, 4.5);
  Blend(sample, body, kFat + 0.05 * coarse);
  Blend(sample, body + anatomy.fat_mm + 1.5 * coarse, kMuscle + 0.07 * coarse + 0.04 * fine);
  for (const Ellipsoid& e : anatomy.other_ellipsoids) {
    Blend(sample, NearDistance(e, point), e.intensity + 0.05 * fine);
  }
  for (const Tube& t : anatomy.other_tubes) Blend(sample, NearDistance(t, point), t.intensity);
  const double organ = NearDistance(anatomy.organ, point);
  Blend(sample, organ - anatomy.organ.capsule_mm, kCapsule);
  Blend(sample, organ, anatomy.organ.intensity + 0.05 * fine);
  const double tube = NearDistance(anatomy.tube, point);
  Blend(sample, tube, anatomy.tube.intensity);
  sample.label = tube <= 0 ? 2 : organ <= 0 ? 1 : 0;
  return sample;
}

Vec3 VoxelCentre(const imaging::Geometry& grid, int64_t i, int64_t j, int64_t k) {
  const Vec3 step = {static_cast<double>(i) * grid.spacing_xyz_mm[0],
                     static_cast<double>(j) * grid.spacing_xyz_mm[1],
                     static_cast<double>(k) * grid.spacing_xyz_mm[2]};
  Vec3 point;
  for (int row = 0; row < 3; ++row) {
    point[row] = grid.origin_lps_mm[row] + grid.direction[3 * row] * step[0] +
                 grid.direction[3 * row + 1] * step[1] + grid.direction[3 * row + 2] * step[2];
  }
  return point;
}

}  // namespace

Anatomy MakeAnatomy(Random& random) {
  Anatomy anatomy;
  anatomy.body_centre = {Around(random, 0, 2), Around(random, 0, 2), 0};
  anatomy.body_semi_axes_mm = {random.Uniform(42, 46), random.Uniform(49, 54)};
  anatomy.fat_mm = random.Uniform(4, 7);
  anatomy.texture_seed = random.Next();
  anatomy.organ = MakeOrgan(random);
  anatomy.tube = MakeTube(anatomy.organ, random);
  for (int i = 0; i < 3; ++i) {
    if (std::optional<Ellipsoid> e = PlaceEllipsoid(anatomy, random)) {
      anatomy.other_ellipsoids.push_back(*e);
    }
  }
  for (int i = 0; i < 3; ++i) {
    if (std::optional<Tube> t = PlaceTube(anatomy, random)) {
      anatomy.other_tubes.push_back(*std::move(t));
    }
  }
  return anatomy;
}

Phantom Render(const Anatomy& anatomy, const Vec3& origin_lps_mm, const imaging::Geometry& grid,
               const Appearance& appearance, Random& random) {
  Phantom phantom;
  phantom.image.geometry = phantom.truth.geometry = grid;
  phantom.image.voxels.resize(grid.voxels());
  phantom.truth.voxels.resize(grid.voxels());
  const uint64_t bias_seed = random.Next();
  size_t index = 0;
  for (int64_t k = 0; k < grid.size_xyz[2]; ++k) {
    for (int64_t j = 0; j < grid.size_xyz[1]; ++j) {
      for (int64_t i = 0; i < grid.size_xyz[0]; ++i, ++index) {
        const Vec3 point = Sub(VoxelCentre(grid, i, j, k), origin_lps_mm);
        const Sample sample = SampleAnatomy(anatomy, point);
        const double field = 1 + appearance.bias * ValueNoise(bias_seed, point, 60);
        const double signal = std::pow(sample.intensity, appearance.contrast_gamma) * field;
        // The magnitude of a complex signal with noise in both channels is Rician.
        const double value = std::hypot(signal + appearance.noise * random.Normal(),
                                        appearance.noise * random.Normal());
        phantom.image.voxels[index] =
            static_cast<float>(std::clamp(std::round(value * appearance.gain), 0.0, 32767.0));
        phantom.truth.voxels[index] = sample.label;
      }
    }
  }
  return phantom;
}

}  // namespace consilium::phantom
