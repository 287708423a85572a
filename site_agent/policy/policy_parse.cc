// Reads policy.yaml into a SitePolicy.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "privacy/transparency/utf8.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/yaml/one_document.h"
#include "proto/yaml/strict_yaml.h"
#include "site_agent/policy/site_policy.h"

namespace consilium::agent {
namespace {

constexpr size_t kItemsMax = 256;         // of any list
constexpr size_t kModalityBytesMax = 16;  // a DICOM code string
constexpr int64_t kCohortMax = 255;       // sites of one secure sum
constexpr int64_t kRoundsPerDayMax = 10'000;
// What holds where a level is demanded and no number is written: notes on the choice in
// docs/policy.md.
constexpr double kEpsilonDefault = 8;
constexpr double kDeltaDefault = 1e-3;

struct PolicyDocument {
  static constexpr const char* kName = "policy.yaml";
  static constexpr const char* kNeededBy = "write it";
};
using Reader = StrictYaml<PolicyDocument>;

absl::Status Refuse(const YAML::Node& node, absl::string_view key, absl::string_view what) {
  return Reader::Refuse(node, key, what);
}

// Reads a list of texts of which each passes `check`, which returns the remedy or nullptr.
template <typename Check>
absl::Status ReadTexts(const YAML::Node& node, const std::string& path, Check check,
                       std::vector<std::string>& out) {
  if (!node.IsSequence() || node.size() > kItemsMax) {
    return Refuse(node, path, absl::StrCat("must be a list of at most ", kItemsMax, " texts"));
  }
  out.clear();
  for (const YAML::Node& item : node) {
    std::string text;
    const char* remedy = Reader::Read(item, text) ? check(text) : "must be a text";
    if (remedy != nullptr) return Refuse(item, path, remedy);
    if (std::find(out.begin(), out.end(), text) != out.end()) {
      return Refuse(item, path, absl::StrCat("has ", text, " twice"));
    }
    out.push_back(std::move(text));
  }
  return absl::OkStatus();
}

template <typename Check>
auto Texts(Check check, std::vector<std::string>& out) {
  return [check, &out](const YAML::Node& node, const std::string& path) {
    return ReadTexts(node, path, check, out);
  };
}

// For a key whose absence means "any": a list that is there has to name something.
template <typename Check>
auto NonEmptyTexts(Check check, std::optional<std::vector<std::string>>& out) {
  return [check, &out](const YAML::Node& node, const std::string& path) {
    CSL_RETURN_IF_ERROR(ReadTexts(node, path, check, out.emplace()));
    if (!out->empty()) return absl::OkStatus();
    return Refuse(node, path, "is empty, which allows nothing; name some, or leave the key out");
  };
}

const char* BadPattern(absl::string_view text) {
  constexpr const char* kRemedy =
      "must be a name of [a-z0-9_.-], at most 63 characters, in which * stands for any others";
  if (text.empty() || text.size() > kNameBytesMax) return kRemedy;
  for (const char c : text) {
    const bool fits = absl::ascii_islower(static_cast<unsigned char>(c)) ||
                      absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                      absl::StrContains("_.-*", absl::string_view(&c, 1));
    if (!fits) return kRemedy;
  }
  return nullptr;
}

const char* BadName(absl::string_view text) {
  return CheckName("", text).ok() ? nullptr
                                  : "must be a name of [a-z0-9_.-], at most 63 characters";
}

const char* BadPeer(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "sha256:")) return BadPattern(text);
  const bool hex =
      text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
      });
  return hex ? nullptr : "must be sha256: and 64 lower-case hex digits of the certificate";
}

const char* BadModality(absl::string_view text) {
  const bool fits = !text.empty() && text.size() <= kModalityBytesMax &&
                    std::all_of(text.begin(), text.end(), [](char c) {
                      return absl::ascii_isupper(static_cast<unsigned char>(c)) ||
                             absl::ascii_isdigit(static_cast<unsigned char>(c));
                    });
  return fits ? nullptr : "must be a DICOM modality such as MR or CT";
}

