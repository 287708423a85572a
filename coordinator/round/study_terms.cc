#include "coordinator/round/study_terms.h"

#include "absl/strings/str_format.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kRules[] = {"mean", "median", "trimmed_mean", "multi_krum", "dnc", "fltrust"};
constexpr const char* kProtections[] = {"sealed", "secure-aggregation"};
constexpr const char* kAlgorithms[] = {"fedavg", "fedprox", "scaffold"};
constexpr const char* kLevels[] = {"none", "sample", "site", "standard", "strict"};

// A change by an adaptive optimiser is about learning_rate in each weight, whatever the updates'
// size, so that 1 would destroy any model (Reddi et al. 2021 found 10^-2 to 10^-1.5).
constexpr double kAdaptiveRateDefault = 0.01;
constexpr double kProximalMuDefault = 0.01;
constexpr double kStandardEpsilon = 8;
constexpr double kStrictEpsilon = 3;
constexpr int64_t kMaskedSitesMax = 255;  // as the shares of privacy/secagg

// Which keys an optimiser has beside its learning rate.
struct OptimizerKeys {
  const char* name;
  bool beta1, beta2, tau;
};
constexpr OptimizerKeys kOptimizers[] = {{"none", false, false, false},
                                         {"momentum", true, false, false},
                                         {"fedadagrad", false, false, true},
                                         {"fedadam", true, true, true},
                                         {"fedyogi", true, true, true}};

const OptimizerKeys* FindOptimizer(absl::string_view name) {
  for (const OptimizerKeys& keys : kOptimizers) {
    if (name == keys.name) return &keys;
  }
  return nullptr;
}

absl::Status ReadOptimizerName(const YAML::Node& node, const std::string& path, std::string& out) {
  if (YamlReader::Read(node, out) && FindOptimizer(out) != nullptr) return absl::OkStatus();
  return YamlReader::Refuse(node, path,
                            "must be none, momentum, fedadagrad, fedadam or fedyogi, or a mapping "
                            "with one of them as name");
}

template <size_t N>
auto OneOf(std::string& out, const char* const (&allowed)[N]) {
  return [&out, &allowed](const YAML::Node& node, const std::string& path) {
    std::string text;
    if (YamlReader::Read(node, text)) {
      for (const char* const value : allowed) {
        if (text != value) continue;
        out = text;
        return absl::OkStatus();
      }
    }
    return YamlReader::Refuse(node, path, absl::StrCat("must be ", absl::StrJoin(allowed, " or ")));
  };
}

absl::Status ReadOptimizer(const YAML::Node& node, const std::string& path, OptimizerSpec& out) {
  bool rate = false;
  if (!node.IsMap()) {
    CSL_RETURN_IF_ERROR(ReadOptimizerName(node, path, out.name));
  } else {
    YamlReader reader(node, path);
    reader.Require(
        "name", reader.GetWith("name", [&](const YAML::Node& name, const std::string& name_path) {
          return ReadOptimizerName(name, name_path, out.name);
        }));
    rate = reader.Get("learning_rate", out.learning_rate);
    const bool beta1 = reader.Get("beta1", out.beta1);
    const bool beta2 = reader.Get("beta2", out.beta2);
    const bool tau = reader.Get("tau", out.tau);
    CSL_RETURN_IF_ERROR(reader.Finish());
    const OptimizerKeys& has = *FindOptimizer(out.name);
    const char* const wrong = rate && out.name == "none" ? "learning_rate"
                              : beta1 && !has.beta1      ? "beta1"
                              : beta2 && !has.beta2      ? "beta2"
                              : tau && !has.tau          ? "tau"
                                                         : nullptr;
    if (wrong != nullptr) {
      return YamlReader::Refuse(node, reader.Path(wrong),
                                absl::StrCat(out.name, " has no ", wrong, "; remove it"));
    }
  }
  // Adaptive: tau is in the divisor.
  if (!rate && FindOptimizer(out.name)->tau) out.learning_rate = kAdaptiveRateDefault;
  return absl::OkStatus();
}

absl::Status ReadProtection(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  wire::PlanProtection& p = spec.protection;
  if (!node.IsMap()) return OneOf(p.kind, kProtections)(node, path);
  YamlReader reader(node, path);
  const bool kind = reader.GetWith("kind", OneOf(p.kind, kProtections));
  reader.Get("norm_max", p.norm_max);
  const char* masked_key = nullptr;
  const auto get_masked = [&](const char* key, auto& out) {
    if (reader.Get(key, out) && masked_key == nullptr) masked_key = key;
  };
  get_masked("bits", p.bits);
  get_masked("clip", p.clip);
  get_masked("min_cohort", p.min_cohort);
  get_masked("group", p.group);
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (!kind) p.kind = masked_key != nullptr ? "secure-aggregation" : DefaultProtection(spec);
  if (p.kind == "sealed" && masked_key != nullptr) {
    return YamlReader::Refuse(node, reader.Path(masked_key),
                              "belongs to kind: secure-aggregation; remove it, or write that kind");
  }
  return absl::OkStatus();
}

