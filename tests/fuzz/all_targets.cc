#include "tests/fuzz/target.h"

namespace consilium::fuzz {

std::vector<Target> AllTargets() {
  std::vector<Target> all = ProtoTargets();
  for (const auto& more : {CoordinatorTargets(), AuditTargets(), SecaggTargets(), SiteTargets(),
                           MessageTargets(), DeidTargets(), ImagingTargets(), WebTargets()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace consilium::fuzz