// One of an enumeration, by its name.
template <typename T, typename Parse>
auto Choice(T& out, Parse parse, const char* remedy) {
  return [&out, parse, remedy](const YAML::Node& node, const std::string& path) {
    std::string text;
    const std::optional<T> value = Reader::Read(node, text) ? parse(text) : std::nullopt;
    if (!value) return Refuse(node, path, remedy);
    out = *value;
    return absl::OkStatus();
  };
}

std::optional<Approval> ApprovalOf(absl::string_view name) {
  for (const Approval a : {Approval::kNone, Approval::kFirstTaskOfAStudy, Approval::kEachPlan}) {
    if (name == ApprovalName(a)) return a;
  }
  return std::nullopt;
}

// A finite number in (0, max].
auto Positive(std::optional<double>& out, double max, const char* remedy) {
  return [&out, max, remedy](const YAML::Node& node, const std::string& path) {
    double value = 0;
    if (!Reader::Read(node, value) || !(value > 0 && value <= max)) {
      return Refuse(node, path, remedy);
    }
    out = value;
    return absl::OkStatus();
  };
}

auto Whole(int64_t low, int64_t high, int64_t& out) {
  return [low, high, &out](const YAML::Node& node, const std::string& path) {
    int64_t value = 0;
    if (!Reader::Read(node, value) || value < low || value > high) {
      return Refuse(node, path, absl::StrCat("must be a whole number, ", low, " to ", high));
    }
    out = value;
    return absl::OkStatus();
  };
}

// By the rules of a plan, so that a plan and the policy speak of series in the same words.
absl::Status CheckRules(const std::vector<wire::SeriesRule>& rules) {
  wire::Plan plan;
  plan.study = "policy";
  plan.labels = {{1, "any", ""}};
  plan.series_rules = rules;
  return wire::CheckPlan(plan);
}

