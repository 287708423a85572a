// What signed notes ask of text: that it is UTF-8 (RFC 3629), and where it has spaces. Thread-safe.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_UTF8_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_UTF8_H_

#include "absl/strings/string_view.h"

namespace consilium::privacy {

// No overlong forms, surrogates or code points above U+10FFFF.
bool IsUtf8(absl::string_view text);
// Whether valid UTF-8 holds a Unicode space (White_Space) or a control character.
bool HasSpaceOrControl(absl::string_view text);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_UTF8_H_