absl::Status ReadPrivacy(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  wire::PlanPrivacy& p = spec.privacy;
  YamlReader reader(node, path);
  reader.GetWith("level", OneOf(p.level, kLevels));
  const bool epsilon = reader.Get("epsilon", p.epsilon);
  const bool delta = reader.Get("delta", p.delta);
  const bool clip = reader.Get("clip", p.clip);
  const bool patients = reader.Get("patients_per_step", p.patients_per_step);
  const bool noise = reader.Get("noise_multiplier", p.noise_multiplier);
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (p.level == "standard" || p.level == "strict") {
    if (epsilon) {
      return YamlReader::Refuse(node, reader.Path("epsilon"),
                                absl::StrCat("level ", p.level,
                                             " is level: sample with an epsilon "
                                             "of its own; write level: sample with yours"));
    }
    p.epsilon = p.level == "standard" ? kStandardEpsilon : kStrictEpsilon;
    p.level = "sample";
  }
  if (p.level == "none" && (epsilon || delta || clip || patients || noise)) {
    return YamlReader::Refuse(node, path,
                              "level none promises nothing, so it has no other key; write level: "
                              "sample (a patient) or level: site");
  }
  if (p.level == "site" && patients) {
    return YamlReader::Refuse(node, reader.Path("patients_per_step"),
                              "belongs to level: sample; remove it");
  }
  if (p.level == "sample" && noise) {
    return YamlReader::Refuse(node, reader.Path("noise_multiplier"),
                              "belongs to level: site; remove it: under level sample each site "
                              "finds its own for its number of patients");
  }
  return absl::OkStatus();
}

absl::Status ReadAlgorithm(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  wire::PlanAlgorithm& a = spec.algorithm;
  bool mu = false;
  if (!node.IsMap()) {
    CSL_RETURN_IF_ERROR(OneOf(a.kind, kAlgorithms)(node, path));
  } else {
    YamlReader reader(node, path);
    reader.GetWith("kind", OneOf(a.kind, kAlgorithms));
    mu = reader.Get("proximal_mu", a.proximal_mu);
    reader.Get("local_layers", a.local_layers);
    reader.Get("personal_lambda", a.personal_lambda);
    CSL_RETURN_IF_ERROR(reader.Finish());
    if (mu && a.kind != "fedprox") {
      return YamlReader::Refuse(node, reader.Path("proximal_mu"),
                                "belongs to kind: fedprox; remove it, or write that kind");
    }
  }
  if (a.kind == "fedprox" && !mu) a.proximal_mu = kProximalMuDefault;
  return absl::OkStatus();
}

void EmitNumber(YAML::Emitter& out, const char* key, double value) {
  out << YAML::Key << key << YAML::Value << NumberText(value);
}

void EmitProtection(YAML::Emitter& out, const StudySpec& spec) {
  const wire::PlanProtection& p = spec.protection;
  out << YAML::Key << "protection" << YAML::Value;
  if (!spec.masked() && p.norm_max == 0) {
    out << p.kind;
    return;
  }
  out << YAML::BeginMap << YAML::Key << "kind" << YAML::Value << p.kind;
  EmitNumber(out, "norm_max", p.norm_max);
  if (spec.masked()) {
    out << YAML::Key << "bits" << YAML::Value << p.bits;
    EmitNumber(out, "clip", p.clip);
    out << YAML::Key << "min_cohort" << YAML::Value << p.min_cohort;
    out << YAML::Key << "group" << YAML::Value << p.group;
  }
  out << YAML::EndMap;
}

void EmitPrivacy(YAML::Emitter& out, const wire::PlanPrivacy& p) {
  out << YAML::Key << "privacy" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "level" << YAML::Value << p.level;
  if (p.level != "none") {
    EmitNumber(out, "epsilon", p.epsilon);
    EmitNumber(out, "delta", p.delta);
    EmitNumber(out, "clip", p.clip);
  }
  if (p.level == "sample") EmitNumber(out, "patients_per_step", p.patients_per_step);
  if (p.level == "site") EmitNumber(out, "noise_multiplier", p.noise_multiplier);
  out << YAML::EndMap;
}

