#include "privacy/atna/syslog_frame.h"

#include "absl/strings/str_cat.h"

namespace consilium::privacy {
namespace {

constexpr int kFacility = 10;
// RFC 5424 6.2: the longest HOSTNAME, APP-NAME and MSGID.
constexpr size_t kHostMax = 255, kAppMax = 48, kMessageIdMax = 32;

int Severity(AtnaOutcome outcome) {
  switch (outcome) {
    case AtnaOutcome::kSuccess:
      return 5;
    case AtnaOutcome::kMinorFailure:
      return 4;
    case AtnaOutcome::kSeriousFailure:
      return 3;
    case AtnaOutcome::kMajorFailure:
      return 2;
  }
  return 5;
}

std::string Part(absl::string_view text, size_t bytes_max) {
  std::string out;
  for (const char c : text.substr(0, bytes_max)) {
    if (c > 0x20 && c < 0x7f) out.push_back(c);
  }
  return out.empty() ? "-" : out;
}

}  // namespace

std::string SyslogFrame(const SyslogHeader& header, AtnaOutcome outcome, absl::Time time,
                        absl::string_view xml) {
  const std::string message = absl::StrCat(
      "<", kFacility * 8 + Severity(outcome), ">1 ",
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()), " ",
      Part(header.host, kHostMax), " ", Part(header.app, kAppMax), " ", header.pid, " ",
      Part(header.message_id, kMessageIdMax), " - \xEF\xBB\xBF", xml);
  return absl::StrCat(message.size(), " ", message);
}

}  // namespace consilium::privacy
