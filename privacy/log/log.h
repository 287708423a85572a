// The only logger: one JSON object a line on stderr, from typed fields that are on an allow-list.
//
// Privacy: the message is a string literal (enforced: consteval constructor) and values are numbers
// or text that fits their key. Every text is cut to 200 bytes and escaped to printable ASCII, so
// that no value can start a line or a field of its own. What does not fit its key is logged as
// "[refused]":
//   text of letters, digits and _.:/@+=-[]%: kSite, kStudy, kPhase, kAction, kProgram, kPeer,
//       kDigest, kCase (a pseudonym). No blanks, no '^': a patient's name in DICOM has either.
//   such text, or a whole number: kVersion, kTask, kCode.
//   any text, for words of our own such as a Status message: kReason.
//   a number: all others. One that is not finite is the text "nan", "inf" or "-inf".
#ifndef CONSILIUM_PRIVACY_LOG_LOG_H_
#define CONSILIUM_PRIVACY_LOG_LOG_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

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
    kSite,
    kStudy,
    kRound,
    kVersion,
    kTask,
    kPhase,
    kAction,
    kProgram,
    kPeer,
    kDigest,
    kCode,
    kReason,
    kCase,
    kCount,
    kTotal,
    kBytes,
    kSeconds,
    kStep,
    kSteps,
    kLoss,
    kDice,
    kWeight,
    kPort,
    kAttempt,
  };
  LogField(Key key, absl::string_view text);
  template <std::floating_point T>
  LogField(Key key, T number) : LogField(key, Real{static_cast<double>(number)}) {}
  // A whole number that int64_t does not hold is logged as the nearest that it does.
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) LogField(Key key, T number)
      : LogField(key,
                 Whole{std::in_range<int64_t>(number) ? static_cast<int64_t>(number) : INT64_MAX}) {
  }
  Key key() const { return key_; }
  const std::string& json() const { return json_; }

 private:
  struct Whole {
    int64_t number;
  };
  struct Real {
    double number;
  };
  LogField(Key key, Whole whole);
  LogField(Key key, Real real);

  Key key_;
  std::string json_;  // the value, already JSON
};

// Thread-safe; one write() a line. Fields: ts (UTC, RFC 3339), level, msg, program, then those
// given. A line that cannot be written is lost.
void Log(LogLevel level, LogMessage message, std::initializer_list<LogField> fields = {});
// The next three are thread-safe too; main() calls them once. The default shows kInfo and up.
void SetLogProgram(absl::string_view program);
void SetLogLevel(LogLevel level);
// Lines go to this file descriptor instead of stderr (a log file, a test's pipe). It stays the
// caller's, and must stay open until another is set.
void SetLogFile(int fd);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_LOG_LOG_H_
