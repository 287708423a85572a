// A file's attributes before the pixels, from the bytes that are there to the bytes that are
// written.
#ifndef CONSILIUM_PRIVACY_DEID_HEADER_REWRITER_H_
#define CONSILIUM_PRIVACY_DEID_HEADER_REWRITER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/dataset_rewriter.h"
#include "privacy/deid/dicom_writer.h"
#include "privacy/deid/header_memo.h"
#include "privacy/deid/source_file.h"

namespace consilium::privacy {

struct DeidRules {
  const IdentityMap& identities;
  const PatientTokens& tokens;
  const DeidProfile& profile;
};

// Used for one file, once. Borrows what it is given. `memo` may be null.
class HeaderRewriter {
 public:
  HeaderRewriter(const DeidRules& rules, const PatientTerms& terms, HeaderMemo* memo)
      : rules_(rules), terms_(terms), memo_(memo) {}

  // Explicit little endian files are rewritten attribute by attribute (a private group is one part:
  // its creators stay while an attribute of theirs does), others whole: without VRs an attribute
  // can depend on another. INVALID_ARGUMENT: the header cannot be rewritten.
  absl::StatusOr<EncodedHeader> Rewrite(const SourceFile& source, const SourceFile::Filter& filter,
                                        DeidReport& report);

 private:
  using Parts = std::vector<std::pair<uint32_t, absl::string_view>>;  // by tag, ascending

  absl::StatusOr<EncodedHeader> RewriteWhole(const SourceFile& source,
                                             const SourceFile::Filter& filter, DeidReport& report);
  absl::StatusOr<EncodedHeader> Join(const Parts& parts, DeidReport& report);
  // From the memo, or made and put there.
  absl::StatusOr<HeaderMemo::Part> Remembered(absl::string_view part);
  absl::StatusOr<RewrittenPart> RewritePart(absl::string_view part) const;
  absl::StatusOr<RewrittenPart> MakeMarks() const;

  const DeidRules rules_;
  const PatientTerms& terms_;
  HeaderMemo* const memo_;
  absl::string_view charset_;  // the element SpecificCharacterSet
  std::string memo_terms_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_HEADER_REWRITER_H_
