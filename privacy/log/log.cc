#include "privacy/log/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "proto/base/check.h"
#include "proto/base/clock.h"

namespace consilium::privacy {
namespace {

constexpr size_t kTextBytesMax = 200;
constexpr char kRefused[] = "\"[refused]\"";

enum class Kind { kName, kNameOrNumber, kText, kNumber };

struct KeyRule {
  const char* name;
  Kind kind;
};

KeyRule RuleOf(LogField::Key key) {
  using Key = LogField::Key;
  switch (key) {
    case Key::kSite:
      return {"site", Kind::kName};
    case Key::kStudy:
      return {"study", Kind::kName};
    case Key::kRound:
      return {"round", Kind::kNumber};
    case Key::kVersion:
      return {"version", Kind::kNameOrNumber};
    case Key::kTask:
      return {"task", Kind::kNameOrNumber};
    case Key::kPhase:
      return {"phase", Kind::kName};
    case Key::kAction:
      return {"action", Kind::kName};
    case Key::kProgram:
      return {"program", Kind::kName};
    case Key::kPeer:
      return {"peer", Kind::kName};
    case Key::kDigest:
      return {"digest", Kind::kName};
    case Key::kCode:
      return {"code", Kind::kNameOrNumber};
    case Key::kReason:
      return {"reason", Kind::kText};
    case Key::kCase:
      return {"case", Kind::kName};
    case Key::kCount:
      return {"count", Kind::kNumber};
    case Key::kTotal:
      return {"total", Kind::kNumber};
    case Key::kBytes:
      return {"bytes", Kind::kNumber};
    case Key::kSeconds:
      return {"seconds", Kind::kNumber};
    case Key::kStep:
      return {"step", Kind::kNumber};
    case Key::kSteps:
      return {"steps", Kind::kNumber};
    case Key::kLoss:
      return {"loss", Kind::kNumber};
    case Key::kDice:
      return {"dice", Kind::kNumber};
    case Key::kWeight:
      return {"weight", Kind::kNumber};
    case Key::kPort:
      return {"port", Kind::kNumber};
    case Key::kAttempt:
      return {"attempt", Kind::kNumber};
  }
  CSL_CHECK(false);
}

const char* LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  CSL_CHECK(false);
}

bool InName(char c) {
  return absl::ascii_isalnum(c) ||
         absl::string_view("_.:/@+=-[]%").find(c) != absl::string_view::npos;
}

// A JSON string in printable ASCII. Bytes that are not UTF-8 become U+FFFD.
std::string Quote(absl::string_view text) {
  return nlohmann::json(std::string(text.substr(0, kTextBytesMax)))
      .dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

std::string TextJson(LogField::Key key, absl::string_view text) {
  const Kind kind = RuleOf(key).kind;
  if (kind == Kind::kNumber) return kRefused;
  if (kind != Kind::kText && !std::all_of(text.begin(), text.end(), InName)) return kRefused;
  return Quote(text);
}

bool HoldsNumber(LogField::Key key) {
  const Kind kind = RuleOf(key).kind;
  return kind == Kind::kNumber || kind == Kind::kNameOrNumber;
}

std::string RealJson(LogField::Key key, double number) {
  if (!HoldsNumber(key)) return kRefused;
  if (std::isnan(number)) return "\"nan\"";
  if (std::isinf(number)) return number > 0 ? "\"inf\"" : "\"-inf\"";
  return absl::StrFormat("%.9g", number);
}

class Sink {
 public:
  void SetProgram(std::string json) {
    const absl::MutexLock lock(&mutex_);
    program_json_ = std::move(json);
  }

  void SetFile(int fd) {
    const absl::MutexLock lock(&mutex_);
    fd_ = fd;
  }

  void Write(LogLevel level, LogMessage message, std::initializer_list<LogField> fields) {
    std::string tail;
    bool names_program = false;
    for (const LogField& field : fields) {
      names_program |= field.key() == LogField::Key::kProgram;
      absl::StrAppend(&tail, ",\"", RuleOf(field.key()).name, "\":", field.json());
    }
    tail += "}\n";
    const std::string quoted_message = Quote(message.text());

    const absl::MutexLock lock(&mutex_);  // held over write(): lines stay whole and in order
    const std::string time =
        absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", Clock::System().Now(), absl::UTCTimeZone());
    std::string line = absl::StrCat("{\"ts\":\"", time, "\",\"level\":\"", LevelName(level),
                                    "\",\"msg\":", quoted_message);
    if (!names_program && !program_json_.empty()) {
      absl::StrAppend(&line, ",\"program\":", program_json_);
    }
    absl::StrAppend(&line, tail);
    WriteAll(line);
  }

 private:
  void WriteAll(absl::string_view line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!line.empty()) {
      const ssize_t written = write(fd_, line.data(), line.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      line.remove_prefix(static_cast<size_t>(written));
    }
  }

  absl::Mutex mutex_;
  std::string program_json_ ABSL_GUARDED_BY(mutex_);
  int fd_ ABSL_GUARDED_BY(mutex_) = STDERR_FILENO;
};

// Never destroyed: threads may log while the process ends.
Sink& TheSink() {
  static Sink* const sink = new Sink;
  return *sink;
}

std::atomic<LogLevel> level_min = LogLevel::kInfo;

}  // namespace

LogField::LogField(Key key, absl::string_view text) : key_(key), json_(TextJson(key, text)) {}
LogField::LogField(Key key, Real real) : key_(key), json_(RealJson(key, real.number)) {}
LogField::LogField(Key key, Whole whole)
    : key_(key), json_(HoldsNumber(key) ? absl::StrCat(whole.number) : kRefused) {}

void Log(LogLevel level, LogMessage message, std::initializer_list<LogField> fields) {
  if (level < level_min.load(std::memory_order_relaxed)) return;
  TheSink().Write(level, message, fields);
}

void SetLogProgram(absl::string_view program) {
  TheSink().SetProgram(TextJson(LogField::Key::kProgram, program));
}

void SetLogLevel(LogLevel level) { level_min.store(level, std::memory_order_relaxed); }

void SetLogFile(int fd) { TheSink().SetFile(fd); }

}  // namespace consilium::privacy
