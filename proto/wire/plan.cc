#include "proto/wire/plan.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/wire/normalisation.h"

namespace consilium::wire {
namespace {

using Json = nlohmann::json;

constexpr size_t kTextBytesMax = 128;
constexpr size_t kLabelsMax = 255;
constexpr size_t kRulesMax = 64;
constexpr size_t kLevelsMax = 8;
constexpr size_t kLayerPatternsMax = 64;
constexpr int64_t kSecureSitesMax = 255;  // Shamir's shares over GF(2^8)

// What a rule may name: the attributes that a site reads from an image's header.
constexpr absl::string_view kRuleKeywords[] = {
    "BodyPartExamined",  "ContrastBolusAgent",
    "ConvolutionKernel", "EchoTime",
    "ImageType",         "KVP",
    "MRAcquisitionType", "MagneticFieldStrength",
    "Manufacturer",      "PhotometricInterpretation",
    "ProtocolName",      "RepetitionTime",
    "ScanningSequence",  "SeriesDescription",
    "SliceThickness",
};

absl::Status Refuse(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("plan: ", key, ": ", what));
}

// Reads one JSON object key by key and, at the end, refuses the keys nobody asked for.
class Reader {
 public:
  Reader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json.is_object()) status_ = Refuse(path_, "must be an object");
  }

  template <typename T>
  void Get(const char* key, T& out) {
    if (!status_.ok()) return;
    seen_.insert(key);
    const auto it = json_.find(key);
    if (it == json_.end()) {
      status_ = Refuse(Path(key), "is missing");
      return;
    }
    if (!Assign(*it, out)) status_ = Refuse(Path(key), "has the wrong type");
  }

  template <typename T, typename F>
  void GetList(const char* key, size_t count_max, std::vector<T>& out, F read_item) {
    if (!status_.ok()) return;
    seen_.insert(key);
    const auto it = json_.find(key);
    if (it == json_.end() || !it->is_array() || it->size() > count_max) {
      status_ = Refuse(Path(key), absl::StrCat("must be a list of at most ", count_max));
      return;
    }
    out.clear();
    for (size_t i = 0; i < it->size() && status_.ok(); ++i) {
      T item{};
      status_ = read_item((*it)[i], absl::StrCat(Path(key), "[", i, "]"), item);
      out.push_back(std::move(item));
    }
  }

  // Leaves `out` as it is where the key is missing.
  template <typename T>
  void GetIfThere(const char* key, T& out) {
    if (json_.is_object() && json_.contains(key)) Get(key, out);
  }

  template <typename F>
  void GetObjectIfThere(const char* key, F read) {
    if (json_.is_object() && json_.contains(key)) GetObject(key, read);
  }

  template <typename F>
  void GetObject(const char* key, F read) {
    if (!status_.ok()) return;
    seen_.insert(key);
    const auto it = json_.find(key);
    status_ = it == json_.end() ? Refuse(Path(key), "is missing") : read(*it, Path(key));
  }

  absl::Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& item : json_.items()) {
      if (!seen_.contains(item.key())) return Refuse(Path(item.key()), "is not a known key");
    }
    return absl::OkStatus();
  }

 private:
  std::string Path(absl::string_view key) const {
    return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
  }

  static bool Assign(const Json& json, std::string& out) {
    if (!json.is_string()) return false;
    out = json.get<std::string>();
    return true;
  }
  static bool Assign(const Json& json, bool& out) {
    if (!json.is_boolean()) return false;
    out = json.get<bool>();
    return true;
  }
  static bool Assign(const Json& json, double& out) {
    if (!json.is_number()) return false;
    out = json.get<double>();
    return true;
  }
  static bool Assign(const Json& json, int& out) {
    int64_t wide;
    if (!Assign(json, wide) || wide < 0 || wide > 1'000'000) return false;
    out = static_cast<int>(wide);
    return true;
  }
  static bool Assign(const Json& json, int64_t& out) {
    if (!json.is_number_integer()) return false;
    if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) return false;
    out = json.get<int64_t>();
    return true;
  }
  static bool Assign(const Json& json, uint64_t& out) {
    if (!json.is_number_unsigned()) return false;
    out = json.get<uint64_t>();
    return true;
  }
  template <typename T, size_t N>
  static bool Assign(const Json& json, std::array<T, N>& out) {
    if (!json.is_array() || json.size() != N) return false;
    for (size_t i = 0; i < N; ++i) {
      if (!Assign(json[i], out[i])) return false;
    }
    return true;
  }

  const Json& json_;
  const std::string path_;
  absl::Status status_;
  std::set<std::string> seen_;
};

