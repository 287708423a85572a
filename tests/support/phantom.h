// Made-up anatomy for tests and the demo: two structures to segment among look-alikes.
//
// A body with a bright layer of fat holds a wavy ellipsoid organ and a curved tube that runs along
// it. Other ellipsoids and tubes of the same intensities are not labelled: what tells the organ
// apart is its dark capsule, its side of the body and the tube beside it; what tells the tube apart
// is its calibre and that organ. No threshold finds either.
#ifndef CONSILIUM_TESTS_SUPPORT_PHANTOM_H_
#define CONSILIUM_TESTS_SUPPORT_PHANTOM_H_

#include <array>
#include <cstdint>
#include <vector>

#include "site_agent/imaging/volume.h"
#include "tests/support/random.h"

namespace consilium::phantom {

inline constexpr const char* kOrganName = "Ellipsoid organ";  // label 1
inline constexpr const char* kTubeName = "Curved tube";       // label 2

// The imaged box, centred on the body.
inline constexpr std::array<double, 3> kExtentLpsMm = {96, 112, 80};

using Vec3 = std::array<double, 3>;  // LPS mm, from the body's centre

struct Ellipsoid {
  Vec3 centre;
  Vec3 semi_axes_mm;
  std::array<Vec3, 3> axes;  // unit vectors
  double waviness = 0;       // relative amplitude of the bumps
  std::array<double, 4> wave_phases = {0, 0, 0, 0};
  double intensity = 0;
  double capsule_mm = 0;  // thickness of the dark shell outside the surface; 0: none
};

struct Tube {
  std::vector<Vec3> centreline;
  Vec3 low, high;  // box around the centreline
  double radius_mm = 0;
  double ripple = 0;  // relative change of the radius along the tube
  double intensity = 0;
};

// One patient. The scene is analytic, so that every site samples it on its own grid.
struct Anatomy {
  Ellipsoid organ;
  Tube tube;
  std::vector<Ellipsoid> other_ellipsoids;
  std::vector<Tube> other_tubes;
  Vec3 body_centre;
  std::array<double, 2> body_semi_axes_mm;  // left-right, front-back; it runs through head to foot
  double fat_mm = 0;
  uint64_t texture_seed = 0;
};

Anatomy MakeAnatomy(Random& random);

// What the scanner does to the anatomy.
struct Appearance {
  double gain = 1000;         // stored value of intensity 1
  double bias = 0.15;         // relative amplitude of the smooth field
  double noise = 0.04;        // standard deviation of either channel, of intensity 1
  double contrast_gamma = 1;  // exponent on intensities
};

struct Phantom {
  imaging::Volume image;
  imaging::LabelVolume truth;
};

// Samples `anatomy` on `grid`, whose coordinates are those of the anatomy plus `origin_lps_mm`.
// Deterministic in all arguments. Values lie in [0, 32767].
Phantom Render(const Anatomy& anatomy, const Vec3& origin_lps_mm, const imaging::Geometry& grid,
               const Appearance& appearance, Random& random);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_PHANTOM_H_
