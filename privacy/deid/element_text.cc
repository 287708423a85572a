#include "privacy/deid/element_text.h"

#include <algorithm>

namespace consilium::privacy {

std::string ElementText(DcmElement& element) {
  char* text = nullptr;
  Uint32 length = 0;
  std::string value;
  if (element.isaString() && element.getString(text, length).good() && text != nullptr) {
    value.assign(text, length);
  } else if (element.getLength() <= 4096) {
    Uint8* bytes = nullptr;
    if (element.getUint8Array(bytes).good() && bytes != nullptr) {
      value.assign(reinterpret_cast<const char*>(bytes), element.getLength());
    }
  }
  while (!value.empty() && (value.back() == ' ' || value.back() == '\0')) value.pop_back();
  return value;
}

std::string TextOf(DcmItem& item, const DcmTagKey& key) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(key, element).bad() || element == nullptr) return "";
  return ElementText(*element);
}

uint32_t TagOf(const DcmElement& element) {
  return static_cast<uint32_t>(element.getGTag()) << 16 | element.getETag();
}

std::string VrOf(DcmElement& element) { return DcmVR(element.ident()).getValidVRName(); }

std::vector<DcmElement*> ElementsOf(DcmItem& item) {
  std::vector<DcmElement*> elements;
  elements.reserve(item.card());
  for (DcmObject* object = nullptr; (object = item.nextInContainer(object)) != nullptr;) {
    elements.push_back(static_cast<DcmElement*>(object));
  }
  return elements;
}

bool IsAscii(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '\x1b'; });
}

}  // namespace consilium::privacy
