// Kinds of DICOM objects, as far as their de-identification differs.
#ifndef CONSILIUM_PRIVACY_DEID_OBJECT_KIND_H_
#define CONSILIUM_PRIVACY_DEID_OBJECT_KIND_H_

#include "absl/strings/string_view.h"

namespace consilium::privacy {

enum class ObjectKind {
  kScan,          // CT, MR, PET, dose: reconstructed, nobody writes into them as a rule
  kMask,          // segmentations: pixels drawn by a program, never a picture
  kPicture,       // ultrasound, radiographs, captures, photographs: may show text
  kData,          // no pixels: RT structures and plans, registrations, real world values
  kReport,        // SR
  kPresentation,  // presentation states
  kDocument,      // encapsulated PDF and the like: text that cannot be cleaned
  kWaveform,
  kOther,         // no storage class of the standard, or one that nobody wrote rules for
};

// PS3.4 B.5.
ObjectKind KindOfObject(absl::string_view sop_class_uid);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_OBJECT_KIND_H_
