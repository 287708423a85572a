#include "privacy/deid/profile.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "privacy/crypto/sha256.h"
#include "privacy/deid/pixel_rules_yaml.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/yaml/one_document.h"
#include "proto/yaml/strict_yaml.h"

namespace consilium::privacy {
namespace {

constexpr size_t kProfileBytesMax = 64 << 10;
constexpr size_t kVocabularyMax = 2000;
constexpr size_t kWordBytesMax = 32;

using Yaml = StrictYaml<ProfileDocument>;

template <typename Enum>
struct Word {
  const char* word;
  Enum value;
};
constexpr Word<DateOption> kDates[] = {{"remove", DateOption::kRemove},
                                       {"modified", DateOption::kModified},
                                       {"full", DateOption::kFull}};
constexpr Word<PixelPolicy> kPixels[] = {{"hold", PixelPolicy::kHold},
                                         {"blackout", PixelPolicy::kBlackout}};
constexpr Word<SecondaryImages> kSecondary[] = {{"hold", SecondaryImages::kHoldBack},
                                                {"inspect", SecondaryImages::kInspect},
                                                {"allow", SecondaryImages::kAllow}};

template <typename Enum, size_t N>
const char* WordOf(const Word<Enum> (&words)[N], Enum value) {
  for (const Word<Enum>& word : words) {
    if (word.value == value) return word.word;
  }
  return "";
}

template <typename Enum, size_t N>
void GetWord(Yaml& yaml, const char* key, const Word<Enum> (&words)[N], Enum& out) {
  yaml.GetWith(key, [&](const YAML::Node& node, const std::string& path) {
    std::string text;
    std::vector<const char*> known;
    const bool scalar = Yaml::Read(node, text);
    for (const Word<Enum>& word : words) {
      known.push_back(word.word);
      if (!scalar || text != word.word) continue;
      out = word.value;
      return absl::OkStatus();
    }
    return Yaml::Refuse(node, path, absl::StrCat("must be one of: ", absl::StrJoin(known, ", ")));
  });
}

absl::Status ReadVocabulary(const YAML::Node& node, const std::string& path, DeidProfile& profile) {
  if (!Yaml::Read(node, profile.vocabulary) || profile.vocabulary.size() > kVocabularyMax) {
    return Yaml::Refuse(node, path, "must be a list of at most 2000 words");
  }
  for (std::string& word : profile.vocabulary) {
    absl::AsciiStrToLower(&word);
    const bool is_word = !word.empty() && word.size() <= kWordBytesMax &&
                         std::all_of(word.begin(), word.end(),
                                     [](unsigned char c) { return absl::ascii_isalnum(c); });
    if (!is_word) return Yaml::Refuse(node, path, "each word must be letters and digits (ASCII)");
  }
  return absl::OkStatus();
}

absl::StatusOr<DeidProfile> FromYaml(const YAML::Node& root) {
  DeidProfile profile;
  Yaml yaml(root, "");
  yaml.Get("name", profile.name);
  GetWord(yaml, "pixels", kPixels, profile.pixels);
  GetWord(yaml, "secondary_images", kSecondary, profile.secondary_images);
  yaml.Get("hold_faces", profile.hold_faces);
  yaml.Get("clean_graphics", profile.clean_graphics);
  yaml.Get("clean_structured_content", profile.clean_structured_content);
  yaml.Get("clean_descriptors", profile.clean_descriptors);
  GetWord(yaml, "dates", kDates, profile.dates);
  yaml.Get("retain_patient_characteristics", profile.retain_patient_characteristics);
  yaml.Get("retain_device_identity", profile.retain_device_identity);
  yaml.Get("retain_institution_identity", profile.retain_institution_identity);
  yaml.Get("retain_uids", profile.retain_uids);
  yaml.Get("retain_safe_private", profile.retain_safe_private);
  yaml.GetWith("vocabulary", [&](const YAML::Node& node, const std::string& path) {
    return ReadVocabulary(node, path, profile);
  });
  yaml.GetWith("pixel_regions", [&](const YAML::Node& node, const std::string& path) {
    return ReadPixelRules(node, path, profile.pixel_regions);
  });
  CSL_RETURN_IF_ERROR(yaml.Finish());
  const bool is_name = !profile.name.empty() && profile.name.size() <= 64 &&
                       std::all_of(profile.name.begin(), profile.name.end(), [](unsigned char c) {
                         return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
                       });
  if (!is_name) {
    return absl::InvalidArgumentError(
        "profile: name: must be letters, digits and -_. (at most 64)");
  }
  return profile;
}

const char* Bool(bool value) { return value ? "true" : "false"; }

}  // namespace

absl::StatusOr<DeidProfile> ParseProfile(absl::string_view text) {
  if (text.size() > kProfileBytesMax) return absl::InvalidArgumentError("profile: over 64 KiB");
  try {
    const std::string whole(text);
    const YAML::Node root = YAML::Load(whole);
    if (HasMoreYaml(whole)) return absl::InvalidArgumentError("profile: must be one YAML document");
    return FromYaml(root);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("profile: not YAML (line ", error.mark.line + 1, "): ", error.msg));
  }
}