void EmitAlgorithm(YAML::Emitter& out, const wire::PlanAlgorithm& a) {
  out << YAML::Key << "algorithm" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "kind" << YAML::Value << a.kind;
  if (a.kind == "fedprox") EmitNumber(out, "proximal_mu", a.proximal_mu);
  out << YAML::Key << "local_layers" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const std::string& pattern : a.local_layers) out << YAML::DoubleQuoted << pattern;
  out << YAML::EndSeq;
  EmitNumber(out, "personal_lambda", a.personal_lambda);
  out << YAML::EndMap;
}

}  // namespace

std::string NumberText(double value) {
  for (int digits = 6; digits < 17; ++digits) {
    std::string text = absl::StrFormat("%.*g", digits, value);
    double back = 0;
    if (absl::SimpleAtod(text, &back) && back == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

std::string DefaultProtection(const StudySpec& spec) {
  const bool sums_suffice =
      spec.rule.name == "mean" || (spec.rule.name == "median" && spec.protection.group > 0);
  return spec.min_sites >= kSecureSitesMin && spec.min_sites <= kMaskedSitesMax &&
                 spec.strategy == Strategy::kFedAvg && sums_suffice
             ? "secure-aggregation"
             : "sealed";
}

void ReadRuleAndOptimizer(YamlReader& aggregation, StudySpec& spec) {
  aggregation.GetWith("server_optimizer", [&](const YAML::Node& node, const std::string& path) {
    return ReadOptimizer(node, path, spec.optimizer);
  });
  bool in_rule = false;
  aggregation.GetWith("rule", [&](const YAML::Node& node, const std::string& path) {
    if (!node.IsMap()) return OneOf(spec.rule.name, kRules)(node, path);
    YamlReader reader(node, path);
    reader.Require("name", reader.GetWith("name", OneOf(spec.rule.name, kRules)));
    in_rule = reader.Get("hostile", spec.rule.hostile);
    in_rule = reader.Get("root", spec.rule.root) || in_rule;
    return reader.Finish();
  });
  const auto once = [&](const char* key, auto& out) {
    aggregation.GetWith(key, [&](const YAML::Node& node, const std::string& path) {
      if (in_rule) {
        return YamlReader::Refuse(node, path, "stands beside rule and in it; keep one place");
      }
      if (YamlReader::Read(node, out)) return absl::OkStatus();
      return YamlReader::Refuse(
          node, path,
          absl::StrCat("must be ",
                       key == std::string("root") ? "the name of a site" : "a whole number"));
    });
  };
  once("hostile", spec.rule.hostile);
  once("root", spec.rule.root);
}

void ReadTerms(YamlReader& study, StudySpec& spec) {
  const auto section =
      [&](absl::Status (*read)(const YAML::Node&, const std::string&, StudySpec&)) {
        return [&spec, read](const YAML::Node& node, const std::string& path) {
          return read(node, path, spec);
        };
      };
  if (!study.GetWith("protection", section(ReadProtection))) {
    spec.protection.kind = DefaultProtection(spec);
  }
  study.GetWith("privacy", section(ReadPrivacy));
  study.GetWith("algorithm", section(ReadAlgorithm));
  study.Get("purpose", spec.purpose);
}

void EmitRuleAndOptimizer(YAML::Emitter& out, const StudySpec& spec) {
  const OptimizerSpec& o = spec.optimizer;
  const OptimizerKeys* const has = FindOptimizer(o.name);
  out << YAML::Key << "server_optimizer" << YAML::Value;
  if (has == nullptr || o.name == "none") {
    out << "none";
  } else {
    out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << o.name;
    EmitNumber(out, "learning_rate", o.learning_rate);
    if (has->beta1) EmitNumber(out, "beta1", o.beta1);
    if (has->beta2) EmitNumber(out, "beta2", o.beta2);
    if (has->tau) EmitNumber(out, "tau", o.tau);
    out << YAML::EndMap;
  }
  out << YAML::Key << "rule" << YAML::Value << spec.rule.name;
  if (spec.rule.name != "mean") out << YAML::Key << "hostile" << YAML::Value << spec.rule.hostile;
  if (!spec.rule.root.empty()) {
    out << YAML::Key << "root" << YAML::Value << YAML::DoubleQuoted << spec.rule.root;
  }
}

void EmitTerms(YAML::Emitter& out, const StudySpec& spec) {
  EmitProtection(out, spec);
  EmitPrivacy(out, spec.privacy);
  EmitAlgorithm(out, spec.algorithm);
  out << YAML::Key << "purpose" << YAML::Value << YAML::DoubleQuoted << spec.purpose;
}

}  // namespace consilium::coordinator
