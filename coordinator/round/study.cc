#include "coordinator/round/study.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/round/planner.h"
#include "coordinator/round/study_checks.h"
#include "coordinator/round/study_series.h"
#include "coordinator/round/study_terms.h"
#include "coordinator/round/yaml_reader.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kEvaluatorsMax = 1000;
constexpr size_t kRequiredMax = 1000;
constexpr absl::Duration kLeaseMin = absl::Seconds(10);
constexpr absl::Duration kLeaseMax = absl::Hours(1);
constexpr absl::Duration kStallMin = absl::Seconds(30);
constexpr absl::Duration kStallMax = absl::Hours(24);
constexpr absl::Duration kDeadlineMin = absl::Seconds(1);
constexpr absl::Duration kDeadlineMax = absl::Hours(24 * 30);

absl::Status Refuse(const YAML::Node& node, absl::string_view key, absl::string_view what) {
  return YamlReader::Refuse(node, key, what);
}

// A text that has to be one of a few, with a word on those that are planned.
struct Choice {
  const char* value;
  const char* refusal;  // nullptr: allowed
};

auto OneOf(std::string& out, std::vector<Choice> choices) {
  return [&out, choices = std::move(choices)](const YAML::Node& node, const std::string& path) {
    std::string text;
    std::vector<std::string> allowed;
    if (!YamlReader::Read(node, text)) return Refuse(node, path, "must be a text");
    for (const Choice& choice : choices) {
      if (choice.refusal == nullptr) allowed.push_back(choice.value);
      if (text != choice.value) continue;
      if (choice.refusal != nullptr) return Refuse(node, path, choice.refusal);
      out = text;
      return absl::OkStatus();
    }
    return Refuse(node, path, absl::StrCat("must be ", absl::StrJoin(allowed, " or ")));
  };
}

absl::Status ReadTask(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  YamlReader reader(node, path);
  std::map<int64_t, std::string> names, codes;
  const auto read_map = [](std::map<int64_t, std::string>& out) {
    return [&out](const YAML::Node& map, const std::string& key) {
      if (!map.IsMap()) return Refuse(map, key, "must map label values 1, 2, 3 to texts");
      for (const auto& entry : map) {
        int64_t value = 0;
        std::string text;
        if (!YamlReader::Read(entry.first, value) || !YamlReader::Read(entry.second, text)) {
          return Refuse(entry.first, key, "must map label values 1, 2, 3 to texts");
        }
        if (!out.emplace(value, text).second) {
          return Refuse(entry.first, key, absl::StrCat("has ", value, " twice"));
        }
      }
      return absl::OkStatus();
    };
  };
  reader.Require("labels", reader.GetWith("labels", read_map(names)));
  reader.GetWith("codes", read_map(codes));
  CSL_RETURN_IF_ERROR(reader.Finish());
  for (const auto& [value, name] : names) {
    if (value != static_cast<int64_t>(spec.labels.size()) + 1) {
      return Refuse(node, reader.Path("labels"),
                    "values must run 1, 2, 3 without a gap; 0 is background and is not listed");
    }
    spec.labels.push_back({static_cast<int>(value), name, codes[value]});
  }
  for (const auto& [value, code] : codes) {
    if (!names.contains(value)) {
      return Refuse(node, reader.Path("codes"), absl::StrCat("has ", value, ", which is no label"));
    }
  }
  return absl::OkStatus();
}

// Reads a value, or leaves `out` empty for "auto".
template <typename T>
void GetOrAuto(YamlReader& reader, const char* key, std::optional<T>& out) {
  reader.GetWith(key, [&](const YAML::Node& node, const std::string& path) {
    if (node.IsScalar() && node.Scalar() == "auto") return absl::OkStatus();
    T value{};
    if (!YamlReader::Read(node, value)) {
      return Refuse(node, path, "must be auto, or the value or list of values written out");
    }
    out = std::move(value);
    return absl::OkStatus();
  });
}

