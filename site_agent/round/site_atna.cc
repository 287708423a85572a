#include "site_agent/round/site_atna.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "privacy/atna/atna_events.h"
#include "privacy/transparency/file_log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {
namespace {

using privacy::AtnaEvent;
using Json = nlohmann::json;
using Piece = privacy::AtnaFeed::Log::Piece;

constexpr const char* kProgram = "consilium-agent";
constexpr const char* kCoordinator = "coordinator";
constexpr uint64_t kEntriesAtOnce = 256;
constexpr uint64_t kCheckpointBytesMax = 64 * 1024;

// A log entry's fields; what is missing or of another type is empty.
struct Entry {
  explicit Entry(absl::string_view text)
      : json(Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false)) {}
  std::string Text(const char* key) const {
    const auto it = json.is_object() ? json.find(key) : json.end();
    return it != json.end() && it->is_string() ? it->get<std::string>() : "";
  }
  int64_t Number(const char* key) const {
    const auto it = json.is_object() ? json.find(key) : json.end();
    return it != json.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
  }
  const Json json;
};

AtnaEvent WithOutcome(AtnaEvent event, const Entry& entry) {
  if (entry.Text("outcome") == "ok") return event;
  event.outcome = privacy::AtnaOutcome::kMinorFailure;
  event.description = entry.Text("reason");
  return event;
}

AtnaEvent TransferOf(privacy::AtnaTransfer what, privacy::AtnaDirection direction,
                     const Entry& entry) {
  const bool update = what == privacy::AtnaTransfer::kUpdate;
  return WithOutcome(privacy::Transferred({.what = what,
                                           .direction = direction,
                                           .by = kProgram,
                                           .peer = kCoordinator,
                                           .study = entry.Text(update ? "study" : "version"),
                                           .round = entry.Number("round"),
                                           .sha256 = entry.Text(update ? "digest" : "model")}),
                     entry);
}

std::vector<AtnaEvent> IngestEvents(const Entry& entry) {
  const std::string batch =
      absl::StrCat("urn:consilium:ingest:", entry.Text("boot"), ":", entry.Number("index"));
  const int64_t cases = entry.Number("count");
  return {WithOutcome(privacy::InstancesTakenIn(kProgram, batch, cases), entry),
          WithOutcome(privacy::DeidentifiedCopies(kProgram, batch, cases), entry)};
}

// The log as it is on the disk: `consilium-agent ingest` writes to it too.
class LogReader {
 public:
  explicit LogReader(std::string folder) : folder_(std::move(folder)) {}

  absl::StatusOr<uint64_t> Size() const {
    CSL_ASSIGN_OR_RETURN(const auto log, privacy::FileLog::OpenToRead(folder_));
    return log->size();
  }
  // The whole log is read and checked when its checkpoint has changed, and only then.
  absl::StatusOr<Piece> Read(uint64_t from) {
    Piece piece{.events = {}, .next = from};
    CSL_ASSIGN_OR_RETURN(std::string checkpoint,
                         ReadFile(JoinPath(folder_, "checkpoint"), kCheckpointBytesMax));
    if (checkpoint == done_) return piece;
    CSL_ASSIGN_OR_RETURN(const auto log, privacy::FileLog::OpenToRead(folder_));
    const uint64_t end = std::min(log->size(), from + kEntriesAtOnce);
    for (; piece.next < end; ++piece.next) {
      CSL_ASSIGN_OR_RETURN(const std::string entry, log->Entry(piece.next));
      for (AtnaEvent& event : AtnaEventsOf(entry)) piece.events.push_back(std::move(event));
    }
    if (piece.next >= log->size()) done_ = log->checkpoint();
    return piece;
  }

 private:
  const std::string folder_;
  std::string done_;  // the checkpoint under which everything was read
};

}  // namespace

std::vector<AtnaEvent> AtnaEventsOf(absl::string_view entry_json) {
  using privacy::AtnaChange;
  const Entry entry(entry_json);
  const std::string action = entry.Text("action");
  const std::string reason = entry.Text("reason");
  if (action == "agent.start") {
    return {privacy::ApplicationActivity(privacy::AtnaLife::kStart, kProgram)};
  }
  if (action == "agent.stop") {
    return {privacy::ApplicationActivity(privacy::AtnaLife::kStop, kProgram)};
  }
  if (action == "ingest.run") return IngestEvents(entry);
  if (action == "update.deliver") {
    return {TransferOf(privacy::AtnaTransfer::kUpdate, privacy::AtnaDirection::kExport, entry)};
  }
  if (action == "model.receive") {
    return {TransferOf(privacy::AtnaTransfer::kModel, privacy::AtnaDirection::kImport, entry)};
  }
  for (const char* kind : {"train", "evaluate", "prepare"}) {
    if (action != absl::StrCat("task.finish.", kind)) continue;
    return {WithOutcome(
        privacy::CasesUsed(kProgram, entry.Text("study"), kind, entry.Number("count")), entry)};
  }
  if (action == "task.decline") {
    return {privacy::RestrictedUse(kProgram, absl::StrCat("task ", entry.Text("request")), reason)};
  }
  if (action == "checkpoint.refuse" || action == "secagg.refuse" ||
      (action == "certificate.renew" && entry.Text("outcome") != "ok")) {
    return {privacy::NodeRefused(kProgram, kCoordinator, absl::StrCat(action, " ", reason))};
  }
  if (action == "site.enrol" || action == "certificate.renew") {
    return {privacy::SecurityChange(AtnaChange::kKeys, kProgram, "the site's key",
                                    absl::StrCat(action, " ", entry.Text("digest")))};
  }
  if (action == "log.recover") {
    return {privacy::SecurityChange(AtnaChange::kConfiguration, kProgram, "the site's log", reason)};
  }
  if (absl::StartsWith(action, "audit.")) return {privacy::AuditLogUsed(kProgram)};
  return {};
}

absl::StatusOr<std::unique_ptr<privacy::AtnaFeed>> OpenSiteAtna(const SiteAtnaOptions& options,
                                                                const Clock& clock) {
  const auto reader = std::make_shared<LogReader>(SiteLogFolder(options.home));
  return privacy::AtnaFeed::Create(
      {.home = options.home,
       .settings = options.settings,
       .source = {options.federation, options.site},
       .program = kProgram,
       .every = options.every},
      {.size = [reader] { return reader->Size(); },
       .read = [reader](uint64_t from) { return reader->Read(from); }},
      clock);
}

}  // namespace consilium::agent
