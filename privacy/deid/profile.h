// What a de-identification keeps: the options of PS3.15 Annex E, as one value.
#ifndef CONSILIUM_PRIVACY_DEID_PROFILE_H_
#define CONSILIUM_PRIVACY_DEID_PROFILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/pixel_rules.h"

namespace consilium::privacy {

// Derived MR and CT images of value 2 SECONDARY in ImageType: reformats, crops, and also screen
// captures with the patient's name on them. Nobody can tell from the header.
enum class SecondaryImages {
  kHoldBack,
  kInspect,  // held back where the search for text finds some
  kAllow,
};

enum class DateOption {
  kRemove,    // Basic Profile
  kModified,  // one shift for each patient: intervals stay
  kFull,
};

// What happens to pictures that may show text: ultrasound, captures, radiographs and the like.
enum class PixelPolicy {
  kHold,      // a person looks at them
  kBlackout,  // text is blackened; what still looks like text afterwards is held
};

// The members as they stand are the "training store": what a site keeps to train on, inside the
// house. Copyable, without identity.
struct DeidProfile {
  std::string name = "training-store";
  PixelPolicy pixels = PixelPolicy::kHold;
  SecondaryImages secondary_images = SecondaryImages::kInspect;
  bool hold_faces = false;  // images from which a face could be rendered are held back
  bool clean_graphics = false;            // presentation states stay, their texts replaced
  bool clean_structured_content = false;  // reports stay, their texts replaced
  bool clean_descriptors = true;          // descriptions stay, word by word from a vocabulary
  DateOption dates = DateOption::kModified;
  bool retain_patient_characteristics = true;
  bool retain_device_identity = false;
  bool retain_institution_identity = false;
  bool retain_uids = false;
  bool retain_safe_private = true;
  std::vector<std::string> vocabulary;  // words that descriptions may hold beyond the built-in ones
  std::vector<PixelRule> pixel_regions;  // places of text of the site's devices, beside the built-in ones
};

// Reads a profile file; a key that is not there keeps its default.
// INVALID_ARGUMENT: the key, its line and what is wrong with it.
absl::StatusOr<DeidProfile> ParseProfile(absl::string_view yaml);

// Every key, as a profile file. Reads back to the same profile.
std::string ProfileToYaml(const DeidProfile& profile);
// SHA-256 of ProfileToYaml, in hex: names what was done in reports and logs.
std::string ProfileDigest(const DeidProfile& profile);

// CID 7050, the codes that DeidentificationMethodCodeSequence has to name.
struct MethodCode {
  const char* code;
  const char* meaning;
};
enum class PixelsCleaned { kNo, kYes };
std::vector<MethodCode> MethodCodes(const DeidProfile& profile, PixelsCleaned pixels);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PROFILE_H_
