#include "site_agent/round/site_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/random.h"
#include "privacy/log/log.h"
#include "privacy/transparency/export_writer.h"
#include "privacy/transparency/policy.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;  // sorts its keys, as canonical JSON has them

constexpr int kEntryVersion = 2;
constexpr size_t kTextBytesMax = 512;
constexpr size_t kBootBytes = 8;

struct TextField {
  const char* key;
  std::string SiteEvent::*member;
};
constexpr TextField kTextFields[] = {
    {"action", &SiteEvent::action},   {"outcome", &SiteEvent::outcome},
    {"reason", &SiteEvent::reason},   {"study", &SiteEvent::study},
    {"version", &SiteEvent::version}, {"digest", &SiteEvent::digest},
    {"plan", &SiteEvent::plan},       {"model", &SiteEvent::model},
    {"after", &SiteEvent::after},     {"request", &SiteEvent::request}};

std::string OriginOf(const SiteLog::Options& options) {
  if (!options.federation.empty() && !options.site.empty()) {
    return absl::StrCat(options.federation, "/", options.site, "/log");
  }
  return absl::StrCat("site-", HexEncode(privacy::RandomBytes(4)), "/log");
}

// The log keeps the name that it was made with.
absl::StatusOr<std::string> StandingOrigin(const std::string& folder,
                                           const SiteLog::Options& options) {
  const std::string path = JoinPath(folder, "log.vkey");
  if (!PathExists(path)) return OriginOf(options);
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, privacy::kVerifierKeyBytesMax));
  CSL_ASSIGN_OR_RETURN(
      const privacy::VerifierKey key,
      privacy::VerifierKey::Parse(absl::string_view(text).substr(0, text.find('\n'))));
  return key.name;
}

}  // namespace

std::string SiteLogFolder(const std::string& home) { return JoinPath(home, "log"); }

SiteLog::SiteLog(std::unique_ptr<privacy::FileLog> log, Options options, const Clock& clock)
    : log_(std::move(log)),
      options_(std::move(options)),
      clock_(clock),
      boot_(HexEncode(privacy::RandomBytes(kBootBytes))) {}

absl::StatusOr<std::unique_ptr<SiteLog>> SiteLog::Open(const Options& options,
                                                       const Clock& clock) {
  const std::string folder = SiteLogFolder(options.home);
  CSL_ASSIGN_OR_RETURN(const std::string origin, StandingOrigin(folder, options));
  CSL_ASSIGN_OR_RETURN(std::unique_ptr<privacy::FileLog> log,
                       privacy::FileLog::Open(folder, origin));
  const std::vector<std::string> notes = log->notes();
  std::unique_ptr<SiteLog> site_log(new SiteLog(std::move(log), options, clock));
  for (const std::string& note : notes) {
    CSL_RETURN_IF_ERROR(site_log->Record({.action = "log.recover", .reason = note}));
  }
  return site_log;
}

absl::Status SiteLog::Record(const SiteEvent& event) {
  const int64_t time_us = absl::ToUnixMicros(clock_.Now());
  const int64_t mono_us = absl::ToInt64Microseconds(clock_.Monotonic());
  return log_
      ->Append(1,
               [&](uint64_t index) -> absl::StatusOr<std::string> {
                 Json json = {{"v", kEntryVersion}, {"index", index},      {"time_us", time_us},
                              {"boot", boot_},      {"mono_us", mono_us},  {"role", "site"},
                              {"actor", options_.site.empty() ? "site" : options_.site}};
                 if (!options_.federation.empty()) json["federation"] = options_.federation;
                 if (!options_.site.empty()) json["site"] = options_.site;
                 if (!options_.software_version.empty()) json["sw"] = options_.software_version;
                 for (const TextField& field : kTextFields) {
                   const std::string& text = event.*field.member;
                   if (!text.empty()) json[field.key] = text.substr(0, kTextBytesMax);
                 }
                 if (event.round) json["round"] = *event.round;
                 if (event.count) json["count"] = *event.count;
                 return json.dump(-1, ' ', false, Json::error_handler_t::replace);
               })
      .status();
}

void SiteLog::RecordOrWarn(const SiteEvent& event) {
  const absl::Status status = Record(event);
  if (status.ok()) return;
  using Key = privacy::LogField::Key;
  privacy::Log(privacy::LogLevel::kError, "the site's own log could not be written",
               {privacy::LogField(Key::kAction, event.action),
                privacy::LogField(Key::kCode, absl::StatusCodeToString(status.code())),
                privacy::LogField(Key::kReason, status.message())});
}

absl::StatusOr<SiteLogSummary> VerifySiteLog(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(const auto log, privacy::FileLog::OpenToRead(SiteLogFolder(home)));
  CSL_ASSIGN_OR_RETURN(const privacy::Checkpoint checkpoint,
                       privacy::OpenCheckpoint(log->checkpoint(), log->key()));
  for (uint64_t index = 0; index < checkpoint.size; ++index) {
    CSL_ASSIGN_OR_RETURN(const std::string entry, log->Entry(index));
    const Json json = Json::parse(entry, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || json.value("index", Json()) != index) {
      return absl::DataLossError(
          absl::StrCat("the site's log: entry ", index, " does not say that it is that one"));
    }
  }
  return SiteLogSummary{.entries = checkpoint.size,
                        .origin = checkpoint.origin,
                        .vkey = log->key().ToString(),
                        .root_hex = privacy::HashHex(checkpoint.root)};
}

absl::StatusOr<std::vector<std::string>> LastSiteEvents(const std::string& home,
                                                        uint64_t count_max) {
  CSL_ASSIGN_OR_RETURN(const auto log, privacy::FileLog::OpenToRead(SiteLogFolder(home)));
  std::vector<std::string> entries;
  const uint64_t size = log->size();
  for (uint64_t index = size - std::min(size, count_max); index < size; ++index) {
    CSL_ASSIGN_OR_RETURN(std::string entry, log->Entry(index));
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::Status ExportSiteLog(const std::string& home, const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const auto log, privacy::FileLog::OpenToRead(SiteLogFolder(home)));
  std::string text;  // a site's log is small: some hundred entries a study
  privacy::ExportHeader header;
  header.origin = log->key().name;
  header.size = header.to = log->size();
  header.checkpoint = log->checkpoint();
  CSL_ASSIGN_OR_RETURN(
      privacy::ExportWriter writer,
      privacy::ExportWriter::Start(
          header, [&](int level, uint64_t index) { return log->Node(level, index); },
          [&](absl::string_view lines) {
            absl::StrAppend(&text, lines);
            return absl::OkStatus();
          }));
  for (uint64_t index = 0; index < header.to; ++index) {
    CSL_ASSIGN_OR_RETURN(const std::string entry, log->Entry(index));
    CSL_RETURN_IF_ERROR(writer.Show(index, entry));
  }
  CSL_RETURN_IF_ERROR(writer.Finish());
  privacy::Policy policy;
  policy.logs.push_back({log->key(), ""});
  CSL_RETURN_IF_ERROR(WriteFileAtomic(path, text, kPrivateFile));
  return WriteFileAtomic(absl::StrCat(path, ".policy"), policy.ToString());
}

}  // namespace consilium::agent
