// A message as syslog over TLS carries it: RFC 5424 header, RFC 5425 octet counting.
//
//   LEN SP <PRI>1 TIME HOST APP PID MSGID - BOM text
//
// Facility 10 (security and authorisation); the severity follows the event's outcome. No structured
// data: dcm4che's repository passes over a message whose XML starts behind byte 200.
#ifndef CONSILIUM_PRIVACY_ATNA_SYSLOG_FRAME_H_
#define CONSILIUM_PRIVACY_ATNA_SYSLOG_FRAME_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/atna/audit_message.h"

namespace consilium::privacy {

struct SyslogHeader {
  std::string host;
  std::string app;
  int pid = 0;
  std::string message_id = "IHE+RFC-3881";
};

// Header parts are cut to what RFC 5424 allows and to printable ASCII; an empty one becomes "-".
std::string SyslogFrame(const SyslogHeader& header, AtnaOutcome outcome, absl::Time time,
                        absl::string_view xml);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_SYSLOG_FRAME_H_
