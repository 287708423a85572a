// UIDs that follow from what an object is made of, so that a repeat makes the same object.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_DERIVED_UID_H_
#define CONSILIUM_SITE_AGENT_IMAGING_DERIVED_UID_H_

#include <string>

#include "absl/strings/string_view.h"

namespace consilium::imaging {

// "2.25." and the decimal form of 128 bits of HMAC-SHA256(key, text): at most 44 characters
// (PS3.5 B.2). Nothing of `text` can be read back from it.
std::string DerivedUid(absl::string_view key, absl::string_view text);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_DERIVED_UID_H_
