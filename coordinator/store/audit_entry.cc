#include "coordinator/store/audit_entry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/commitment.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::json;

constexpr const char* kCommitKey = "commit";
constexpr const char* kErased = "(erased)";

struct TextField {
  const char* key;
  std::string AuditFacts::*member;
};

constexpr TextField kTextFields[] = {
    {"action", &AuditFacts::action},   {"actor", &AuditFacts::actor},
    {"actor_key", &AuditFacts::actor_key}, {"after", &AuditFacts::after},
    {"before", &AuditFacts::before},   {"digest", &AuditFacts::digest},
    {"outcome", &AuditFacts::outcome}, {"reason", &AuditFacts::reason},
    {"request", &AuditFacts::request}, {"role", &AuditFacts::role},
    {"site", &AuditFacts::site},       {"study", &AuditFacts::study},
    {"version", &AuditFacts::version}};

// Length of the well-formed UTF-8 sequence at the front (RFC 3629), 0 if there is none.
size_t Utf8Length(absl::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && at(1) < 0xA0) || (lead == 0xF0 && at(1) < 0x90);
  const bool surrogate = lead == 0xED && at(1) > 0x9F;
  const bool too_large = lead == 0xF4 && at(1) > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

// At most kAuditTextBytesMax bytes of well-formed text; U+FFFD for each byte that is not.
std::string Clean(absl::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (text.size() <= kAuditTextBytesMax && std::all_of(text.begin(), text.end(), is_ascii)) {
    return std::string(text);  // nearly all of it
  }
  std::string clean;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const absl::string_view piece = length == 0 ? "\xEF\xBF\xBD" : text.substr(0, length);
    if (clean.size() + piece.size() > kAuditTextBytesMax) break;
    absl::StrAppend(&clean, piece);
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return clean;
}

void AppendEscaped(std::string& out, char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\b': out += "\\b"; break;
    case '\t': out += "\\t"; break;
    case '\n': out += "\\n"; break;
    case '\f': out += "\\f"; break;
    case '\r': out += "\\r"; break;
    default:
      out += "\\u00";
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
  }
}

// RFC 8785, section 3.2.2.2.
void AppendJsonText(std::string& out, absl::string_view text) {
  out.push_back('"');
  size_t written = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.data() + written, i - written);
    AppendEscaped(out, c);
    written = i + 1;
  }
  out.append(text.data() + written, text.size() - written);
  out.push_back('"');
}

bool IsPersonal(absl::string_view field, const AuditFacts& facts) {
  const bool admin = facts.role == "admin";
  if (field == "actor") {
    return admin || (facts.role == "none" && facts.actor != "unknown" && facts.actor != facts.site);
  }
  if (field == "reason" && admin) return true;
  return std::find(facts.personal.begin(), facts.personal.end(), field) != facts.personal.end();
}

const std::string* Commit(const Json& value) {
  if (!value.is_object()) return nullptr;
  const auto it = value.find(kCommitKey);
  return it != value.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

// The value that `field` commits to; empty if it is not there any more.
absl::StatusOr<std::string> Opened(const std::string& field, const std::string& commit,
                                   const std::vector<AuditDisclosure>& disclosed) {
  for (const AuditDisclosure& one : disclosed) {
    if (one.field != field) continue;
    if (!privacy::VerifyCommitment(one.salt, one.value, commit).ok()) {
      return absl::DataLossError(
          absl::StrCat("an audit entry's ", field, " is not what it was committed to"));
    }
    return one.value;
  }
  return std::string();
}

absl::StatusOr<Json> Parse(absl::string_view text) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  const auto whole = [&](const char* key) {
    return json.contains(key) && json[key].is_number_integer();
  };
  if (!json.is_object() || !whole("v") || json["v"] < 1 || json["v"] > kAuditVersion ||
      !json.value("index", Json()).is_number_unsigned() || !whole("time_us")) {
    return absl::DataLossError("an audit entry does not read");
  }
  return json;
}

}  // namespace

std::string AuditDraft::Value(absl::string_view field, absl::string_view text) {
  std::string out;
  if (!IsPersonal(field, facts_)) {
    AppendJsonText(out, text);
    return out;
  }
  privacy::Commitment commitment = privacy::Commit(text);
  out = absl::StrCat("{\"", kCommitKey, "\":\"", commitment.hex, "\"}");
  secrets_.push_back({std::string(field), std::move(commitment.salt), std::string(text)});
  return out;
}

