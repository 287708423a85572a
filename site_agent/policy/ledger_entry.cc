#include "site_agent/policy/ledger_entry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;  // sorts its keys

constexpr int kVersion = 1;

struct ToJson {
  Json operator()(const StartEntry& entry) const {
    return {{"type", "start"}, {"key", entry.key_check_hex}, Time(entry.time)};
  }
  Json operator()(const CohortEntry& entry) const {
    std::string tags;
    for (const std::string& tag : entry.tags) tags += tag;
    return {{"type", "cohort"},
            {"cohort", entry.cohort},
            {"piece", entry.piece},
            {"pieces", entry.pieces},
            {"patients", Base64Encode(tags)}};
  }
  Json operator()(const ReserveEntry& entry) const {
    const Charge& charge = entry.charge;
    return {{"type", "reserve"},
            {"cohort", entry.cohort},
            {"study", charge.study},
            {"round", charge.round},
            {"task", charge.task_id},
            {"mechanism", MechanismName(charge.part.mechanism)},
            {"q", charge.part.sampling_rate},
            {"sigma", charge.part.noise_multiplier},
            {"steps", charge.part.steps},
            {"delta", charge.delta},
            Time(entry.time)};
  }
  Json operator()(const SettleEntry& entry) const {
    return {{"type", "settle"},
            {"reserve", entry.reservation},
            {"steps", entry.steps},
            Time(entry.time)};
  }
  static Json Time(absl::Time time) { return Json::array({"time_us", absl::ToUnixMicros(time)}); }
};

// Takes the fields of one entry out; after the first fault it gives nothing more.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  std::string Text(const char* key) {
    const Json* field = Find(key);
    if (field == nullptr || !field->is_string()) return Fail(std::string());
    return field->get<std::string>();
  }
  double Number(const char* key) {
    const Json* field = Find(key);
    if (field == nullptr || !field->is_number()) return Fail(0.0);
    return field->get<double>();
  }
  int64_t Whole(const char* key) {
    const Json* field = Find(key);
    const bool whole = field != nullptr && field->is_number_integer() &&
                       !(field->is_number_unsigned() && field->get<uint64_t>() > INT64_MAX);
    return whole ? field->get<int64_t>() : Fail(int64_t{0});
  }
  uint64_t Count(const char* key) {
    const int64_t value = Whole(key);
    return value >= 0 ? static_cast<uint64_t>(value) : Fail(uint64_t{0});
  }
  absl::Time Time() { return absl::FromUnixMicros(Whole("time_us")); }
  std::vector<std::string> Tags(const char* key) {
    const absl::StatusOr<std::string> bytes = Base64Decode(Text(key));
    std::vector<std::string> tags;
    if (!bytes.ok() || bytes->empty() || bytes->size() % kPatientTagBytes != 0 ||
        bytes->size() > kTagsPerEntryMax * kPatientTagBytes) {
      return Fail(std::move(tags));
    }
    for (size_t at = 0; at < bytes->size(); at += kPatientTagBytes) {
      tags.push_back(bytes->substr(at, kPatientTagBytes));
    }
    return tags;
  }
  // Every field was there, and no other.
  bool ok() const { return good_ && read_ == json_.size(); }

 private:
  template <typename T>
  T Fail(T nothing) {
    good_ = false;
    return nothing;
  }
  const Json* Find(const char* key) {
    const auto it = json_.find(key);
    if (it == json_.end()) return nullptr;
    ++read_;
    return &*it;
  }
  const Json& json_;
  size_t read_ = 0;
  bool good_ = true;
};

absl::Status Damaged(uint64_t index) {
  return absl::DataLossError(
      absl::StrCat("the budget ledger: entry ", index, " is none of its own"));
}

}  // namespace

std::string LedgerEntryToJson(const LedgerEntry& entry, uint64_t index) {
  Json json = std::visit(ToJson(), entry);
  json["v"] = kVersion;
  json["index"] = index;
  return json.dump();
}

absl::StatusOr<LedgerEntry> LedgerEntryFromJson(absl::string_view text, uint64_t index) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Damaged(index);
  Fields fields(json);
  if (fields.Whole("v") != kVersion || fields.Count("index") != index) return Damaged(index);
  const std::string type = fields.Text("type");
  LedgerEntry entry;
  if (type == "start") {
    entry = StartEntry{fields.Text("key"), fields.Time()};
  } else if (type == "cohort") {
    entry = CohortEntry{fields.Text("cohort"), fields.Count("piece"), fields.Count("pieces"),
                        fields.Tags("patients")};
  } else if (type == "reserve") {
    ReserveEntry reserve;
    reserve.cohort = fields.Text("cohort");
    reserve.charge.study = fields.Text("study");
    reserve.charge.round = fields.Whole("round");
    reserve.charge.task_id = fields.Text("task");
    const std::optional<Mechanism> mechanism = MechanismOf(fields.Text("mechanism"));
    if (!mechanism) return Damaged(index);
    reserve.charge.part = {*mechanism, fields.Number("q"), fields.Number("sigma"),
                           fields.Whole("steps")};
    reserve.charge.delta = fields.Number("delta");
    reserve.time = fields.Time();
    entry = std::move(reserve);
  } else if (type == "settle") {
    entry = SettleEntry{fields.Count("reserve"), fields.Whole("steps"), fields.Time()};
  } else {
    return Damaged(index);
  }
  if (!fields.ok()) return Damaged(index);
  return entry;
}

}  // namespace consilium::agent
