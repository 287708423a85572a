#include "site_agent/intake/fingerprint.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

// For each patient axis (x, y, z) the image axis that runs along it best, each used once.
std::array<size_t, 3> NearestAxes(const imaging::Geometry& geometry) {
  std::array<size_t, 3> image_axis = {0, 1, 2};
  std::array<bool, 3> patient_done = {}, image_done = {};
  for (int round = 0; round < 3; ++round) {
    size_t best_patient = 0, best_image = 0;
    double best = -1;
    for (size_t p = 0; p < 3; ++p) {
      for (size_t i = 0; i < 3; ++i) {
        const double along = std::abs(geometry.direction[p * 3 + i]);
        if (patient_done[p] || image_done[i] || along <= best) continue;
        best = along;
        best_patient = p;
        best_image = i;
      }
    }
    image_axis[best_patient] = best_image;
    patient_done[best_patient] = image_done[best_image] = true;
  }
  return image_axis;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

bool ReadArray(const Json& json, const char* key, std::array<double, 3>& out) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_array() || it->size() != 3) return false;
  for (size_t i = 0; i < 3; ++i) {
    if (!(*it)[i].is_number()) return false;
    out[i] = (*it)[i].get<double>();
    if (!std::isfinite(out[i]) || out[i] < 0) return false;
  }
  return true;
}

bool ReadCount(const Json& json, const char* key, int64_t& out) {
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number_integer()) return false;
  out = it->get<int64_t>();
  return out >= 0 && out <= 1'000'000'000;
}

}  // namespace

Fingerprint FingerprintOf(const Cohort& cohort) {
  Fingerprint result;
  std::set<std::string> patients;
  std::array<std::vector<double>, 3> spacings, sizes, extents;
  for (const CohortCase& item : cohort.cases) {
    patients.insert(item.record.patient);
    const imaging::Geometry& g = item.record.geometry;
    const std::array<size_t, 3> axes = NearestAxes(g);
    for (size_t p = 0; p < 3; ++p) {
      const double spacing = g.spacing_xyz_mm[axes[p]];
      const auto size = static_cast<double>(g.size_xyz[axes[p]]);
      spacings[p].push_back(spacing);
      sizes[p].push_back(size);
      extents[p].push_back(size * spacing);
    }
  }
  result.cases = static_cast<int64_t>(cohort.cases.size());
  result.labelled = cohort.labelled();
  result.patients = static_cast<int64_t>(patients.size());
  for (size_t p = 0; p < 3 && result.cases > 0; ++p) {
    result.spacing_median_xyz_mm[p] = Median(spacings[p]);
    result.spacing_min_xyz_mm[p] = *std::min_element(spacings[p].begin(), spacings[p].end());
    result.spacing_max_xyz_mm[p] = *std::max_element(spacings[p].begin(), spacings[p].end());
    result.size_median_xyz[p] = Median(sizes[p]);
    result.extent_median_xyz_mm[p] = Median(extents[p]);
  }
  return result;
}

std::string FingerprintToJson(const Fingerprint& f) {
  const Json json = {{"cases", f.cases},
                     {"labelled", f.labelled},
                     {"patients", f.patients},
                     {"spacing_median_xyz_mm", f.spacing_median_xyz_mm},
                     {"spacing_min_xyz_mm", f.spacing_min_xyz_mm},
                     {"spacing_max_xyz_mm", f.spacing_max_xyz_mm},
                     {"size_median_xyz", f.size_median_xyz},
                     {"extent_median_xyz_mm", f.extent_median_xyz_mm}};
  return json.dump();
}

absl::StatusOr<Fingerprint> FingerprintFromJson(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  constexpr size_t kKeys = 8;
  Fingerprint f;
  if (!json.is_object() || json.size() != kKeys || !ReadCount(json, "cases", f.cases) ||
      !ReadCount(json, "labelled", f.labelled) || !ReadCount(json, "patients", f.patients) ||
      !ReadArray(json, "spacing_median_xyz_mm", f.spacing_median_xyz_mm) ||
      !ReadArray(json, "spacing_min_xyz_mm", f.spacing_min_xyz_mm) ||
      !ReadArray(json, "spacing_max_xyz_mm", f.spacing_max_xyz_mm) ||
      !ReadArray(json, "size_median_xyz", f.size_median_xyz) ||
      !ReadArray(json, "extent_median_xyz_mm", f.extent_median_xyz_mm)) {
    return absl::InvalidArgumentError("fingerprint: not the JSON of a fingerprint");
  }
  return f;
}

}  // namespace consilium::agent