std::string ProfileToYaml(const DeidProfile& profile) {
  return absl::StrCat(
      "name: ", profile.name, "\npixels: ", WordOf(kPixels, profile.pixels),
      "\nsecondary_images: ", WordOf(kSecondary, profile.secondary_images),
      "\nhold_faces: ", Bool(profile.hold_faces),
      "\nclean_graphics: ", Bool(profile.clean_graphics),
      "\nclean_structured_content: ", Bool(profile.clean_structured_content),
      "\nclean_descriptors: ", Bool(profile.clean_descriptors),
      "\ndates: ", WordOf(kDates, profile.dates),
      "\nretain_patient_characteristics: ", Bool(profile.retain_patient_characteristics),
      "\nretain_device_identity: ", Bool(profile.retain_device_identity),
      "\nretain_institution_identity: ", Bool(profile.retain_institution_identity),
      "\nretain_uids: ", Bool(profile.retain_uids),
      "\nretain_safe_private: ", Bool(profile.retain_safe_private), "\nvocabulary: [",
      absl::StrJoin(profile.vocabulary, ", "), "]\npixel_regions:",
      PixelRulesToYaml(profile.pixel_regions));
}

std::string ProfileDigest(const DeidProfile& profile) {
  return HexEncode(Sha256(ProfileToYaml(profile)));
}

std::vector<MethodCode> MethodCodes(const DeidProfile& profile, PixelsCleaned pixels) {
  std::vector<MethodCode> codes = {{"113100", "Basic Application Confidentiality Profile"}};
  const auto add = [&](bool when, const char* code, const char* meaning) {
    if (when) codes.push_back({code, meaning});
  };
  add(pixels == PixelsCleaned::kYes, "113101", "Clean Pixel Data Option");
  add(profile.clean_graphics, "113103", "Clean Graphics Option");
  add(profile.clean_structured_content, "113104", "Clean Structured Content Option");
  add(profile.clean_descriptors, "113105", "Clean Descriptors Option");
  add(profile.dates == DateOption::kFull, "113106",
      "Retain Longitudinal Temporal Information Full Dates Option");
  add(profile.dates == DateOption::kModified, "113107",
      "Retain Longitudinal Temporal Information Modified Dates Option");
  add(profile.retain_patient_characteristics, "113108", "Retain Patient Characteristics Option");
  add(profile.retain_device_identity, "113109", "Retain Device Identity Option");
  add(profile.retain_uids, "113110", "Retain UIDs Option");
  add(profile.retain_safe_private, "113111", "Retain Safe Private Option");
  add(profile.retain_institution_identity, "113112", "Retain Institution Identity Option");
  return codes;
}

}  // namespace consilium::privacy
