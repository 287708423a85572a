#include "coordinator/audit/entry_view.h"

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::json;
using privacy::OpenedCommitment;

constexpr uint64_t kEntryVersionMax = 2;
constexpr int kDepthMax = 8;

// Reads the three numbers that matter and that the rest is JSON, in one pass.
class StampHandler : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return depth_ > 0; }
  bool boolean(bool) override { return depth_ > 0; }
  bool number_integer(number_integer_t value) override {
    if (depth_ == 1 && key_ == kTime) time_us_ = value, seen_ |= 2;
    return depth_ > 0;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 1) return depth_ > 0;
    if (key_ == kVersion) version_ = value, seen_ |= 1;
    if (key_ == kTime && value < uint64_t{1} << 62) time_us_ = static_cast<int64_t>(value), seen_ |= 2;
    if (key_ == kIndex) index_ = value, seen_ |= 4;
    return true;
  }
  bool number_float(number_float_t, const string_t&) override { return false; }
  bool string(string_t&) override { return depth_ > 0; }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return ++depth_ <= kDepthMax; }
  bool end_object() override { return --depth_ >= 0; }
  bool start_array(size_t) override { return depth_ > 0 && ++depth_ <= kDepthMax; }
  bool end_array() override { return --depth_ >= 0; }
  bool key(string_t& name) override {
    if (depth_ == 1) key_ = name == "v" ? kVersion : name == "time_us" ? kTime
                            : name == "index" ? kIndex : kOther;
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception&) override { return false; }

  absl::StatusOr<EntryStamp> Stamp() const {
    if (seen_ != 7) return absl::InvalidArgumentError("an entry needs `v`, `index` and `time_us`");
    if (version_ < 1 || version_ > kEntryVersionMax) {
      return absl::InvalidArgumentError(absl::StrCat("entry of version ", version_,
                                                     "; this program reads up to ",
                                                     kEntryVersionMax));
    }
    return EntryStamp{index_, time_us_};
  }

 private:
  enum Key { kOther, kVersion, kTime, kIndex };
  int depth_ = 0;
  Key key_ = kOther;
  int seen_ = 0;
  uint64_t version_ = 0;
  uint64_t index_ = 0;
  int64_t time_us_ = 0;
};

std::string CommitmentText(const std::string& hex, absl::Span<const OpenedCommitment> opened) {
  for (const OpenedCommitment& one : opened) {
    if (one.commitment == hex) return one.value;
  }
  return absl::StrCat("commitment ", hex.substr(0, 8), "..");
}

void Flatten(const std::string& name, const Json& value,
             absl::Span<const OpenedCommitment> opened, EntryView& view) {
  if (value.is_object()) {
    const auto commit = value.find("commit");
    if (value.size() == 1 && commit != value.end() && commit->is_string()) {
      view.fields.emplace_back(name, CommitmentText(commit->get<std::string>(), opened));
      return;
    }
    for (const auto& [key, inner] : value.items()) {
      Flatten(absl::StrCat(name, ".", key), inner, opened, view);
    }
  } else if (value.is_array()) {
    EntryView items;
    for (const Json& item : value) Flatten("", item, opened, items);
    std::vector<std::string> texts;
    for (auto& [key, text] : items.fields) texts.push_back(std::move(text));
    view.fields.emplace_back(name, absl::StrJoin(texts, ", "));
  } else if (value.is_string()) {
    view.fields.emplace_back(name, value.get<std::string>());
  } else {
    view.fields.emplace_back(name, value.dump());
  }
}

}  // namespace

absl::StatusOr<EntryStamp> ReadEntryStamp(absl::string_view entry) {
  StampHandler handler;
  if (entry.empty() || entry.front() != '{' ||
      !Json::sax_parse(entry.begin(), entry.end(), &handler)) {
    return absl::InvalidArgumentError("not an entry: no JSON object without fractions");
  }
  return handler.Stamp();
}

bool HoldsCommitment(absl::string_view entry, absl::string_view commitment) {
  // In canonical JSON these bytes are structure: within a text each quote has a backslash.
  return absl::StrContains(entry, absl::StrCat("{\"commit\":\"", commitment, "\"}"));
}

absl::string_view EntryView::Field(absl::string_view name) const {
  for (const auto& [key, text] : fields) {
    if (key == name) return text;
  }
  return "";
}

absl::StatusOr<EntryView> ReadEntryView(absl::string_view entry,
                                        absl::Span<const OpenedCommitment> opened) {
  EntryView view;
  CSL_ASSIGN_OR_RETURN(view.stamp, ReadEntryStamp(entry));
  const Json json = Json::parse(entry.begin(), entry.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("not an entry");
  for (const auto& [key, value] : json.items()) Flatten(key, value, opened, view);
  return view;
}

EntryRow MakeEntryRow(const EntryView& view) {
  EntryRow row;
  row.index = absl::StrCat(view.stamp.index);
  row.time = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMicros(view.stamp.time_us),
                              absl::UTCTimeZone());
  row.actor = std::string(view.Field("actor"));
  if (!view.Field("role").empty() && view.Field("role") != view.Field("actor")) {
    absl::StrAppend(&row.actor, " (", view.Field("role"), ")");
  }
  row.action = std::string(view.Field("action"));
  row.outcome = std::string(view.Field("outcome"));
  std::vector<std::string> about;
  if (!view.Field("study").empty()) about.push_back(std::string(view.Field("study")));
  for (const char* name : {"round", "version", "site"}) {
    const absl::string_view text = view.Field(name);
    if (!text.empty()) about.push_back(absl::StrCat(name, " ", text));
  }
  row.about = absl::StrJoin(about, ", ");
  constexpr std::array kOwnColumn = {"v",     "index",  "time_us", "actor",   "role", "action",
                                     "study", "round",  "version", "outcome", "site", "boot",
                                     "mono_us", "federation", "sw", "request", "actor_key"};
  std::vector<std::string> detail;
  if (!view.Field("reason").empty()) detail.push_back(std::string(view.Field("reason")));
  for (const auto& [key, text] : view.fields) {
    bool own = key == "reason";
    for (const char* name : kOwnColumn) own = own || key == name;
    if (!own && !text.empty()) detail.push_back(absl::StrCat(key, ": ", text));
  }
  row.detail = absl::StrJoin(detail, "; ");
  return row;
}

}  // namespace consilium::coordinator
