// Files that an interrupted write has left beside the one it was to become.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_LEFTOVERS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_LEFTOVERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

// Removes `folder`/`name`.XXXXXX, as proto/base/file.h makes them before a rename. The caller is
// the only writer of `name`. Nothing happens where the folder is not there. UNAVAILABLE: the disk.
absl::Status RemoveLeftovers(const std::string& folder, absl::string_view name);
// The same, and the file itself.
absl::Status RemoveWithLeftovers(const std::string& folder, absl::string_view name);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_LEFTOVERS_H_