absl::Status ReadLabel(const Json& json, const std::string& path, PlanLabel& out) {
  Reader reader(json, path);
  reader.Get("value", out.value);
  reader.Get("name", out.name);
  reader.Get("code", out.code);
  return reader.Finish();
}

absl::Status ReadRule(const Json& json, const std::string& path, SeriesRule& out) {
  Reader reader(json, path);
  reader.Get("keyword", out.keyword);
  reader.Get("condition", out.condition);
  return reader.Finish();
}

absl::Status ReadChannel(const Json& json, const std::string& path, PlanChannel& out) {
  Reader reader(json, path);
  reader.Get("modality", out.modality);
  reader.GetList("series_rules", kRulesMax, out.series_rules, ReadRule);
  reader.Get("normalisation", out.normalisation);
  return reader.Finish();
}

absl::Status ReadCount(const Json& json, const std::string& path, int64_t& out) {
  if (!json.is_number_integer()) return Refuse(path, "must be a whole number");
  out = json.get<int64_t>();
  return absl::OkStatus();
}

absl::Status ReadStride(const Json& json, const std::string& path, std::array<int64_t, 3>& out) {
  if (!json.is_array() || json.size() != 3) return Refuse(path, "must be three whole numbers");
  for (size_t i = 0; i < 3; ++i) CSL_RETURN_IF_ERROR(ReadCount(json[i], path, out[i]));
  return absl::OkStatus();
}

absl::Status ReadNetwork(const Json& json, const std::string& path, PlanNetwork& out) {
  Reader reader(json, path);
  reader.Get("kind", out.kind);
  reader.Get("in_channels", out.in_channels);
  reader.GetList("features", kLevelsMax, out.features, ReadCount);
  reader.GetList("strides_xyz", kLevelsMax, out.strides_xyz, ReadStride);
  return reader.Finish();
}

absl::Status ReadTraining(const Json& json, const std::string& path, PlanTraining& out) {
  Reader reader(json, path);
  reader.Get("patch_xyz", out.patch_xyz);
  reader.Get("batch", out.batch);
  reader.Get("steps_per_round", out.steps_per_round);
  reader.Get("rounds", out.rounds);
  reader.Get("learning_rate", out.learning_rate);
  reader.Get("weight_decay", out.weight_decay);
  reader.Get("semi_supervised", out.semi_supervised);
  reader.Get("ema_decay", out.ema_decay);
  reader.Get("consistency_weight", out.consistency_weight);
  reader.Get("consistency_rampup_steps", out.consistency_rampup_steps);
  reader.Get("augment", out.augment);
  reader.Get("mirror_xyz", out.mirror_xyz);
  reader.Get("foreground_fraction", out.foreground_fraction);
  reader.Get("local_validation_fraction", out.local_validation_fraction);
  reader.Get("seed", out.seed);
  return reader.Finish();
}

absl::Status ReadProtection(const Json& json, const std::string& path, PlanProtection& out) {
  Reader reader(json, path);
  reader.Get("kind", out.kind);
  reader.Get("norm_max", out.norm_max);
  reader.Get("bits", out.bits);
  reader.Get("clip", out.clip);
  reader.Get("min_cohort", out.min_cohort);
  reader.Get("group", out.group);
  return reader.Finish();
}

absl::Status ReadPrivacy(const Json& json, const std::string& path, PlanPrivacy& out) {
  Reader reader(json, path);
  reader.Get("level", out.level);
  reader.Get("epsilon", out.epsilon);
  reader.Get("delta", out.delta);
  reader.Get("clip", out.clip);
  reader.Get("patients_per_step", out.patients_per_step);
  reader.Get("noise_multiplier", out.noise_multiplier);
  return reader.Finish();
}

