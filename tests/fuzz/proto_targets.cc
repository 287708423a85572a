#include "proto/base/check.h"
#include "proto/base/bytes.h"
#include "proto/wire/plan.h"
#include "proto/wire/safetensors.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

wire::TensorLayout SmallLayout() {
  return {{{"encoder.weight", {2, 3}}, {"encoder.bias", {3}}, {"scale", {}}}};
}

void RunSafetensors(absl::string_view bytes) {
  // The length of the file is what a peer says; take it from the first byte.
  const uint64_t file_bytes = bytes.empty() ? 0 : bytes.size() + static_cast<uint8_t>(bytes[0]) * 4;
  for (const uint64_t size : {static_cast<uint64_t>(bytes.size()), file_bytes}) {
    const auto header = wire::DecodeSafetensorsHeader(bytes, size);
    if (!header.ok()) continue;
    CSL_CHECK(wire::CheckLayout(header->layout).ok());
    CSL_CHECK(header->data_offset + 4 * static_cast<uint64_t>(header->layout.parameters()) == size);
  }
}

std::vector<std::string> SafetensorsSeeds() {
  const std::string header =
      wire::EncodeSafetensorsHeader(SmallLayout(), {{wire::kVersionMetadataKey, "h/1"}});
  std::vector<std::string> seeds = {header + std::string(40, '\0'), header, header.substr(0, 7)};
  seeds.push_back(std::string(8, '\xff') + header.substr(8));
  return seeds;
}

// name \n rank dims... for each tensor: any layout that a few bytes can spell.
void RunLayout(absl::string_view bytes) {
  wire::TensorLayout layout;
  while (!bytes.empty() && layout.tensors.size() < 64) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    wire::TensorSpec spec;
    spec.name = std::string(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    const size_t rank = bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]) % 10;
    if (!bytes.empty()) bytes.remove_prefix(1);
    for (size_t i = 0; i < rank && bytes.size() >= 8; ++i) {
      spec.shape.push_back(static_cast<int64_t>(LoadLe64(bytes.data())));
      bytes.remove_prefix(8);
    }
    layout.tensors.push_back(std::move(spec));
  }
  if (!wire::CheckLayout(layout).ok()) return;
  CSL_CHECK(layout.parameters() >= 0 && layout.parameters() <= wire::kParametersMax);
  if (layout.tensors.empty()) return;
  const std::string header = wire::EncodeSafetensorsHeader(layout, {});
  const auto back = wire::DecodeSafetensorsHeader(
      header, header.size() + 4 * static_cast<uint64_t>(layout.parameters()));
  CSL_CHECK(!back.ok() || back->layout == layout);
}

std::vector<std::string> LayoutSeeds() {
  const auto dim = [](uint64_t value) {
    std::string bytes(8, '\0');
    StoreLe64(value, bytes.data());
    return bytes;
  };
  return {"w\n\x02" + dim(2) + dim(3), "w\n" + std::string(1, '\0') + "b\n\x01" + dim(7),
          "w\n\x03" + dim(uint64_t{1} << 40) + dim(uint64_t{1} << 40) + dim(~uint64_t{0})};
}

void RunPlan(absl::string_view bytes) {
  const auto plan = wire::PlanFromJson(bytes);
  if (!plan.ok()) return;
  CSL_CHECK(wire::CheckPlan(*plan).ok());
  const auto again = wire::PlanFromJson(wire::PlanToJson(*plan));
  CSL_CHECK(again.ok() && *again == *plan);
}

std::vector<std::string> PlanSeeds() {
  wire::Plan plan;
  plan.study = "hippocampus";
  plan.labels = {{1, "Anterior", "HIPPOCAMPUS_ANTERIOR"}, {2, "Posterior", ""}};
  plan.series_rules = {{"ImageType", "!LOCALIZER"}, {"SliceThickness", "<= 3"}};
  const std::string text = wire::PlanToJson(plan);
  plan.channels = {{"PT", {{"ImageType", "PRIMARY"}}, "suv window 5 10"}};
  plan.network.in_channels = 2;
  return {text, wire::PlanToJson(plan), text.substr(0, text.size() / 2), "{}", std::string(3000, '[')};
}

}  // namespace

std::vector<Target> ProtoTargets() {
  return {{"safetensors", RunSafetensors, SafetensorsSeeds},
          {"layout", RunLayout, LayoutSeeds},
          {"plan", RunPlan, PlanSeeds}};
}

}  // namespace consilium::fuzz