absl::Status ReadPlan(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  if (node.IsScalar() && node.Scalar() == "auto") return absl::OkStatus();
  if (!node.IsMap()) return Refuse(node, path, "must be auto, or a mapping of the keys to fix");
  YamlReader reader(node, path);
  GetOrAuto(reader, "spacing_xyz_mm", spec.plan.spacing_xyz_mm);
  GetOrAuto(reader, "patch_xyz", spec.plan.patch_xyz);
  GetOrAuto(reader, "features", spec.plan.features);
  GetOrAuto(reader, "strides_xyz", spec.plan.strides_xyz);
  GetOrAuto(reader, "steps_per_round", spec.plan.steps_per_round);
  ReadChannelKeys(reader, spec);
  wire::PlanTraining& t = spec.plan.training;
  reader.Get("batch", t.batch);
  reader.Get("learning_rate", t.learning_rate);
  reader.Get("weight_decay", t.weight_decay);
  reader.Get("ema_decay", t.ema_decay);
  reader.Get("consistency_weight", t.consistency_weight);
  GetOrAuto(reader, "consistency_rampup_steps", spec.plan.consistency_rampup_steps);
  reader.Get("augment", t.augment);
  reader.Get("mirror_xyz", t.mirror_xyz);
  reader.Get("foreground_fraction", t.foreground_fraction);
  reader.Get("local_validation_fraction", t.local_validation_fraction);
  return reader.Finish();
}

absl::Status ReadAggregation(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  YamlReader reader(node, path);
  std::string strategy = "fedavg";
  reader.GetWith("strategy", OneOf(strategy, {{"fedavg", nullptr}, {"fedbuff", nullptr}}));
  ReadRuleAndOptimizer(reader, spec);
  reader.Get("min_sites", spec.min_sites);
  reader.Get("unlabelled_weight", spec.unlabelled_weight);
  reader.Get("unlabelled_after", spec.unlabelled_after);
  spec.strategy = strategy == "fedbuff" ? Strategy::kFedBuff : Strategy::kFedAvg;
  const bool buffer = reader.Get("buffer", spec.buffer);
  const bool exponent = reader.Get("staleness_exponent", spec.staleness_exponent);
  const bool stalest = reader.Get("staleness_max", spec.staleness_max);
  CSL_RETURN_IF_ERROR(reader.Finish());
  if (spec.strategy == Strategy::kFedBuff && !buffer) {
    return Refuse(node, reader.Path("buffer"), "is missing: fedbuff makes a version of so many updates");
  }
  if (spec.strategy == Strategy::kFedAvg && (buffer || exponent || stalest)) {
    return Refuse(node, path,
                  "buffer, staleness_exponent and staleness_max belong to strategy: fedbuff");
  }
  return absl::OkStatus();
}

// Returns whether the quorum was written out, so that it can follow min_sites if not.
absl::Status ReadRounds(const YAML::Node& node, const std::string& path, StudySpec& spec,
                        std::optional<int64_t>& quorum) {
  YamlReader reader(node, path);
  reader.Get("count", spec.rounds);
  reader.Get("local_epochs", spec.local_epochs);
  reader.Get("deadline", spec.deadline);
  reader.Get("lease", spec.lease);
  reader.Get("stall", spec.stall);
  int64_t value = 0;
  if (reader.Get("quorum", value)) quorum = value;
  return reader.Finish();
}

absl::Status ReadFlatKeys(YamlReader& reader, StudySpec& spec) {
  reader.GetWith("network",
                 OneOf(spec.network, {{"unet", nullptr},
                                      {"swin_unetr", "swin_unetr is not there yet; write unet"}}));
  reader.GetWith("semi_supervised",
                 OneOf(spec.semi_supervised, {{"mean_teacher", nullptr}, {"none", nullptr}}));
  ReadTerms(reader, spec);
  reader.GetWith("sites", [&](const YAML::Node& node, const std::string& path) {
    YamlReader sites(node, path);
    sites.Get("evaluators", spec.evaluators);
    sites.Get("required", spec.required);
    return sites.Finish();
  });
  reader.GetWith("evaluation", [&](const YAML::Node& node, const std::string& path) {
    YamlReader evaluation(node, path);
    evaluation.Get("every", spec.evaluate_every);
    return evaluation.Finish();
  });
  reader.Get("seed", spec.seed);
  return absl::OkStatus();
}