absl::Status ReadText(const Json& json, const std::string& path, std::string& out) {
  if (!json.is_string()) return Refuse(path, "must be a text");
  out = json.get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadAlgorithm(const Json& json, const std::string& path, PlanAlgorithm& out) {
  Reader reader(json, path);
  reader.Get("kind", out.kind);
  reader.Get("proximal_mu", out.proximal_mu);
  reader.GetList("local_layers", kLayerPatternsMax, out.local_layers, ReadText);
  reader.Get("personal_lambda", out.personal_lambda);
  return reader.Finish();
}

absl::Status InRange(absl::string_view key, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return absl::OkStatus();
  return Refuse(key, absl::StrCat("must be between ", low, " and ", high));
}

absl::Status CheckText(absl::string_view key, absl::string_view text, bool may_be_empty) {
  if (text.size() > kTextBytesMax || (text.empty() && !may_be_empty)) {
    return Refuse(key, absl::StrCat("must have 1 to ", kTextBytesMax, " bytes"));
  }
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return Refuse(key, "holds a control character");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLabels(const std::vector<PlanLabel>& labels) {
  if (labels.empty()) return Refuse("labels", "needs at least one label");
  if (labels.size() > kLabelsMax) return Refuse("labels", absl::StrCat("at most ", kLabelsMax));
  std::set<std::string> names;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].value != static_cast<int>(i) + 1) {
      return Refuse("labels", "values must run 1, 2, 3 without a gap");
    }
    CSL_RETURN_IF_ERROR(CheckText("labels.name", labels[i].name, false));
    CSL_RETURN_IF_ERROR(CheckText("labels.code", labels[i].code, true));
    if (!names.insert(absl::AsciiStrToLower(labels[i].name)).second) {
      return Refuse("labels", absl::StrCat("'", labels[i].name, "' is there twice"));
    }
  }
  return absl::OkStatus();
}

// `path`: of the list that the rule is in.
absl::Status CheckRule(const std::string& path, const SeriesRule& rule) {
  CSL_RETURN_IF_ERROR(CheckText(absl::StrCat(path, ".keyword"), rule.keyword, false));
  CSL_RETURN_IF_ERROR(CheckText(absl::StrCat(path, ".condition"), rule.condition, false));
  if (std::find(std::begin(kRuleKeywords), std::end(kRuleKeywords), rule.keyword) ==
      std::end(kRuleKeywords)) {
    return Refuse(path, absl::StrCat(rule.keyword, " is not one of ",
                                     absl::StrJoin(kRuleKeywords, ", ")));
  }
  absl::string_view text = absl::StripAsciiWhitespace(rule.condition);
  for (const absl::string_view sign : {"<=", ">=", "<", ">"}) {  // "<=" before "<"
    if (!absl::ConsumePrefix(&text, sign)) continue;
    double number = 0;
    if (absl::SimpleAtod(text, &number) && std::isfinite(number)) return absl::OkStatus();
    return Refuse(path, absl::StrCat(rule.keyword, ": '", rule.condition, "' needs a number"));
  }
  absl::ConsumePrefix(&text, "!");
  if (absl::StripAsciiWhitespace(text).empty()) {
    return Refuse(path, absl::StrCat(rule.keyword, ": the condition is empty"));
  }
  return absl::OkStatus();
}

// `path`: "" of the plan's own series, "channels[0]." of the first further one.
absl::Status CheckChannel(const std::string& path, const PlanChannel& channel) {
  CSL_RETURN_IF_ERROR(CheckText(path + "modality", channel.modality, false));
  const std::string rules = path + "series_rules", normalisation = path + "normalisation";
  if (channel.series_rules.size() > kRulesMax) return Refuse(rules, "too many");
  for (const SeriesRule& rule : channel.series_rules) CSL_RETURN_IF_ERROR(CheckRule(rules, rule));
  const absl::StatusOr<Normalisation> parsed = ParseNormalisation(channel.normalisation);
  if (!parsed.ok()) return Refuse(normalisation, parsed.status().message());
  if (parsed->unit == Normalisation::Unit::kSuvBodyWeight && channel.modality != "PT") {
    return Refuse(normalisation, "suv is for modality PT alone");
  }
  return absl::OkStatus();
}

