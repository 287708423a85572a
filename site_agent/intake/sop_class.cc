#include "site_agent/intake/sop_class.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace consilium::agent {

SopKind SopKindOf(absl::string_view sop_class_uid) {
  constexpr absl::string_view kStorage = "1.2.840.10008.5.1.4.1.1.";
  if (!absl::StartsWith(sop_class_uid, kStorage)) return SopKind::kNoImage;
  const absl::string_view kind = sop_class_uid.substr(kStorage.size());
  if (kind == "2" || kind == "4" || kind == "128") return SopKind::kVolumeSlice;
  // Enhanced and legacy converted CT, MR and PET.
  for (const absl::string_view enhanced : {"2.1", "2.2", "4.1", "4.4", "130", "128.1"}) {
    if (kind == enhanced) return SopKind::kMultiFrame;
  }
  // PS3.4 B.5: waveforms, presentation states, raw data and registrations, real world values,
  // SR, PDF, RT other than RT image. What labels a series (SEG, label map, structure set) never comes
  // here as one.
  constexpr absl::string_view kNoImages[] = {"9.",  "11.", "66", "67", "68",
                                             "79.", "88.", "104.", "481."};
  if (kind == "481.1") return SopKind::kOtherImage;
  for (const absl::string_view prefix : kNoImages) {
    if (absl::StartsWith(kind, prefix)) return SopKind::kNoImage;
  }
  return SopKind::kOtherImage;
}

}  // namespace consilium::agent
