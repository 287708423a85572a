#include "coordinator/store/audit_entry.h"

#include "nlohmann/json.hpp"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::json;

struct TextField {
  const char* key;
  std::string AuditFacts::*member;
};

constexpr TextField kTextFields[] = {
    {"actor", &AuditFacts::actor},     {"role", &AuditFacts::role},
    {"action", &AuditFacts::action},   {"outcome", &AuditFacts::outcome},
    {"study", &AuditFacts::study},     {"version", &AuditFacts::version},
    {"site", &AuditFacts::site},       {"reason", &AuditFacts::reason},
    {"before", &AuditFacts::before},   {"after", &AuditFacts::after},
    {"digest", &AuditFacts::digest}};

}  // namespace

std::string EncodeAudit(const AuditFacts& facts, const AuditStamp& stamp) {
  Json json = {{"v", kAuditVersion}, {"index", stamp.index}, {"time_us", stamp.time_us}};
  for (const TextField& field : kTextFields) {
    const std::string& text = facts.*field.member;
    if (!text.empty()) json[field.key] = text.substr(0, kAuditTextBytesMax);
  }
  if (facts.round) json["round"] = *facts.round;
  if (facts.count) json["count"] = *facts.count;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<AuditView> DecodeAudit(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("v", Json()) != kAuditVersion ||
      !json.value("index", Json()).is_number_unsigned() ||
      !json.value("time_us", Json()).is_number_integer()) {
    return absl::DataLossError("an audit entry does not read");
  }
  AuditView view;
  view.stamp = {json["index"].get<uint64_t>(), json["time_us"].get<int64_t>()};
  for (const TextField& field : kTextFields) {
    const auto it = json.find(field.key);
    if (it != json.end() && it->is_string()) view.facts.*field.member = it->get<std::string>();
  }
  for (const auto& [key, member] : {std::pair{"round", &AuditFacts::round},
                                    std::pair{"count", &AuditFacts::count}}) {
    const auto it = json.find(key);
    if (it != json.end() && it->is_number_integer()) view.facts.*member = it->get<int64_t>();
  }
  return view;
}

}  // namespace consilium::coordinator
