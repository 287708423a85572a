#include "coordinator/round/capabilities.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace consilium::coordinator {
namespace {

constexpr struct {
  uint32_t bit;
  const char* name;
} kNames[] = {{kCanSeal, "sealed"}, {kCanUnet, "unet"}, {kCanMeanTeacher, "mean_teacher"}};

}  // namespace

uint32_t CapabilitiesOf(const std::vector<std::string>& names) {
  if (names.empty()) return kEveryCapability;
  uint32_t bits = 0;
  for (const std::string& name : names) {
    for (const auto& known : kNames) {
      if (name == known.name) bits |= known.bit;
    }
  }
  return bits;
}

uint32_t CapabilitiesNeeded(const StudySpec& spec) {
  uint32_t bits = kCanSeal;
  if (spec.network == "unet") bits |= kCanUnet;
  if (spec.semi_supervised == "mean_teacher") bits |= kCanMeanTeacher;
  return bits;
}

std::string LackingText(uint32_t needed, uint32_t has) {
  std::vector<std::string> lacking;
  for (const auto& known : kNames) {
    if ((needed & ~has & known.bit) != 0) lacking.push_back(known.name);
  }
  if (lacking.empty()) return "";
  return absl::StrCat("its software cannot: ", absl::StrJoin(lacking, ", "), "; upgrade the agent");
}

}  // namespace consilium::coordinator
