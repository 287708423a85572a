#include "tests/fuzz/target.h"

namespace consilium::fuzz {

std::vector<Target> DicomTargets() {
  std::vector<Target> all = DeidTargets();
  for (const auto& more : {ImagingTargets(), WebTargets()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace consilium::fuzz
