// Secrets that HTTP knows people by, in files that nobody else may read.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_WEB_SECRET_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_WEB_SECRET_H_

#include <string>

#include "absl/status/statusor.h"
#include "site_agent/receive/dicom_config.h"

namespace consilium::agent {

// The first line of a file that must have mode 0600 or less: at least 16 characters of printable
// ASCII without blanks. FAILED_PRECONDITION: others may read it. INVALID_ARGUMENT: no such line.
// NOT_FOUND.
absl::StatusOr<std::string> ReadToken(const std::string& path);

// The value of an Authorization header: "Bearer TOKEN", or "Basic ..." of a line USER:PASSWORD.
absl::StatusOr<std::string> AuthorizationOf(const WebCredentials& credentials);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_WEB_SECRET_H_
