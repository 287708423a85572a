#include "privacy/deid/pixel_rules_yaml.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/status.h"
#include "proto/yaml/strict_yaml.h"

namespace consilium::privacy {
namespace {

using Yaml = StrictYaml<ProfileDocument>;

constexpr size_t kRulesMax = 200;

int Narrow(int64_t value) {
  const auto low = std::numeric_limits<int>::min(), high = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<int64_t>(value, low, high));
}

void GetLength(Yaml& yaml, const char* key, int& out) {
  int64_t value = out;
  if (yaml.Get(key, value)) out = Narrow(value);
}

void GetBoxes(Yaml& yaml, const char* key, std::vector<PixelBox>& boxes) {
  yaml.GetWith(key, [&](const YAML::Node& node, const std::string& path) {
    std::vector<std::vector<int64_t>> places;
    if (!Yaml::Read(node, places) ||
        !std::all_of(places.begin(), places.end(), [](const auto& p) { return p.size() == 4; })) {
      return Yaml::Refuse(node, path, "must be a list of [left, top, width, height] in pixels");
    }
    for (const std::vector<int64_t>& place : places) {
      boxes.push_back({Narrow(place[1]), Narrow(place[0]), Narrow(place[3]), Narrow(place[2])});
    }
    return absl::OkStatus();
  });
}

absl::Status ReadRule(const YAML::Node& node, const std::string& path, PixelRule& rule) {
  Yaml yaml(node, path);
  yaml.Require("name", yaml.Get("name", rule.name));
  yaml.Get("modality", rule.modality);
  yaml.Get("sop_class", rule.sop_class);
  yaml.Get("manufacturer", rule.manufacturer);
  yaml.Get("model", rule.model);
  yaml.Get("software", rule.software);
  yaml.Get("image_type", rule.image_type);
  GetLength(yaml, "rows", rule.rows);
  GetLength(yaml, "columns", rule.columns);
  GetLength(yaml, "top", rule.top);
  GetLength(yaml, "bottom", rule.bottom);
  GetLength(yaml, "left", rule.left);
  GetLength(yaml, "right", rule.right);
  GetBoxes(yaml, "blacken", rule.blacken);
  GetBoxes(yaml, "keep", rule.keep);
  CSL_RETURN_IF_ERROR(yaml.Finish());
  const absl::Status checked = CheckPixelRule(rule);
  return checked.ok() ? checked : Yaml::Refuse(node, path, checked.message());
}

void AppendText(const char* key, const std::string& text, std::vector<std::string>& out) {
  if (!text.empty()) out.push_back(absl::StrCat(key, ": \"", text, "\""));
}

void AppendLength(const char* key, int value, std::vector<std::string>& out) {
  if (value != 0) out.push_back(absl::StrCat(key, ": ", value));
}

void AppendBoxes(const char* key, const std::vector<PixelBox>& boxes,
                 std::vector<std::string>& out) {
  if (boxes.empty()) return;
  const auto write = [](std::string* to, const PixelBox& box) {
    absl::StrAppend(to, "[", box.column, ", ", box.row, ", ", box.columns, ", ", box.rows, "]");
  };
  out.push_back(absl::StrCat(key, ": [", absl::StrJoin(boxes, ", ", write), "]"));
}

}  // namespace

absl::Status ReadPixelRules(const YAML::Node& node, const std::string& path,
                            std::vector<PixelRule>& rules) {
  if (!node.IsSequence() || node.size() > kRulesMax) {
    return Yaml::Refuse(node, path, "must be a list of at most 200 rules");
  }
  rules.clear();
  for (size_t i = 0; i < node.size(); ++i) {
    const std::string place = absl::StrCat(path, "[", i, "]");
    PixelRule rule;
    CSL_RETURN_IF_ERROR(ReadRule(node[i], place, rule));
    const auto same = [&](const PixelRule& other) { return other.name == rule.name; };
    const std::vector<PixelRule>& ours = BuiltInPixelRules();
    if (rule.name == kUltrasoundRegionsRule || std::any_of(ours.begin(), ours.end(), same) ||
        std::any_of(rules.begin(), rules.end(), same)) {
      return Yaml::Refuse(node[i], place, "name: another rule has it; reports tell rules by name");
    }
    rules.push_back(std::move(rule));
  }
  return absl::OkStatus();
}

std::string PixelRulesToYaml(const std::vector<PixelRule>& rules) {
  if (rules.empty()) return " []\n";
  std::string yaml = "\n";
  for (const PixelRule& rule : rules) {
    std::vector<std::string> keys;
    AppendText("name", rule.name, keys);
    AppendText("modality", rule.modality, keys);
    AppendText("sop_class", rule.sop_class, keys);
    AppendText("manufacturer", rule.manufacturer, keys);
    AppendText("model", rule.model, keys);
    AppendText("software", rule.software, keys);
    if (!rule.image_type.empty()) {
      keys.push_back(
          absl::StrCat("image_type: [\"", absl::StrJoin(rule.image_type, "\", \""), "\"]"));
    }
    AppendLength("rows", rule.rows, keys);
    AppendLength("columns", rule.columns, keys);
    AppendLength("top", rule.top, keys);
    AppendLength("bottom", rule.bottom, keys);
    AppendLength("left", rule.left, keys);
    AppendLength("right", rule.right, keys);
    AppendBoxes("blacken", rule.blacken, keys);
    AppendBoxes("keep", rule.keep, keys);
    absl::StrAppend(&yaml, "  - {", absl::StrJoin(keys, ", "), "}\n");
  }
  return yaml;
}

}  // namespace consilium::privacy