absl::Status Check(bool holds, absl::string_view key, absl::string_view what) {
  return holds ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat("study: ", key, ": ", what));
}

absl::Status CheckRequired(const StudySpec& spec) {
  CSL_RETURN_IF_ERROR(Check(spec.lease >= kLeaseMin && spec.lease <= kLeaseMax, "rounds.lease",
                            "must be between 10s and 1h"));
  CSL_RETURN_IF_ERROR(Check(spec.stall >= kStallMin && spec.stall <= kStallMax, "rounds.stall",
                            "must be between 30s and 24h"));
  CSL_RETURN_IF_ERROR(
      Check(spec.required.size() <= kRequiredMax, "sites.required", "has too many names"));
  CSL_RETURN_IF_ERROR(Check(spec.required.empty() || spec.strategy == Strategy::kFedAvg,
                            "sites.required",
                            "a buffer is filled by whoever is first, so strategy: fedbuff cannot "
                            "require a site"));
  std::set<std::string> seen;
  for (const std::string& site : spec.required) {
    CSL_RETURN_IF_ERROR(CheckName("study: sites.required", site));
    CSL_RETURN_IF_ERROR(
        Check(seen.insert(site).second, "sites.required", absl::StrCat("has ", site, " twice")));
    CSL_RETURN_IF_ERROR(Check(!spec.IsEvaluator(site), "sites.required",
                              absl::StrCat(site, " only evaluates (sites.evaluators), so no round "
                                                 "could ever be committed")));
  }
  return absl::OkStatus();
}

absl::Status CheckBuffer(const StudySpec& spec) {
  if (spec.strategy == Strategy::kFedAvg) return absl::OkStatus();
  CSL_RETURN_IF_ERROR(
      Check(spec.buffer >= spec.quorum && spec.buffer <= spec.min_sites, "aggregation.buffer",
            absl::StrCat("must be between rounds.quorum (", spec.quorum,
                         ") and aggregation.min_sites (", spec.min_sites,
                         "): a site counts once for each version it trains from, so a larger "
                         "buffer might never fill")));
  CSL_RETURN_IF_ERROR(Check(spec.staleness_exponent >= 0 && spec.staleness_exponent <= 4,
                            "aggregation.staleness_exponent", "must be between 0 and 4"));
  return Check(spec.staleness_max >= 0 && spec.staleness_max <= 1000, "aggregation.staleness_max",
               "must be between 0 and 1000");
}

absl::Status CheckStudy(const StudySpec& spec) {
  CSL_RETURN_IF_ERROR(CheckName("study: name", spec.name));
  CSL_RETURN_IF_ERROR(Check(spec.min_sites >= 1 && spec.min_sites <= 10'000,
                            "aggregation.min_sites", "must be between 1 and 10000"));
  CSL_RETURN_IF_ERROR(Check(spec.quorum >= 1, "rounds.quorum", "must be at least 1"));
  CSL_RETURN_IF_ERROR(
      Check(spec.quorum <= spec.min_sites, "rounds.quorum",
            absl::StrCat("is ", spec.quorum, ", more than aggregation.min_sites (", spec.min_sites,
                         "): a round that opens with so few sites could never end; lower the "
                         "quorum or raise min_sites")));
  CSL_RETURN_IF_ERROR(
      Check(spec.unlabelled_weight >= 0.001 && spec.unlabelled_weight <= 1,
            "aggregation.unlabelled_weight",
            "must be between 0.001 and 1; to keep sites without labels out, write "
            "semi_supervised: none"));
  CSL_RETURN_IF_ERROR(Check(spec.unlabelled_after >= 0, "aggregation.unlabelled_after",
                            "must be 0 or more"));
  CSL_RETURN_IF_ERROR(Check(spec.rounds >= 1 && spec.rounds <= 100'000, "rounds.count",
                            "must be between 1 and 100000"));
  CSL_RETURN_IF_ERROR(Check(spec.local_epochs >= 1 && spec.local_epochs <= 1000,
                            "rounds.local_epochs", "must be between 1 and 1000"));
  CSL_RETURN_IF_ERROR(Check(spec.deadline >= kDeadlineMin && spec.deadline <= kDeadlineMax,
                            "rounds.deadline", "must be between 1s and 720h"));
  CSL_RETURN_IF_ERROR(Check(spec.evaluate_every >= 0, "evaluation.every",
                            "must be 0 (only at the end) or a number of rounds"));
  CSL_RETURN_IF_ERROR(Check(spec.evaluators.size() <= kEvaluatorsMax, "sites.evaluators",
                            "has too many names"));
  std::set<std::string> seen;
  for (const std::string& site : spec.evaluators) {
    CSL_RETURN_IF_ERROR(CheckName("study: sites.evaluators", site));
    CSL_RETURN_IF_ERROR(Check(seen.insert(site).second, "sites.evaluators",
                              absl::StrCat("has ", site, " twice")));
  }
  CSL_RETURN_IF_ERROR(CheckRequired(spec));
  CSL_RETURN_IF_ERROR(CheckBuffer(spec));
  CSL_RETURN_IF_ERROR(CheckTerms(spec));
  // What is written out of the plan is judged now, not when the sites have already prepared.
  return Annotate(wire::CheckPlan(ProvisionalPlan(spec)), "study");
}

