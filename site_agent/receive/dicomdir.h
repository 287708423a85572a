// DICOMDIR as an input: the files that a medium's directory (PS3.10 8, PS3.3 F) lists.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_DICOMDIR_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_DICOMDIR_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium::agent {

// `paths` with each file called DICOMDIR, in whatever case, replaced by the files it lists that are
// there; whatever else is on the medium stays out. Nothing outside the DICOMDIR's folder is ever
// listed. INVALID_ARGUMENT: a DICOMDIR that is broken or hostile. NOT_FOUND: none of its files is
// there.
absl::StatusOr<std::vector<std::string>> ExpandDicomdirs(const std::vector<std::string>& paths);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_DICOMDIR_H_