absl::Status CheckChannels(const Plan& plan) {
  CSL_RETURN_IF_ERROR(CheckChannel("", {plan.modality, plan.series_rules, plan.normalisation}));
  const size_t channels = plan.channels.size() + 1;
  if (channels > kChannelsMax) {
    return Refuse("channels", absl::StrCat("at most ", kChannelsMax, " with the first"));
  }
  for (size_t i = 0; i < plan.channels.size(); ++i) {
    CSL_RETURN_IF_ERROR(CheckChannel(absl::StrCat("channels[", i, "]."), plan.channels[i]));
  }
  if (plan.network.in_channels != static_cast<int64_t>(channels)) {
    return Refuse("network.in_channels",
                  absl::StrCat("must be ", channels, ", the number of the plan's channels"));
  }
  if (plan.coverage_min >= 0 && plan.coverage_min <= 1) return absl::OkStatus();
  return Refuse("coverage_min", "must be between 0 and 1");
}

absl::Status CheckNetwork(const PlanNetwork& network) {
  if (network.kind != "unet") return Refuse("network.kind", "must be unet");
  if (network.features.size() < 2 || network.features.size() > kLevelsMax) {
    return Refuse("network.features", absl::StrCat("needs 2 to ", kLevelsMax, " levels"));
  }
  if (network.strides_xyz.size() != network.features.size()) {
    return Refuse("network.strides_xyz", "needs one entry for each level of features");
  }
  for (const int64_t features : network.features) {
    CSL_RETURN_IF_ERROR(InRange("network.features", static_cast<double>(features), 1, 1024));
  }
  for (const auto& stride : network.strides_xyz) {
    for (const int64_t s : stride) {
      CSL_RETURN_IF_ERROR(InRange("network.strides_xyz", static_cast<double>(s), 1, 2));
    }
  }
  if (network.strides_xyz[0] != std::array<int64_t, 3>{1, 1, 1}) {
    return Refuse("network.strides_xyz", "the finest level must have stride 1");
  }
  return absl::OkStatus();
}