absl::StatusOr<StudySpec> ReadStudy(const YAML::Node& root) {
  StudySpec spec;
  std::optional<int64_t> quorum;
  YamlReader reader(root, "");
  const auto section = [&](absl::Status (*read)(const YAML::Node&, const std::string&,
                                                StudySpec&)) {
    return [&spec, read](const YAML::Node& node, const std::string& path) {
      return read(node, path, spec);
    };
  };
  reader.Require("name", reader.Get("name", spec.name));
  reader.Require("task", reader.GetWith("task", section(ReadTask)));
  reader.GetWith("series", section(ReadSeries));
  reader.GetWith("plan", section(ReadPlan));
  reader.GetWith("aggregation", section(ReadAggregation));
  reader.GetWith("rounds", [&](const YAML::Node& node, const std::string& path) {
    return ReadRounds(node, path, spec, quorum);
  });
  CSL_RETURN_IF_ERROR(ReadFlatKeys(reader, spec));
  CSL_RETURN_IF_ERROR(reader.Finish());
  spec.quorum = quorum.value_or(spec.strategy == Strategy::kFedBuff
                                    ? std::min(spec.buffer, spec.min_sites)
                                    : spec.min_sites);
  CSL_RETURN_IF_ERROR(CheckStudy(spec));
  return spec;
}

template <typename T>
void EmitList(YAML::Emitter& out, const T& values) {
  out << YAML::Flow << YAML::BeginSeq;
  for (const auto& value : values) out << value;
  out << YAML::EndSeq;
}

template <typename T, typename F>
void EmitOrAuto(YAML::Emitter& out, const char* key, const std::optional<T>& value, F emit) {
  out << YAML::Key << key << YAML::Value;
  if (value) {
    emit(*value);
  } else {
    out << "auto";
  }
}

void EmitPlan(YAML::Emitter& out, const StudySpec& spec) {
  const PlanSpec& plan = spec.plan;
  const auto list = [&](const auto& values) { EmitList(out, values); };
  out << YAML::Key << "plan" << YAML::Value << YAML::BeginMap;
  EmitOrAuto(out, "spacing_xyz_mm", plan.spacing_xyz_mm, list);
  EmitOrAuto(out, "patch_xyz", plan.patch_xyz, list);
  EmitOrAuto(out, "features", plan.features, list);
  EmitOrAuto(out, "strides_xyz", plan.strides_xyz, [&](const auto& strides) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const auto& stride : strides) EmitList(out, stride);
    out << YAML::EndSeq;
  });
  EmitOrAuto(out, "steps_per_round", plan.steps_per_round, [&](int64_t steps) { out << steps; });
  const wire::PlanTraining& t = plan.training;
  const auto number = [&](const char* key, double value) {
    out << YAML::Key << key << YAML::Value << NumberText(value);
  };
  EmitChannelKeys(out, spec);
  out << YAML::Key << "batch" << YAML::Value << t.batch;
  number("learning_rate", t.learning_rate);
  number("weight_decay", t.weight_decay);
  number("ema_decay", t.ema_decay);
  number("consistency_weight", t.consistency_weight);
  EmitOrAuto(out, "consistency_rampup_steps", plan.consistency_rampup_steps,
             [&](int64_t steps) { out << steps; });
  out << YAML::Key << "augment" << YAML::Value << t.augment;
  out << YAML::Key << "mirror_xyz" << YAML::Value;
  EmitList(out, t.mirror_xyz);
  number("foreground_fraction", t.foreground_fraction);
  number("local_validation_fraction", t.local_validation_fraction);
  out << YAML::EndMap;
}

