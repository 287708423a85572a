#include "proto/base/cli.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/clock.h"

namespace consilium {
namespace {

constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);
constexpr int kBarWidth = 30;

// Columns a string takes at a terminal: code points, not bytes. Good enough for names and numbers.
size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

bool IsNumber(absl::string_view cell) {
  double ignored;
  return absl::SimpleAtod(cell, &ignored);
}

}  // namespace

ExitCode ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kOk;
    case absl::StatusCode::kAborted:
      return ExitCode::kCheckFailed;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return ExitCode::kUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
      return ExitCode::kUnreachable;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return ExitCode::kDenied;
    default:
      return ExitCode::kInternal;
  }
}

int ReportAndExitCode(absl::string_view program, const absl::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", std::string(program).c_str(),
                 std::string(status.message()).c_str());
  }
  return static_cast<int>(ExitCodeFor(status));
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - DisplayWidth(row[i]), ' ');
      if (i > 0) line += "  ";
      line += IsNumber(row[i]) ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FormatBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

Progress::Progress(std::string label, std::string unit, uint64_t total)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      last_drawn_(-absl::InfiniteDuration()) {}

Progress::~Progress() {
  if (!finished_ && terminal_) std::fputc('\n', stderr);
}

void Progress::Update(uint64_t done, absl::string_view note) {
  done_ = done;
  if (terminal_) {
    const absl::Duration now = Clock::System().Monotonic();
    if (now - last_drawn_ < kRedrawInterval && done != total_) return;
    last_drawn_ = now;
    Draw(done, note);
    return;
  }
  if (total_ == 0) return;
  const uint64_t tenth = std::min<uint64_t>(10, done * 10 / total_);
  if (tenth == last_tenth_) return;
  last_tenth_ = tenth;
  std::fprintf(stderr, "%s: %s of %s %s%s%s\n", label_.c_str(), absl::StrCat(done).c_str(),
               absl::StrCat(total_).c_str(), unit_.c_str(), note.empty() ? "" : ", ",
               std::string(note).c_str());
}

void Progress::Draw(uint64_t done, absl::string_view note) {
  std::string line;
  if (total_ > 0) {
    const int filled = static_cast<int>(std::min<uint64_t>(kBarWidth, done * kBarWidth / total_));
    line = absl::StrCat(label_, " [", std::string(static_cast<size_t>(filled), '#'),
                        std::string(static_cast<size_t>(kBarWidth - filled), '.'), "] ", done, "/",
                        total_, " ", unit_);
  } else {
    line = absl::StrCat(label_, " ", done, " ", unit_);
  }
  if (!note.empty()) absl::StrAppend(&line, "  ", note);
  std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
  std::fflush(stderr);
}

void Progress::Finish(absl::string_view note) {
  if (finished_) return;
  finished_ = true;
  if (terminal_) {
    Draw(total_ > 0 ? total_ : done_, note);
    std::fputc('\n', stderr);
  } else {
    std::fprintf(stderr, "%s: done, %s %s%s%s\n", label_.c_str(),
                 absl::StrCat(total_ > 0 ? total_ : done_).c_str(), unit_.c_str(),
                 note.empty() ? "" : ", ", std::string(note).c_str());
  }
}

}  // namespace consilium