absl::Status ReadRules(const YAML::Node& node, const std::string& path,
                       std::vector<wire::SeriesRule>& out) {
  constexpr const char* kForm = "must be a list such as [{BodyPartExamined: \"!HEAD\"}]";
  if (!node.IsSequence()) return Refuse(node, path, kForm);
  for (const YAML::Node& item : node) {
    if (!item.IsMap()) return Refuse(item, path, kForm);
    for (const auto& entry : item) {
      wire::SeriesRule rule;
      if (!Reader::Read(entry.first, rule.keyword) || !Reader::Read(entry.second, rule.condition) ||
          !privacy::IsUtf8(rule.condition)) {
        return Refuse(item, path, kForm);
      }
      out.push_back(std::move(rule));
      if (const absl::Status status = CheckRules(out); !status.ok()) {
        absl::string_view what = status.message();
        absl::ConsumePrefix(&what, "plan: series_rules: ");
        return Refuse(item, path, what);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ReadStudies(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  Reader reader(node, path);
  reader.GetWith("allow", Texts(BadPattern, policy.studies_allow));
  reader.GetWith("deny", Texts(BadPattern, policy.studies_deny));
  return reader.Finish();
}

absl::Status ReadPeers(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  Reader reader(node, path);
  reader.GetWith("deny", Texts(BadPeer, policy.peers_deny));
  return reader.Finish();
}

absl::Status ReadSeries(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  Reader reader(node, path);
  reader.GetWith("modalities", NonEmptyTexts(BadModality, policy.modalities));
  reader.GetWith("rules", [&](const YAML::Node& rules, const std::string& key) {
    return ReadRules(rules, key, policy.series_rules);
  });
  reader.GetWith("keywords_deny", Texts(
                                      [](const std::string& keyword) -> const char* {
                                        return CheckRules({{keyword, "any"}}).ok()
                                                   ? nullptr
                                                   : "is not a DICOM keyword that a plan may name";
                                      },
                                      policy.keywords_deny));
  return reader.Finish();
}

absl::Status ReadProtections(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  std::vector<std::string> names;
  const auto check = [](const std::string& name) {
    return ProtectionOf(name) ? nullptr : "must be secure-aggregation or sealed";
  };
  CSL_RETURN_IF_ERROR(ReadTexts(node, path, check, names));
  if (names.empty()) return Refuse(node, path, "is empty, so no update could ever leave; name one");
  policy.protections.clear();
  for (const std::string& name : names) policy.protections.push_back(*ProtectionOf(name));
  return absl::OkStatus();
}

absl::Status ReadSecureAggregation(const YAML::Node& node, const std::string& path,
                                   SitePolicy& policy) {
  Reader reader(node, path);
  reader.GetWith("min_cohort", [&](const YAML::Node& item, const std::string& key) {
    int64_t value = 0;
    if (Reader::Read(item, value) && value < kMinCohortFloor) {
      return Refuse(
          item, key,
          "must be 3 or more: in a sum of two, each site can subtract itself and read the "
          "other");
    }
    return Whole(kMinCohortFloor, kCohortMax, policy.min_cohort)(item, key);
  });
  reader.GetWith("bits_min", [&](const YAML::Node& item, const std::string& key) {
    if (!Reader::Read(item, policy.bits_min) || (policy.bits_min != 16 && policy.bits_min != 32)) {
      return Refuse(item, key, "must be 16 or 32");
    }
    return absl::OkStatus();
  });
  return reader.Finish();
}

absl::Status ReadPrivacy(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  PrivacyLimits& limits = policy.privacy;
  constexpr const char* kNumber = "must be a number above 0, at most 1000000";
  constexpr const char* kDelta = "must be a number above 0 and at most 0.1";
  Reader reader(node, path);
  reader.GetWith("level", Choice(limits.level, PrivacyLevelOf, "must be none, sample or site"));
  reader.GetWith("epsilon_max", Positive(limits.epsilon_max, 1e6, kNumber));
  reader.GetWith("delta_max", Positive(limits.delta_max, 0.1, kDelta));
  reader.GetWith("epsilon_per_round_max", Positive(limits.epsilon_per_round_max, 1e6, kNumber));
  reader.GetWith("noise_multiplier_min", Positive(limits.noise_multiplier_min, 1e6, kNumber));
  reader.GetWith("clip_max", Positive(limits.clip_max, 1e6, kNumber));
  return reader.Finish();
}

absl::Status ReadBudget(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  Reader reader(node, path);
  std::optional<double> delta;
  reader.GetWith("epsilon",
                 Positive(policy.budget.epsilon, 1e6, "must be a number above 0, at most 1000000"));
  reader.GetWith("delta", Positive(delta, 0.1, "must be a number above 0 and at most 0.1"));
  policy.budget.delta = delta.value_or(policy.budget.delta);
  return reader.Finish();
}

absl::Status ReadDays(const YAML::Node& node, const std::string& path, TrainingHours& hours) {
  constexpr absl::string_view kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
  std::vector<std::string> names;
  const auto check = [&](const std::string& name) {
    const bool known = std::find(std::begin(kDays), std::end(kDays), name) != std::end(kDays);
    return known ? nullptr : "must be some of mon, tue, wed, thu, fri, sat, sun";
  };
  CSL_RETURN_IF_ERROR(ReadTexts(node, path, check, names));
  if (names.empty()) return Refuse(node, path, "is empty, so nothing could ever train; name a day");
  for (size_t i = 0; i < hours.days.size(); ++i) {
    hours.days[i] = std::find(names.begin(), names.end(), kDays[i]) != names.end();
  }
  return absl::OkStatus();
}

absl::Status ReadTraining(const YAML::Node& node, const std::string& path, SitePolicy& policy) {
  Reader reader(node, path);
  reader.GetWith("rounds_per_day", [&](const YAML::Node& item, const std::string& key) {
    return Whole(1, kRoundsPerDayMax, policy.rounds_per_day.emplace())(item, key);
  });
  reader.GetWith("hours", [&](const YAML::Node& list, const std::string& key) {
    if (!list.IsSequence() || list.size() > kItemsMax) {
      return Refuse(list, key, "must be a list such as [\"20:00-06:00\"]");
    }
    for (const YAML::Node& item : list) {
      std::string text;
      if (!Reader::Read(item, text)) return Refuse(item, key, "must be a text");
      const absl::StatusOr<HourWindow> window = ParseHourWindow(text);
      if (!window.ok()) return Refuse(item, key, window.status().message());
      policy.hours.windows.push_back(*window);
    }
    return absl::OkStatus();
  });
  reader.GetWith("days", [&](const YAML::Node& item, const std::string& key) {
    return ReadDays(item, key, policy.hours);
  });
  reader.GetWith("time_zone", [&](const YAML::Node& item, const std::string& key) {
    absl::TimeZone ignored;
    const bool read = Reader::Read(item, policy.time_zone) && policy.time_zone.size() < 64 &&
                      !absl::StrContains(policy.time_zone, "..") &&
                      !absl::StartsWith(policy.time_zone, "/");
    if (read && (policy.time_zone.empty() || absl::LoadTimeZone(policy.time_zone, &ignored))) {
      return absl::OkStatus();
    }
    return Refuse(item, key,
                  "must be a zone of this machine's time zone data such as Europe/Berlin; leave it "
                  "out for the machine's own");
  });
  return reader.Finish();
}

template <typename F>
auto Section(F read, SitePolicy& policy) {
  return [read, &policy](const YAML::Node& node, const std::string& path) {
    return read(node, path, policy);
  };
}

absl::StatusOr<SitePolicy> ReadRoot(const YAML::Node& root) {
  SitePolicy policy;
  Reader reader(root, "");
  bool sealed_named = false;
  reader.GetWith("studies", Section(ReadStudies, policy));
  reader.GetWith("purposes", NonEmptyTexts(BadName, policy.purposes));
  reader.GetWith("algorithms", NonEmptyTexts(BadName, policy.algorithms));
  reader.GetWith("approval", Choice(policy.approval, ApprovalOf,
                                    "must be none, first-task-of-a-study or each-plan"));
  reader.GetWith("peers", Section(ReadPeers, policy));
  reader.GetWith("series", Section(ReadSeries, policy));
  reader.GetWith("protections", Section(ReadProtections, policy));
  reader.GetWith("sealed", [&](const YAML::Node& node, const std::string& path) {
    Reader sealed(node, path);
    sealed_named = sealed.GetWith("studies", Texts(BadPattern, policy.sealed_studies));
    return sealed.Finish();
  });
  reader.GetWith("secure_aggregation", Section(ReadSecureAggregation, policy));
  reader.GetWith("update", [&](const YAML::Node& node, const std::string& path) {
    Reader update(node, path);
    update.GetWith("norm_max", Positive(policy.norm_max, 1e12, "must be a number above 0"));
    return update.Finish();
  });
  reader.GetWith("privacy", Section(ReadPrivacy, policy));
  reader.GetWith("budget", Section(ReadBudget, policy));
  reader.GetWith("training", Section(ReadTraining, policy));
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (sealed_named && !policy.Accepts(Protection::kSealed)) {
    return Refuse(root["sealed"], "sealed.studies",
                  "names studies, but sealed is not among protections; add it there, or leave this "
                  "out");
  }
  if (policy.privacy.level != PrivacyLevel::kNone) {
    if (!policy.privacy.epsilon_max) policy.privacy.epsilon_max = kEpsilonDefault;
    if (!policy.privacy.delta_max) policy.privacy.delta_max = kDeltaDefault;
    if (!policy.budget.epsilon) policy.budget.epsilon = kEpsilonDefault;
  }
  return policy;
}

}  // namespace

absl::StatusOr<SitePolicy> ParsePolicy(absl::string_view yaml) {
  if (yaml.size() > kPolicyBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy.yaml: longer than ", kPolicyBytesMax, " bytes"));
  }
  try {  // yaml-cpp reports faults by exception; none leaves this function
    const std::string text(yaml);
    const YAML::Node root = YAML::Load(text);
    if (HasMoreYaml(text)) {
      return absl::InvalidArgumentError(
          "policy.yaml: goes on after its end (a second document?); what comes there would not "
          "count");
    }
    // A file that was cut to nothing must not turn into the defaults.
    if (root.IsNull()) {
      return absl::InvalidArgumentError(
          "policy.yaml: is empty; write {} for the defaults, or remove the file");
    }
    return ReadRoot(root);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy.yaml: is not YAML: line ", error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace consilium::agent
