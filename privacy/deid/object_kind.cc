#include "privacy/deid/object_kind.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace consilium::privacy {
namespace {

struct Class {
  absl::string_view suffix;  // below the root of storage classes; "9." also stands for what follows
  ObjectKind kind;
};
constexpr Class kClasses[] = {
    {"2", ObjectKind::kScan},        {"2.1", ObjectKind::kScan},
    {"2.2", ObjectKind::kScan},      {"4", ObjectKind::kScan},
    {"4.1", ObjectKind::kScan},      {"4.3", ObjectKind::kScan},
    {"4.4", ObjectKind::kScan},      {"128", ObjectKind::kScan},
    {"128.1", ObjectKind::kScan},    {"130", ObjectKind::kScan},
    {"30", ObjectKind::kScan},       {"481.2", ObjectKind::kScan},
    {"66.4", ObjectKind::kMask},     {"66.7", ObjectKind::kMask},
    {"481.3", ObjectKind::kData},    {"481.5", ObjectKind::kData},
    {"481.8", ObjectKind::kData},    {"66.1", ObjectKind::kData},
    {"66.3", ObjectKind::kData},     {"67", ObjectKind::kData},
    {"1.", ObjectKind::kPicture},    {"1", ObjectKind::kPicture},
    {"3.1", ObjectKind::kPicture},   {"6.", ObjectKind::kPicture},
    {"7", ObjectKind::kPicture},     {"7.", ObjectKind::kPicture},
    {"12.", ObjectKind::kPicture},   {"13.", ObjectKind::kPicture},
    {"14.", ObjectKind::kPicture},   {"20", ObjectKind::kPicture},
    {"77.", ObjectKind::kPicture},   {"481.1", ObjectKind::kPicture},
    {"88.", ObjectKind::kReport},    {"11.", ObjectKind::kPresentation},
    {"104.", ObjectKind::kDocument}, {"9.", ObjectKind::kWaveform},
};

}  // namespace

ObjectKind KindOfObject(absl::string_view sop_class_uid) {
  if (!absl::ConsumePrefix(&sop_class_uid, "1.2.840.10008.5.1.4.1.1.")) return ObjectKind::kOther;
  for (const Class& known : kClasses) {
    const bool family = absl::EndsWith(known.suffix, ".");
    if (family ? absl::StartsWith(sop_class_uid, known.suffix) : sop_class_uid == known.suffix) {
      return known.kind;
    }
  }
  return ObjectKind::kOther;
}

}  // namespace consilium::privacy
