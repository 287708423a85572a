#include "coordinator/service/atna_feed.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/atna/atna_events.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kProgram = "consilium-coordinator";
constexpr size_t kEntriesAtOnce = 256;

std::string Subject(const AuditFacts& facts) {
  if (!facts.site.empty()) return absl::StrCat("site ", facts.site);
  if (!facts.version.empty()) return absl::StrCat("version ", facts.version);
  if (!facts.study.empty()) return absl::StrCat("study ", facts.study);
  return facts.action;
}

}  // namespace

std::optional<privacy::AtnaEvent> AtnaEventOf(const AuditFacts& facts) {
  using privacy::AtnaChange;
  const std::string& action = facts.action;
  if (facts.outcome == "refused") return privacy::NodeRefused(kProgram, facts.actor, facts.reason);
  if (action == "coordinator.start") {
    return privacy::ApplicationActivity(privacy::AtnaLife::kStart, kProgram);
  }
  if (action == "coordinator.stop") {
    return privacy::ApplicationActivity(privacy::AtnaLife::kStop, kProgram);
  }
  if (action == "update.accept") {
    return privacy::Transferred({.what = privacy::AtnaTransfer::kUpdate,
                                 .direction = privacy::AtnaDirection::kImport,
                                 .by = kProgram,
                                 .peer = facts.site.empty() ? facts.actor : facts.site,
                                 .study = facts.study,
                                 .round = facts.round.value_or(0),
                                 .sha256 = facts.digest});
  }
  if (absl::StartsWith(action, "audit.")) return privacy::AuditLogUsed(facts.actor);
  const bool keys = action == "site.enrol" || action == "admin.enrol" ||
                    action == "site.renew" || action == "site.rekey" ||
                    action == "server.certificate";
  if (keys || absl::StartsWith(action, "site.")) {
    if (action == "site.software" || action == "site.hello") return std::nullopt;
    return privacy::SecurityChange(keys ? AtnaChange::kKeys : AtnaChange::kRoles, facts.actor,
                                   Subject(facts), absl::StrCat(action, " ", facts.reason));
  }
  for (const char* kind : {"study.", "alias.", "release.", "model."}) {
    if (absl::StartsWith(action, kind)) {
      return privacy::SecurityChange(AtnaChange::kConfiguration, facts.actor, Subject(facts),
                                     absl::StrCat(action, " ", facts.reason));
    }
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<privacy::AtnaFeed>> OpenAtnaFeed(const std::string& home,
                                                                const CoordinatorOptions& options,
                                                                const Store& store,
                                                                Metrics& metrics,
                                                                const Clock& clock) {
  privacy::AtnaFeed::Log log;
  log.size = [&store]() -> absl::StatusOr<uint64_t> { return store.AuditSize(); };
  log.read = [&store](uint64_t from) -> absl::StatusOr<privacy::AtnaFeed::Log::Piece> {
    AuditQuery query;
    query.from_index = from;
    query.count_max = kEntriesAtOnce;
    CSL_ASSIGN_OR_RETURN(const std::vector<AuditLine> lines, store.SearchAudit(query));
    privacy::AtnaFeed::Log::Piece piece{.events = {}, .next = from};
    for (const AuditLine& line : lines) {
      const absl::StatusOr<AuditView> entry = DecodeAudit(line.json, line.disclosed);
      auto event = entry.ok() ? AtnaEventOf(entry->facts) : std::nullopt;
      if (event) piece.events.push_back(*std::move(event));
      piece.next = line.index + 1;
    }
    return piece;
  };
  return privacy::AtnaFeed::Create({.home = home,
                                    .settings = {options.atna_repository, options.atna_ca,
                                                 options.atna_certificate, options.atna_key},
                                    .source = {options.federation, "coordinator"},
                                    .program = kProgram,
                                    .on_dropped = [&metrics] { metrics.AtnaDropped(1); }},
                                   std::move(log), clock);
}

}  // namespace consilium::coordinator
