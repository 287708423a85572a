// When something last came to a folder or below it.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_NEWEST_CHANGE_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_NEWEST_CHANGE_H_

#include <string>

#include "absl/time/time.h"

namespace consilium::agent {

// By the times of modification of the folder and all that is in it; links are not followed. The
// infinite past where nothing can be read.
absl::Time NewestChange(const std::string& folder);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_NEWEST_CHANGE_H_
