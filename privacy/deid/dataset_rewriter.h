// The walk over one parsed data set that applies the policy to every element.
#ifndef CONSILIUM_PRIVACY_DEID_DATASET_REWRITER_H_
#define CONSILIUM_PRIVACY_DEID_DATASET_REWRITER_H_

#include <string>

#include "absl/status/status.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/identity_map.h"
#include "privacy/deid/patient_tokens.h"
#include "privacy/deid/profile.h"
#include "privacy/deid/tag_policy.h"

class DcmDataset;
class DcmElement;
class DcmItem;

namespace consilium::privacy {

// Adds the identity in `dataset`, at every depth, to `tokens`. Converts its text to UTF-8.
void CollectIdentity(DcmDataset& dataset, PatientTokens& tokens);

// Whether CollectIdentity would look at an element of the data set itself; sequences apart.
bool MayIdentify(uint32_t tag, absl::string_view vr);

// "C" and 12 hex digits.
std::string PatientPseudonymOf(const IdentityMap& identities, absl::string_view patient_id);

struct PatientTerms {
  std::string pseudonym;
  int shift_days = 0;
};
// By PatientID, or by the study's UID where there is none.
PatientTerms TermsOf(const IdentityMap& identities, DcmDataset& dataset);

// Used for one data set, or one part, once. Borrows all it is given.
class DatasetRewriter {
 public:
  DatasetRewriter(const IdentityMap& identities, const PatientTokens& tokens,
                  const DeidProfile& profile, DeidReport& report)
      : identities_(identities), tokens_(tokens), profile_(profile), report_(report) {}

  // Everything but the pixel data. `pixels`: whether text was looked for in them and blackened.
  // INVALID_ARGUMENT: an element cannot be rewritten.
  absl::Status Rewrite(DcmDataset& dataset, PixelsCleaned pixels);

  // Rewrite is RewritePart and Mark. A part is some attributes of a data set: of a private group
  // all that are to be considered, and with text beyond ASCII the character set.
  absl::Status RewritePart(DcmDataset& part, const PatientTerms& terms);
  // Sets what every file says of its patient and of how it was de-identified.
  absl::Status Mark(DcmDataset& dataset, const PatientTerms& terms, PixelsCleaned pixels);

 private:
  absl::Status Clean(DcmItem& item, int depth);
  bool KeepsPrivate(DcmItem& item, DcmElement& element);
  // Returns whether the element is to be removed.
  bool Apply(Action action, DcmElement& element, int depth);
  bool ApplyText(Action action, DcmElement& element);
  void Empty(DcmElement& element);
  bool Dummy(DcmElement& element);
  void MapUids(DcmElement& element);
  bool Transform(DcmElement& element, std::string (DatasetRewriter::*by_value)(absl::string_view));
  std::string Shifted(absl::string_view value);
  std::string Time(absl::string_view value);
  std::string Code(absl::string_view value);
  std::string Number(absl::string_view value);
  std::string Date(absl::string_view value);
  std::string Age(absl::string_view value);
  void ScrubTexts(DcmItem& item, int depth);
  // Returns whether the element is to be removed.
  bool ScrubText(Action action, DcmElement& element, int depth);
  void Set(DcmElement& element, const std::string& value);

  const IdentityMap& identities_;
  const PatientTokens& tokens_;
  const DeidProfile& profile_;
  DeidReport& report_;
  int shift_days_ = 0;
  bool needs_conversion_ = false;
  bool ascii_only_ = false;  // conversion failed: text that is not ASCII cannot be judged
  bool failed_ = false;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DATASET_REWRITER_H_
