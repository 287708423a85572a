#include "privacy/atna/atna_feed.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr size_t kHostNameMax = 256;

std::string ThisHost() {
  char name[kHostNameMax] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string InHome(const std::string& home, const std::string& path) {
  return absl::StartsWith(path, "/") ? path : JoinPath(home, path);
}

std::string FolderOf(const std::string& home) { return JoinPath(home, "atna"); }

absl::StatusOr<AtnaTarget> TargetOf(const std::string& home, const AtnaSettings& settings) {
  const absl::string_view address = settings.repository;
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port == 0 || port > 65535) {
    return absl::InvalidArgumentError("atna_repository: must be HOST:PORT");
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return AtnaTarget{.host = std::string(host),
                    .port = static_cast<uint16_t>(port),
                    .ca_path = InHome(home, settings.ca),
                    .certificate_path = InHome(home, settings.certificate),
                    .key_path = InHome(home, settings.key)};
}

void LogReason(LogMessage what, const absl::Status& status) {
  privacy::Log(LogLevel::kError, what, {{LogField::Key::kReason, status.message()}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<AtnaFeed>> AtnaFeed::Create(Options options, Log log,
                                                           const Clock& clock) {
  if (options.settings.repository.empty()) return std::unique_ptr<AtnaFeed>();
  const std::string folder = FolderOf(options.home);
  CSL_ASSIGN_OR_RETURN(AtnaTarget target, TargetOf(options.home, options.settings));
  CSL_ASSIGN_OR_RETURN(const uint64_t size, log.size());
  std::unique_ptr<AtnaFeed> feed(
      new AtnaFeed(JoinPath(folder, "cursor"), options.every, std::move(log)));
  CSL_ASSIGN_OR_RETURN(
      feed->recorder_,
      AtnaRecorder::Create({.spool_folder = JoinPath(folder, "spool"),
                            .target = std::move(target),
                            .source = std::move(options.source),
                            .header = {ThisHost(), options.program, ::getpid()},
                            .on_dropped = std::move(options.on_dropped)},
                           clock));
  const absl::StatusOr<std::string> cursor = ReadFile(feed->path_, 64);
  if (!cursor.ok() || !absl::SimpleAtoi(*cursor, &feed->next_)) feed->next_ = size;
  feed->next_ = std::min(feed->next_, size);  // a backup was restored
  return feed;
}

AtnaFeed::~AtnaFeed() { Finish(); }

void AtnaFeed::Start() {
  thread_ = std::make_unique<ThreadPool>(1);
  thread_->Schedule([this] {
    do {
      ReportNew();
    } while (!finished_.WaitForNotificationWithTimeout(every_));
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
    const absl::StatusOr<Log::Piece> piece = log_.read(next_);
    if (!piece.ok()) return LogReason("the log could not be read for the audit repository",
                                      piece.status());
    if (piece->next == next_) return;
    // A message that the full spool refuses is counted and reported there.
    for (const AtnaEvent& event : piece->events) (void)recorder_->Record(event);
    next_ = piece->next;
    const absl::Status kept = WriteFileAtomic(path_, absl::StrCat(next_), kPrivateFile);
    if (!kept.ok()) LogReason("the place in the log could not be kept", kept);
  }
}

absl::StatusOr<AtnaBacklog> ReadAtnaBacklog(const std::string& home) {
  const std::string spool = JoinPath(FolderOf(home), "spool");
  if (!PathExists(spool)) return AtnaBacklog();
  CSL_ASSIGN_OR_RETURN(const auto opened, AtnaSpool::Open(spool, kAtnaSpoolMax));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names, opened->Oldest(kAtnaSpoolMax));
  return AtnaBacklog{names.size(), opened->dropped()};
}

}  // namespace consilium::privacy
