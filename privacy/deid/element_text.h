// Text of DCMTK elements.
#ifndef CONSILIUM_PRIVACY_DEID_ELEMENT_TEXT_H_
#define CONSILIUM_PRIVACY_DEID_ELEMENT_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"

namespace consilium::privacy {

// The whole value, backslashes and NULs inside it included, without padding. Of elements that are
// no text: the bytes, where they are 4096 or fewer, so that a name written as OB or UN is seen.
std::string ElementText(DcmElement& element);
// Of the element directly inside `item`; empty where absent.
std::string TextOf(DcmItem& item, const DcmTagKey& key);
uint32_t TagOf(const DcmElement& element);
// Two letters, never one of DCMTK's internal ones.
std::string VrOf(DcmElement& element);
// In the file's order; stays valid while elements are removed.
std::vector<DcmElement*> ElementsOf(DcmItem& item);

// Whether the bytes mean the same in every character set: no letter beyond ASCII, and no ESC, which
// starts an ISO 2022 code in which ASCII bytes stand for other letters.
bool IsAscii(absl::string_view bytes);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_ELEMENT_TEXT_H_
