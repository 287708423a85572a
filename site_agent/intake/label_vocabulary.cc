#include "site_agent/intake/label_vocabulary.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "proto/base/status.h"
#include "proto/yaml/strict_yaml.h"

namespace consilium::agent {
namespace {

constexpr size_t kNameBytesMax = 64;  // DICOM's SegmentLabel
constexpr size_t kNamesMax = 4096;

struct LabelsDocument {
  static constexpr const char* kName = "labels";
  static constexpr const char* kNeededBy = "write it";
};
using Reader = StrictYaml<LabelsDocument>;

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
}

// Calls `put(key node, name)` for each entry of a mapping to names.
template <typename Put>
absl::Status ReadNames(const YAML::Node& node, const std::string& path, Put put) {
  if (!node.IsMap() || node.size() > kNamesMax) {
    return Reader::Refuse(node, path, "must be a mapping to names");
  }
  for (const auto& entry : node) {
    std::string name;
    if (!Reader::Read(entry.second, name) || !IsName(name)) {
      return Reader::Refuse(entry.second, path, "a name must have 1 to 64 characters");
    }
    CSL_RETURN_IF_ERROR(put(entry.first, name));
  }
  return absl::OkStatus();
}

absl::StatusOr<LabelVocabulary> Read(const YAML::Node& root) {
  LabelVocabulary vocabulary;
  Reader reader(root, "");
  reader.GetWith("names", [&](const YAML::Node& node, const std::string& path) {
    return ReadNames(node, path, [&](const YAML::Node& key, const std::string& name) {
      std::string own;
      if (!Reader::Read(key, own) || !IsName(own)) {
        return Reader::Refuse(key, path, "a name must have 1 to 64 characters");
      }
      const bool added = vocabulary.names.emplace(absl::AsciiStrToLower(own), name).second;
      return added ? absl::OkStatus() : Reader::Refuse(key, path, "a name is there twice");
    });
  });
  reader.GetWith("nifti", [&](const YAML::Node& node, const std::string& path) {
    return ReadNames(node, path, [&](const YAML::Node& key, const std::string& name) {
      int64_t value = 0;
      if (!Reader::Read(key, value) || value < 1 || value > 65535) {
        return Reader::Refuse(key, path, "a value must be a whole number from 1 to 65535");
      }
      const bool added = vocabulary.nifti.emplace(value, name).second;
      return added ? absl::OkStatus() : Reader::Refuse(key, path, "a value is there twice");
    });
  });
  reader.GetWith("findings", [&](const YAML::Node& node, const std::string& path) {
    return ReadNames(node, path, [&](const YAML::Node& key, const std::string& name) {
      std::string code;
      if (!Reader::Read(key, code) || !IsName(code) || !absl::StrContains(code, ':')) {
        return Reader::Refuse(key, path, "a code must be written as \"SCHEME:CODE\"");
      }
      const bool added = vocabulary.findings.emplace(code, name).second;
      return added ? absl::OkStatus() : Reader::Refuse(key, path, "a code is there twice");
    });
  });
  CSL_RETURN_IF_ERROR(reader.Finish());
  return vocabulary;
}

}  // namespace

std::string LabelVocabulary::Canonical(absl::string_view name) const {
  const absl::string_view plain = absl::StripAsciiWhitespace(name);
  const auto found = names.find(absl::AsciiStrToLower(plain));
  return found == names.end() ? std::string(plain) : found->second;
}

absl::StatusOr<LabelVocabulary> ParseLabelVocabulary(absl::string_view yaml) {
  if (yaml.size() > kLabelVocabularyBytesMax) {
    return absl::InvalidArgumentError("labels: the file is too large");
  }
  try {
    return Read(YAML::Load(std::string(yaml)));
  } catch (const YAML::Exception& fault) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels: no YAML (line ", fault.mark.line + 1, ")"));
  }
}

}  // namespace consilium::agent
