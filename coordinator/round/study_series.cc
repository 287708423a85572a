#include "coordinator/round/study_series.h"

#include <utility>
#include <vector>

#include "coordinator/round/study_terms.h"
#include "proto/base/status.h"
#include "proto/wire/normalisation.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kSeriesForm =
    "must be a mapping such as {modality: CT}, or a list of them, one for each input channel";

absl::Status Refuse(const YAML::Node& node, absl::string_view key, absl::string_view what) {
  return YamlReader::Refuse(node, key, what);
}

absl::Status ReadRules(const YAML::Node& rules, const std::string& key,
                       std::vector<wire::SeriesRule>& out) {
  constexpr const char* kForm = "must be a list such as [{SliceThickness: \"<= 3\"}]";
  if (!rules.IsSequence()) return Refuse(rules, key, kForm);
  for (const YAML::Node& rule : rules) {
    if (!rule.IsMap()) return Refuse(rule, key, kForm);
    for (const auto& entry : rule) {
      wire::SeriesRule read;
      if (!YamlReader::Read(entry.first, read.keyword) ||
          !YamlReader::Read(entry.second, read.condition)) {
        return Refuse(rule, key, kForm);
      }
      out.push_back(std::move(read));
    }
  }
  return absl::OkStatus();
}

void ReadSelector(YamlReader& reader, wire::PlanChannel& channel) {
  reader.Get("modality", channel.modality);
  reader.GetWith("rules", [&](const YAML::Node& rules, const std::string& key) {
    return ReadRules(rules, key, channel.series_rules);
  });
}

void ReadNormalisation(YamlReader& reader, std::string& out) {
  reader.GetWith("normalisation", [&](const YAML::Node& value, const std::string& key) {
    if (!YamlReader::Read(value, out)) return Refuse(value, key, "must be a text");
    const auto parsed = wire::ParseNormalisation(out);
    return parsed.ok() ? absl::OkStatus() : Refuse(value, key, parsed.status().message());
  });
}

void EmitSelector(YAML::Emitter& out, const std::string& modality,
                  const std::vector<wire::SeriesRule>& rules) {
  out << YAML::Key << "modality" << YAML::Value << modality;
  out << YAML::Key << "rules" << YAML::Value << YAML::BeginSeq;
  for (const wire::SeriesRule& rule : rules) {
    out << YAML::Flow << YAML::BeginMap << YAML::Key << rule.keyword << YAML::Value
        << YAML::DoubleQuoted << rule.condition << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void EmitChannel(YAML::Emitter& out, const wire::PlanChannel& channel) {
  out << YAML::BeginMap;
  EmitSelector(out, channel.modality, channel.series_rules);
  out << YAML::Key << "normalisation" << YAML::Value << channel.normalisation << YAML::EndMap;
}

}  // namespace

absl::Status ReadSeries(const YAML::Node& node, const std::string& path, StudySpec& spec) {
  wire::PlanChannel first{spec.modality, {}, spec.plan.normalisation};
  if (node.IsSequence()) {
    if (node.size() == 0) return Refuse(node, path, kSeriesForm);
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string key = absl::StrCat(path, "[", i, "]");
      if (!node[i].IsMap()) return Refuse(node[i], key, kSeriesForm);
      YamlReader reader(node[i], key);
      wire::PlanChannel further;
      wire::PlanChannel& channel = i == 0 ? first : further;
      ReadSelector(reader, channel);
      ReadNormalisation(reader, channel.normalisation);
      CSL_RETURN_IF_ERROR(reader.Finish());
      if (i > 0) spec.channels.push_back(std::move(further));
    }
  } else if (node.IsMap()) {
    YamlReader reader(node, path);
    ReadSelector(reader, first);
    CSL_RETURN_IF_ERROR(reader.Finish());
  } else {
    return Refuse(node, path, kSeriesForm);
  }
  spec.modality = std::move(first.modality);
  spec.rules = std::move(first.series_rules);
  spec.plan.normalisation = std::move(first.normalisation);
  return absl::OkStatus();
}

void ReadChannelKeys(YamlReader& plan, StudySpec& spec) {
  if (spec.channels.empty()) return ReadNormalisation(plan, spec.plan.normalisation);
  plan.GetWith("normalisation", [](const YAML::Node& node, const std::string& key) {
    return Refuse(node, key, "with several channels, write it in each entry of series");
  });
  plan.Get("coverage_min", spec.coverage_min);
}

void EmitSeries(YAML::Emitter& out, const StudySpec& spec) {
  out << YAML::Key << "series" << YAML::Value;
  if (spec.channels.empty()) {
    out << YAML::BeginMap;
    EmitSelector(out, spec.modality, spec.rules);
    out << YAML::EndMap;
    return;
  }
  out << YAML::BeginSeq;
  EmitChannel(out, {spec.modality, spec.rules, spec.plan.normalisation});
  for (const wire::PlanChannel& channel : spec.channels) EmitChannel(out, channel);
  out << YAML::EndSeq;
}

void EmitChannelKeys(YAML::Emitter& out, const StudySpec& spec) {
  if (spec.channels.empty()) {
    out << YAML::Key << "normalisation" << YAML::Value << spec.plan.normalisation;
  } else {
    out << YAML::Key << "coverage_min" << YAML::Value << NumberText(spec.coverage_min);
  }
}

}  // namespace consilium::coordinator