void EmitTask(YAML::Emitter& out, const StudySpec& spec) {
  out << YAML::Key << "task" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "labels" << YAML::Value << YAML::BeginMap;
  for (const wire::PlanLabel& label : spec.labels) {
    out << YAML::Key << label.value << YAML::Value << YAML::DoubleQuoted << label.name;
  }
  out << YAML::EndMap << YAML::Key << "codes" << YAML::Value << YAML::BeginMap;
  for (const wire::PlanLabel& label : spec.labels) {
    if (!label.code.empty()) {
      out << YAML::Key << label.value << YAML::Value << YAML::DoubleQuoted << label.code;
    }
  }
  out << YAML::EndMap << YAML::EndMap;
}

}  // namespace

bool StudySpec::IsEvaluator(absl::string_view site) const {
  return std::find(evaluators.begin(), evaluators.end(), site) != evaluators.end();
}

bool StudySpec::IsRequired(absl::string_view site) const {
  return std::find(required.begin(), required.end(), site) != required.end();
}

absl::StatusOr<StudySpec> ParseStudy(const std::string& yaml) {
  if (yaml.size() > kStudyBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("study: the file is longer than ", kStudyBytesMax, " bytes"));
  }
  try {  // yaml-cpp reports faults by exception; none leaves this function
    return ReadStudy(YAML::Load(yaml));
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("study: is not YAML: ", e.what()));
  }
}

std::string StudyToYaml(const StudySpec& spec) {
  YAML::Emitter out;
  const auto key = [&](const char* name) -> YAML::Emitter& {
    return out << YAML::Key << name << YAML::Value;
  };
  out << YAML::BeginMap;
  key("name") << YAML::DoubleQuoted << spec.name;
  EmitTask(out, spec);
  EmitSeries(out, spec);
  EmitPlan(out, spec);
  key("network") << spec.network;
  key("semi_supervised") << spec.semi_supervised;
  key("aggregation") << YAML::BeginMap;
  const bool buffered = spec.strategy == Strategy::kFedBuff;
  key("strategy") << (buffered ? "fedbuff" : "fedavg");
  EmitRuleAndOptimizer(out, spec);
  key("min_sites") << spec.min_sites;
  key("unlabelled_weight") << NumberText(spec.unlabelled_weight);
  key("unlabelled_after") << spec.unlabelled_after;
  if (buffered) {
    key("buffer") << spec.buffer;
    key("staleness_exponent") << NumberText(spec.staleness_exponent);
    key("staleness_max") << spec.staleness_max;
  }
  out << YAML::EndMap;
  EmitTerms(out, spec);
  key("rounds") << YAML::BeginMap;
  key("count") << spec.rounds;
  key("local_epochs") << spec.local_epochs;
  key("deadline") << absl::FormatDuration(spec.deadline);
  key("quorum") << spec.quorum;
  key("lease") << absl::FormatDuration(spec.lease);
  key("stall") << absl::FormatDuration(spec.stall);
  out << YAML::EndMap;
  key("sites") << YAML::BeginMap;
  key("evaluators");
  EmitList(out, spec.evaluators);
  key("required");
  EmitList(out, spec.required);
  out << YAML::EndMap;
  key("evaluation") << YAML::BeginMap;
  key("every") << spec.evaluate_every;
  out << YAML::EndMap;
  key("seed") << spec.seed;
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace consilium::coordinator
