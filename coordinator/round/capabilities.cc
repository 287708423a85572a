#include "coordinator/round/capabilities.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace consilium::coordinator {
namespace {

constexpr struct {
  uint32_t bit;
  const char* name;
} kNames[] = {{kCanSeal, "sealed"},
              {kCanUnet, "unet"},
              {kCanMeanTeacher, "mean_teacher"},
              {kCanMask, "secure-aggregation"},
              {kCanDpSgd, "dp-sgd"},
              {kCanDpSite, "dp-site"},
              {kCanFedProx, "fedprox"},
              {kCanScaffold, "scaffold"},
              {kCanLocalLayers, "local-layers"},
              {kCanPersonalModel, "personal-model"},
              {kCanChannels, "channels"}};

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
  uint32_t bits = kCanSeal;  // the first weights are sealed in every study
  if (spec.network == "unet") bits |= kCanUnet;
  if (spec.semi_supervised == "mean_teacher") bits |= kCanMeanTeacher;
  if (spec.masked()) bits |= kCanMask;
  if (spec.privacy.level == "sample") bits |= kCanDpSgd;
  if (spec.privacy.level == "site") bits |= kCanDpSite;
  if (spec.algorithm.kind == "fedprox") bits |= kCanFedProx;
  if (spec.algorithm.kind == "scaffold") bits |= kCanScaffold;
  if (!spec.algorithm.local_layers.empty()) bits |= kCanLocalLayers;
  if (spec.algorithm.personal_lambda > 0) bits |= kCanPersonalModel;
  if (!spec.channels.empty()) bits |= kCanChannels;
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