absl::Status CheckPatch(const Plan& plan) {
  for (size_t axis = 0; axis < 3; ++axis) {
    int64_t divisor = 1;
    for (const auto& stride : plan.network.strides_xyz) divisor *= stride[axis];
    const int64_t size = plan.training.patch_xyz[axis];
    if (size < 2 * divisor || size > 512 || size % divisor != 0) {
      return Refuse("training.patch_xyz",
                    absl::StrCat("each must be a multiple of the network's total stride (here ",
                                 divisor, "), at least twice it and at most 512"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTraining(const PlanTraining& t) {
  struct Bound {
    const char* key;
    double value, low, high;
  };
  const Bound bounds[] = {
      {"training.batch", static_cast<double>(t.batch), 1, 64},
      {"training.steps_per_round", static_cast<double>(t.steps_per_round), 1, 100'000},
      {"training.rounds", static_cast<double>(t.rounds), 1, 100'000},
      {"training.learning_rate", t.learning_rate, 1e-8, 1},
      {"training.weight_decay", t.weight_decay, 0, 1},
      {"training.ema_decay", t.ema_decay, 0, 1},
      {"training.consistency_weight", t.consistency_weight, 0, 100},
      {"training.consistency_rampup_steps", static_cast<double>(t.consistency_rampup_steps), 0, 1e7},
      {"training.foreground_fraction", t.foreground_fraction, 0, 1},
      {"training.local_validation_fraction", t.local_validation_fraction, 0, 0.9},
  };
  for (const Bound& b : bounds) CSL_RETURN_IF_ERROR(InRange(b.key, b.value, b.low, b.high));
  if (t.semi_supervised != "mean_teacher" && t.semi_supervised != "none") {
    return Refuse("training.semi_supervised", "must be mean_teacher or none");
  }
  return absl::OkStatus();
}

bool OneOf(absl::string_view text, std::initializer_list<absl::string_view> allowed) {
  return std::find(allowed.begin(), allowed.end(), text) != allowed.end();
}

absl::Status CheckProtection(const PlanProtection& p) {
  if (!OneOf(p.kind, {"sealed", "secure-aggregation"})) {
    return Refuse("protection.kind", "must be sealed or secure-aggregation");
  }
  if (p.bits != 16 && p.bits != 32) return Refuse("protection.bits", "must be 32 or 16");
  CSL_RETURN_IF_ERROR(InRange("protection.norm_max", p.norm_max, 0, 1e9));
  CSL_RETURN_IF_ERROR(InRange("protection.clip", p.clip, 1e-6, 64));
  CSL_RETURN_IF_ERROR(
      InRange("protection.min_cohort", static_cast<double>(p.min_cohort), 3, kSecureSitesMax));
  if (p.group == 0) return absl::OkStatus();
  return InRange("protection.group", static_cast<double>(p.group), 3, kSecureSitesMax);
}

absl::Status CheckPrivacy(const PlanPrivacy& p) {
  if (!OneOf(p.level, {"none", "sample", "site"})) {
    return Refuse("privacy.level", "must be none, sample or site");
  }
  if (p.level == "none") return absl::OkStatus();
  CSL_RETURN_IF_ERROR(InRange("privacy.epsilon", p.epsilon, 1e-3, 1e6));
  CSL_RETURN_IF_ERROR(InRange("privacy.delta", p.delta, 1e-15, 0.1));
  CSL_RETURN_IF_ERROR(InRange("privacy.clip", p.clip, 1e-6, 1e6));
  CSL_RETURN_IF_ERROR(InRange("privacy.patients_per_step", p.patients_per_step, 1, 1e6));
  return InRange("privacy.noise_multiplier", p.noise_multiplier, 0, 1e6);
}

absl::Status CheckAlgorithm(const PlanAlgorithm& a) {
  if (!OneOf(a.kind, {"fedavg", "fedprox", "scaffold"})) {
    return Refuse("algorithm.kind", "must be fedavg, fedprox or scaffold");
  }
  CSL_RETURN_IF_ERROR(InRange("algorithm.proximal_mu", a.proximal_mu, 0, 1e3));
  CSL_RETURN_IF_ERROR(InRange("algorithm.personal_lambda", a.personal_lambda, 0, 1e3));
  if (a.local_layers.size() > kLayerPatternsMax) {
    return Refuse("algorithm.local_layers", absl::StrCat("at most ", kLayerPatternsMax));
  }
  for (const std::string& pattern : a.local_layers) {
    CSL_RETURN_IF_ERROR(CheckText("algorithm.local_layers", pattern, false));
  }
  return absl::OkStatus();
}

Json ToJson(const std::vector<SeriesRule>& rules) {
  Json json = Json::array();
  for (const SeriesRule& rule : rules) {
    json.push_back({{"keyword", rule.keyword}, {"condition", rule.condition}});
  }
  return json;
}

Json ToJson(const std::vector<PlanChannel>& channels) {
  Json json = Json::array();
  for (const PlanChannel& channel : channels) {
    json.push_back({{"modality", channel.modality},
                    {"series_rules", ToJson(channel.series_rules)},
                    {"normalisation", channel.normalisation}});
  }
  return json;
}

Json ToJson(const PlanProtection& p) {
  return {{"kind", p.kind}, {"norm_max", p.norm_max},     {"bits", p.bits},
          {"clip", p.clip}, {"min_cohort", p.min_cohort}, {"group", p.group}};
}

Json ToJson(const PlanPrivacy& p) {
  return {{"level", p.level}, {"epsilon", p.epsilon},
          {"delta", p.delta}, {"clip", p.clip},
          {"patients_per_step", p.patients_per_step}, {"noise_multiplier", p.noise_multiplier}};
}

Json ToJson(const PlanAlgorithm& a) {
  return {{"kind", a.kind},
          {"proximal_mu", a.proximal_mu},
          {"local_layers", a.local_layers},
          {"personal_lambda", a.personal_lambda}};
}

}  // namespace

absl::Status CheckPlan(const Plan& plan) {
  CSL_RETURN_IF_ERROR(CheckName("plan: study", plan.study));
  CSL_RETURN_IF_ERROR(CheckLabels(plan.labels));
  CSL_RETURN_IF_ERROR(CheckChannels(plan));
  for (const double spacing : plan.spacing_xyz_mm) {
    CSL_RETURN_IF_ERROR(InRange("spacing_xyz_mm", spacing, 0.05, 50));
  }
  CSL_RETURN_IF_ERROR(CheckNetwork(plan.network));
  CSL_RETURN_IF_ERROR(CheckTraining(plan.training));
  CSL_RETURN_IF_ERROR(CheckText("purpose", plan.purpose, true));
  CSL_RETURN_IF_ERROR(CheckProtection(plan.protection));
  CSL_RETURN_IF_ERROR(CheckPrivacy(plan.privacy));
  CSL_RETURN_IF_ERROR(CheckAlgorithm(plan.algorithm));
  return CheckPatch(plan);
}

std::string PlanToJson(const Plan& plan) {
  Json labels = Json::array();
  for (const PlanLabel& label : plan.labels) {
    labels.push_back({{"value", label.value}, {"name", label.name}, {"code", label.code}});
  }
  const PlanTraining& t = plan.training;
  Json json = {
      {"study", plan.study},
      {"labels", labels},
      {"modality", plan.modality},
      {"series_rules", ToJson(plan.series_rules)},
      {"spacing_xyz_mm", plan.spacing_xyz_mm},
      {"normalisation", plan.normalisation},
      {"network",
       {{"kind", plan.network.kind},
        {"in_channels", plan.network.in_channels},
        {"features", plan.network.features},
        {"strides_xyz", plan.network.strides_xyz}}},
      {"training",
       {{"patch_xyz", t.patch_xyz},
        {"batch", t.batch},
        {"steps_per_round", t.steps_per_round},
        {"rounds", t.rounds},
        {"learning_rate", t.learning_rate},
        {"weight_decay", t.weight_decay},
        {"semi_supervised", t.semi_supervised},
        {"ema_decay", t.ema_decay},
        {"consistency_weight", t.consistency_weight},
        {"consistency_rampup_steps", t.consistency_rampup_steps},
        {"augment", t.augment},
        {"mirror_xyz", t.mirror_xyz},
        {"foreground_fraction", t.foreground_fraction},
        {"local_validation_fraction", t.local_validation_fraction},
        {"seed", t.seed}}}};
  if (!plan.purpose.empty()) json["purpose"] = plan.purpose;
  if (!(plan.protection == PlanProtection())) json["protection"] = ToJson(plan.protection);
  if (!(plan.privacy == PlanPrivacy())) json["privacy"] = ToJson(plan.privacy);
  if (!(plan.algorithm == PlanAlgorithm())) json["algorithm"] = ToJson(plan.algorithm);
  if (!plan.channels.empty()) {
    json["channels"] = ToJson(plan.channels);
    json["coverage_min"] = plan.coverage_min;
  }
  // "replace": text that is not UTF-8 must not throw here; CheckPlan's callers see the difference.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<Plan> PlanFromJson(absl::string_view text) {
  if (text.size() > kPlanBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan: ", text.size(), " bytes; at most ", kPlanBytesMax));
  }
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("plan: not JSON");
  Plan plan;
  Reader reader(json, "");
  reader.Get("study", plan.study);
  reader.GetList("labels", kLabelsMax, plan.labels, ReadLabel);
  reader.Get("modality", plan.modality);
  reader.GetList("series_rules", kRulesMax, plan.series_rules, ReadRule);
  reader.Get("spacing_xyz_mm", plan.spacing_xyz_mm);
  reader.Get("normalisation", plan.normalisation);
  reader.GetObject("network", [&](const Json& j, const std::string& path) {
    return ReadNetwork(j, path, plan.network);
  });
  reader.GetObject("training", [&](const Json& j, const std::string& path) {
    return ReadTraining(j, path, plan.training);
  });
  reader.GetIfThere("purpose", plan.purpose);
  reader.GetObjectIfThere("protection", [&](const Json& j, const std::string& path) {
    return ReadProtection(j, path, plan.protection);
  });
  reader.GetObjectIfThere("privacy", [&](const Json& j, const std::string& path) {
    return ReadPrivacy(j, path, plan.privacy);
  });
  reader.GetObjectIfThere("algorithm", [&](const Json& j, const std::string& path) {
    return ReadAlgorithm(j, path, plan.algorithm);
  });
  if (json.is_object() && json.contains("channels")) {
    reader.GetList("channels", kChannelsMax - 1, plan.channels, ReadChannel);
    reader.Get("coverage_min", plan.coverage_min);
    // Left out where there are none, so that a plan has one text.
    if (json["channels"].empty()) return Refuse("channels", "must not be empty");
  }
  CSL_RETURN_IF_ERROR(reader.Finish());
  CSL_RETURN_IF_ERROR(CheckPlan(plan));
  return plan;
}

}  // namespace consilium::wire