AuditDraft::AuditDraft(AuditFacts facts, const AuditOrigin& origin) : facts_(std::move(facts)) {
  for (const TextField& field : kTextFields) {
    std::string& text = facts_.*field.member;
    text = Clean(text);
  }
  const auto add = [this](std::string& out, const char* key, const std::string& text) {
    if (!text.empty()) absl::StrAppend(&out, ",\"", key, "\":", Value(key, text));
  };
  const auto add_number = [](std::string& out, const char* key, std::optional<int64_t> number) {
    if (number) absl::StrAppend(&out, ",\"", key, "\":", *number);
  };
  // Each part in the order of its keys, and the parts in the order in which Seal joins them.
  add(before_clock_, "action", facts_.action);
  add(before_clock_, "actor", facts_.actor);
  add(before_clock_, "actor_key", facts_.actor_key);
  add(before_clock_, "after", facts_.after);
  add(before_clock_, "before", facts_.before);
  add(before_clock_, "boot", Clean(origin.boot));
  add_number(before_index_, "count", facts_.count);
  add(before_index_, "digest", facts_.digest);
  add(before_time_, "outcome", facts_.outcome);
  add(before_time_, "reason", facts_.reason);
  add(before_time_, "request", facts_.request);
  add(before_time_, "role", facts_.role);
  add_number(before_time_, "round", facts_.round);
  add(before_time_, "site", facts_.site);
  add(before_time_, "study", facts_.study);
  add(before_time_, "sw", Clean(origin.software));
  end_ = absl::StrCat(",\"v\":", kAuditVersion);
  add(end_, "version", facts_.version);
}

std::string AuditDraft::Seal(const AuditStamp& stamp) const {
  std::string json = before_clock_;
  json.reserve(before_clock_.size() + before_index_.size() + before_time_.size() + end_.size() + 128);
  if (stamp.clock_back_us) absl::StrAppend(&json, ",\"clock_back\":", *stamp.clock_back_us);
  absl::StrAppend(&json, before_index_, ",\"index\":", stamp.index);
  if (stamp.mono_us != 0) absl::StrAppend(&json, ",\"mono_us\":", stamp.mono_us);
  absl::StrAppend(&json, before_time_, ",\"time_us\":", stamp.time_us, end_, "}");
  json.front() = '{';  // in the place of the first comma
  return json;
}

std::string EncodeAudit(const AuditFacts& facts, const AuditStamp& stamp) {
  return AuditDraft(facts, {}).Seal(stamp);
}

absl::StatusOr<AuditView> DecodeAudit(absl::string_view text,
                                      const std::vector<AuditDisclosure>& disclosed) {
  CSL_ASSIGN_OR_RETURN(const Json json, Parse(text));
  AuditView view;
  view.version = json["v"].get<int>();
  view.stamp.index = json["index"].get<uint64_t>();
  view.stamp.time_us = json["time_us"].get<int64_t>();
  view.facts.outcome.clear();
  for (const TextField& field : kTextFields) {
    const auto it = json.find(field.key);
    if (it == json.end()) continue;
    if (it->is_string()) view.facts.*field.member = it->get<std::string>();
    if (const std::string* commit = Commit(*it)) {
      CSL_ASSIGN_OR_RETURN(view.facts.*field.member, Opened(field.key, *commit, disclosed));
      view.facts.personal.emplace_back(field.key);
    }
  }
  const auto number = [&](const char* key) -> std::optional<int64_t> {
    const auto it = json.find(key);
    if (it == json.end() || !it->is_number_integer()) return std::nullopt;
    return it->get<int64_t>();
  };
  view.facts.round = number("round");
  view.facts.count = number("count");
  view.stamp.mono_us = number("mono_us").value_or(0);
  view.stamp.clock_back_us = number("clock_back");
  return view;
}

absl::StatusOr<std::string> ReadableAudit(absl::string_view text,
                                          const std::vector<AuditDisclosure>& disclosed) {
  CSL_ASSIGN_OR_RETURN(Json json, Parse(text));
  for (auto& [key, value] : json.items()) {
    const std::string* commit = Commit(value);
    if (commit == nullptr) continue;
    CSL_ASSIGN_OR_RETURN(std::string opened, Opened(key, *commit, disclosed));
    value = opened.empty() ? kErased : std::move(opened);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace consilium::coordinator
