#include "site_agent/policy/site_policy.h"

#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::string_view kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

std::vector<std::string> DayNames(const TrainingHours& hours) {
  std::vector<std::string> names;
  for (size_t i = 0; i < hours.days.size(); ++i) {
    if (hours.days[i]) names.emplace_back(kDays[i]);
  }
  return names;
}

Json Series(const SitePolicy& policy) {
  Json series = Json::object();
  if (policy.modalities) series["modalities"] = *policy.modalities;
  Json rules = Json::array();
  for (const wire::SeriesRule& rule : policy.series_rules) {
    rules.push_back({{rule.keyword, rule.condition}});
  }
  series["rules"] = rules;
  series["keywords_deny"] = policy.keywords_deny;
  return series;
}

Json Privacy(const PrivacyLimits& limits) {
  Json privacy = {{"level", PrivacyLevelName(limits.level)}};
  const auto set = [&](const char* key, const std::optional<double>& value) {
    if (value) privacy[key] = *value;
  };
  set("epsilon_max", limits.epsilon_max);
  set("delta_max", limits.delta_max);
  set("epsilon_per_round_max", limits.epsilon_per_round_max);
  set("noise_multiplier_min", limits.noise_multiplier_min);
  set("clip_max", limits.clip_max);
  return privacy;
}

Json Training(const SitePolicy& policy) {
  Json training = Json::object();
  if (policy.rounds_per_day) training["rounds_per_day"] = *policy.rounds_per_day;
  Json windows = Json::array();
  for (const HourWindow& window : policy.hours.windows) {
    windows.push_back(FormatHourWindow(window));
  }
  training["hours"] = windows;
  training["days"] = DayNames(policy.hours);
  training["time_zone"] = policy.time_zone;
  return training;
}

Json ToJson(const SitePolicy& policy) {
  Json json;
  json["studies"] = {{"allow", policy.studies_allow}, {"deny", policy.studies_deny}};
  if (policy.purposes) json["purposes"] = *policy.purposes;
  if (policy.algorithms) json["algorithms"] = *policy.algorithms;
  json["approval"] = ApprovalName(policy.approval);
  json["peers"] = {{"deny", policy.peers_deny}};
  json["series"] = Series(policy);
  Json protections = Json::array();
  for (const Protection protection : policy.protections) {
    protections.push_back(ProtectionName(protection));
  }
  json["protections"] = protections;
  if (policy.Accepts(Protection::kSealed)) json["sealed"] = {{"studies", policy.sealed_studies}};
  json["secure_aggregation"] = {{"min_cohort", policy.min_cohort}, {"bits_min", policy.bits_min}};
  json["update"] = Json::object();
  if (policy.norm_max) json["update"]["norm_max"] = *policy.norm_max;
  json["privacy"] = Privacy(policy.privacy);
  json["budget"] = {{"delta", policy.budget.delta}};
  if (policy.budget.epsilon) json["budget"]["epsilon"] = *policy.budget.epsilon;
  json["training"] = Training(policy);
  return json;
}

std::string CellOf(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> items;
  for (const Json& item : value) items.push_back(CellOf(item));
  return items.empty() ? "none" : absl::StrJoin(items, ", ");
}

// What an absent or empty key means, in the table only.
void NameDefaults(Json& json) {
  const auto unless_there = [](Json& object, const char* key, const char* meaning) {
    if (!object.contains(key)) object[key] = meaning;
  };
  unless_there(json, "purposes", "any");
  unless_there(json, "algorithms", "any");
  unless_there(json["series"], "modalities", "any");
  unless_there(json["update"], "norm_max", "not demanded");
  for (const char* key :
       {"epsilon_max", "delta_max", "epsilon_per_round_max", "noise_multiplier_min", "clip_max"}) {
    unless_there(json["privacy"], key, "not limited");
  }
  unless_there(json["budget"], "epsilon", "counted, not limited");
  unless_there(json["training"], "rounds_per_day", "not limited");
  if (json["training"]["hours"].empty()) json["training"]["hours"] = "any";
  if (json["training"]["time_zone"] == "") json["training"]["time_zone"] = "the machine's";
}

}  // namespace

const char* ProtectionName(Protection protection) {
  return protection == Protection::kSealed ? "sealed" : "secure-aggregation";
}

std::optional<Protection> ProtectionOf(absl::string_view name) {
  for (const Protection p : {Protection::kSecureAggregation, Protection::kSealed}) {
    if (name == ProtectionName(p)) return p;
  }
  return std::nullopt;
}

const char* PrivacyLevelName(PrivacyLevel level) {
  switch (level) {
    case PrivacyLevel::kNone:
      return "none";
    case PrivacyLevel::kSample:
      return "sample";
    case PrivacyLevel::kSite:
      return "site";
  }
  CSL_CHECK(false);
}

std::optional<PrivacyLevel> PrivacyLevelOf(absl::string_view name) {
  for (const PrivacyLevel l : {PrivacyLevel::kNone, PrivacyLevel::kSample, PrivacyLevel::kSite}) {
    if (name == PrivacyLevelName(l)) return l;
  }
  return std::nullopt;
}

const char* ApprovalName(Approval approval) {
  switch (approval) {
    case Approval::kNone:
      return "none";
    case Approval::kFirstTaskOfAStudy:
      return "first-task-of-a-study";
    case Approval::kEachPlan:
      return "each-plan";
  }
  CSL_CHECK(false);
}

bool MatchesPattern(absl::string_view pattern, absl::string_view text) {
  // Where the last star stood, and how much of the text it has swallowed: linear in practice, at
  // worst pattern x text, both bounded by a name's length.
  size_t p = 0, t = 0, star = absl::string_view::npos, after = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      t = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool MatchesAny(const std::vector<std::string>& patterns, absl::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return MatchesPattern(pattern, text); });
}

bool SitePolicy::Accepts(Protection protection) const {
  return std::find(protections.begin(), protections.end(), protection) != protections.end();
}

std::string PolicyToJson(const SitePolicy& policy) { return ToJson(policy).dump(2) + "\n"; }

std::vector<std::vector<std::string>> PolicyTable(const SitePolicy& policy) {
  Json json = ToJson(policy);
  NameDefaults(json);
  std::vector<std::vector<std::string>> table = {{"KEY", "VALUE"}};
  for (const auto& [section, value] : json.items()) {
    if (!value.is_object()) {
      table.push_back({section, CellOf(value)});
      continue;
    }
    for (const auto& [key, inner] : value.items()) {
      table.push_back({absl::StrCat(section, ".", key), CellOf(inner)});
    }
  }
  return table;
}

std::string PolicyPath(const std::string& home) { return JoinPath(home, "policy.yaml"); }

absl::StatusOr<LoadedPolicy> ReadPolicy(const std::string& home) {
  const std::string path = PolicyPath(home);
  const absl::StatusOr<std::string> text = ReadFile(path, kPolicyBytesMax);
  if (absl::IsNotFound(text.status())) return LoadedPolicy();
  CSL_RETURN_IF_ERROR(text.status());
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(
        "policy.yaml may be written by others than its owner: chmod go-w policy.yaml");
  }
  LoadedPolicy loaded;
  CSL_ASSIGN_OR_RETURN(loaded.policy, ParsePolicy(*text));
  loaded.sha256 = privacy::Sha256Hex(*text);
  return loaded;
}

}  // namespace consilium::agent
