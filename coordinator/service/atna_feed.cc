#include "coordinator/service/atna_feed.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/home_config.h"
#include "privacy/atna/atna_events.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kProgram = "consilium-coordinator";
constexpr absl::Duration kEvery = absl::Milliseconds(500);
constexpr size_t kEntriesAtOnce = 256;
constexpr size_t kHostNameMax = 256;

std::string Host() {
  char name[kHostNameMax] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string InHome(const std::string& home, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : JoinPath(home, path);
}

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
  const bool keys = action == "site.enrol" || action == "admin.enrol";
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

absl::StatusOr<std::unique_ptr<AtnaFeed>> AtnaFeed::Create(const std::string& home,
                                                           const CoordinatorOptions& options,
                                                           const Store& store, Metrics& metrics,
                                                           const Clock& clock) {
  if (options.atna_repository.empty()) return std::unique_ptr<AtnaFeed>();
  const std::string folder = JoinPath(home, "atna");
  std::unique_ptr<AtnaFeed> feed(new AtnaFeed(JoinPath(folder, "cursor"), store));
  const std::string& address = options.atna_repository;
  privacy::AtnaTarget target;
  target.host = HostOf(address);
  uint32_t port = 0;
  if (!absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError("atna_repository: must be HOST:PORT");
  }
  target.port = static_cast<uint16_t>(port);
  target.ca_path = InHome(home, options.atna_ca);
  target.certificate_path = InHome(home, options.atna_certificate);
  target.key_path = InHome(home, options.atna_key);
  CSL_ASSIGN_OR_RETURN(
      feed->recorder_,
      privacy::AtnaRecorder::Create({.spool_folder = JoinPath(folder, "spool"),
                                     .target = std::move(target),
                                     .source = {options.federation, "coordinator"},
                                     .header = {Host(), kProgram, ::getpid()},
                                     .on_dropped = [&metrics] { metrics.AtnaDropped(1); }},
                                    clock));
  const absl::StatusOr<std::string> cursor = ReadFile(feed->path_, 64);
  if (!cursor.ok() || !absl::SimpleAtoi(*cursor, &feed->next_)) feed->next_ = store.AuditSize();
  feed->next_ = std::min(feed->next_, store.AuditSize());  // a backup was restored
  return feed;
}

AtnaFeed::~AtnaFeed() { Finish(); }

void AtnaFeed::Start() {
  thread_ = std::make_unique<ThreadPool>(1);
  thread_->Schedule([this] {
    do {
      ReportNew();
    } while (!finished_.WaitForNotificationWithTimeout(kEvery));
    ReportNew();
  });
}

void AtnaFeed::Finish() {
  if (!finished_.HasBeenNotified()) finished_.Notify();
  thread_.reset();
  recorder_.reset();
}

void AtnaFeed::ReportNew() {
  while (true) {
    AuditQuery query;
    query.from_index = next_;
    query.count_max = kEntriesAtOnce;
    const absl::StatusOr<std::vector<AuditLine>> lines = store_.SearchAudit(query);
    if (!lines.ok() || lines->empty()) return;
    for (const AuditLine& line : *lines) {
      const absl::StatusOr<AuditView> entry = DecodeAudit(line.json, line.disclosed);
      const auto event = entry.ok() ? AtnaEventOf(entry->facts) : std::nullopt;
      // A message that the full spool refuses is counted and reported there.
      if (event) (void)recorder_->Record(*event);
      next_ = line.index + 1;
    }
    const absl::Status kept = WriteFileAtomic(path_, absl::StrCat(next_), kPrivateFile);
    if (!kept.ok()) {
      privacy::Log(privacy::LogLevel::kError, "the place in the audit log could not be kept",
                   {{privacy::LogField::Key::kReason, kept.message()}});
    }
  }
}

}  // namespace consilium::coordinator
