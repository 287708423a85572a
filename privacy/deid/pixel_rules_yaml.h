// The key `pixel_regions` of a profile file. Internal to profile.cc.
#ifndef CONSILIUM_PRIVACY_DEID_PIXEL_RULES_YAML_H_
#define CONSILIUM_PRIVACY_DEID_PIXEL_RULES_YAML_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/deid/pixel_rules.h"
#include "yaml-cpp/yaml.h"

namespace consilium::privacy {

// For proto/yaml/strict_yaml.h.
struct ProfileDocument {
  static constexpr const char* kName = "profile";
  static constexpr const char* kNeededBy = "every profile needs it";
};

// INVALID_ARGUMENT: the rule, its line and what is wrong with it. May throw YAML::Exception.
absl::Status ReadPixelRules(const YAML::Node& node, const std::string& path,
                            std::vector<PixelRule>& rules);
// The value of the key, with the line's end. Reads back to the same.
std::string PixelRulesToYaml(const std::vector<PixelRule>& rules);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PIXEL_RULES_YAML_H_
