// The only logger: one JSON object a line on stderr, from typed fields that are on an allow-list.
//
// Privacy: there is no way to log free text that came from outside. The message is a string literal
// (enforced: consteval constructor); values are numbers, durations, or names that passed a check.
// Text fields are cut to 200 bytes and control characters are escaped.
#ifndef CONSILIUM_PRIVACY_LOG_LOG_H_
#define CONSILIUM_PRIVACY_LOG_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium::privacy {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class LogMessage {
 public:
  template <size_t N>
  consteval LogMessage(const char (&text)[N]) : text_(text) {}  // NOLINT(runtime/explicit)
  const char* text() const { return text_; }

 private:
  const char* text_;
};

// A field whose key names what kind of value it may hold.
class LogField {
 public:
  enum class Key {
    kSite, kStudy, kRound, kVersion, kTask, kPhase, kAction, kProgram, kPeer, kDigest, kCode,
    kReason, kCase, kCount, kTotal, kBytes, kSeconds, kStep, kSteps, kLoss, kDice, kWeight, kPort,
    kAttempt,
  };
  LogField(Key key, absl::string_view text);
  LogField(Key key, int64_t number);
  LogField(Key key, double number);
  Key key() const { return key_; }
  const std::string& json() const { return json_; }

 private:
  Key key_;
  std::string json_;  // the value, already JSON
};

// Thread-safe. Fields: ts, level, msg, program, then those given.
void Log(LogLevel level, LogMessage message, std::initializer_list<LogField> fields = {});
// Called once by main(); the default shows kInfo and up.
void SetLogProgram(absl::string_view program);
void SetLogLevel(LogLevel level);
// Lines go to this file descriptor instead of stderr (a log file, a test's pipe).
void SetLogFile(int fd);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_LOG_LOG_H_
