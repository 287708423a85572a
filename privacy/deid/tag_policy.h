// What to do with an attribute: PS3.15 Table E.1-1 as data, and the rules for what it does not list.
#ifndef CONSILIUM_PRIVACY_DEID_TAG_POLICY_H_
#define CONSILIUM_PRIVACY_DEID_TAG_POLICY_H_

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/profile.h"

namespace consilium::privacy {

// The table's text (CSV), compiled in.
extern const char* const kTableText;

enum class Action {
  kRemove,         // X
  kEmpty,          // Z
  kDummy,          // D
  kMapUid,         // U
  kShiftDate,      // C of the Modified Dates option, DA and DT
  kKeepDate,       // K of the Full Dates option: kept where it is a date
  kKeepTime,       // TM: kept where it is a time
  kRecurse,        // a sequence whose items are cleaned
  kPseudonym,      // PatientID, PatientName
  kRemovePrivate,
  kRemoveUnlisted,  // default-deny
  kScrubText,       // text that may stay, without the patient's words
  kScrubCode,       // CS
  kKeepNumber,      // DS, IS: kept where it is a number
  kKeepAge,         // AS: kept where it is an age, 90 years standing for all above 89
  kKeepText,        // an identity that an option retains
  kDescriptor,      // word by word from a vocabulary; what the table says where nothing is left
  kKeepBinary,      // numbers in binary, attribute tags
  kCheckBytes,      // lookup tables
  kPixels,
  kMapText,         // an identifier that has to stay: replaced by a keyed one
  kCharacterSet,
};

// Immutable. One for each process: Get().
class TagPolicy {
 public:
  static const TagPolicy& Get();
  // INVALID_ARGUMENT: not the table.
  static absl::StatusOr<TagPolicy> Parse(absl::string_view csv);

  // `tag` is group << 16 | element; `vr` the two letters in force; `depth` 0 for the data set.
  Action ActionFor(uint32_t tag, absl::string_view vr, int depth,
                   const DeidProfile& profile) const;
  // What the table alone would do to a descriptor of which no word was left.
  Action ActionForNothingLeft(uint32_t tag, absl::string_view vr) const;
  size_t rows() const { return rows_.size(); }

 private:
  // The table's columns behind "basic", in its order.
  enum Option { kPrivate, kUids, kDevice, kInstitution, kPatient, kFullDates, kModifiedDates,
                kDescriptors, kStructured, kGraphics, kOptions };
  struct Row {
    std::string vr;
    std::string basic;
    std::array<char, kOptions> options;  // 'K', 'C' or ' '
  };
  TagPolicy() = default;
  // K before C before nothing, over the options that the profile has.
  static char OptionInForce(const Row& row, const DeidProfile& profile);
  static Action ListedAction(const Row& row, uint32_t tag, absl::string_view vr,
                             const DeidProfile& profile);
  static Action BasicAction(const Row& row, uint32_t tag, absl::string_view vr);

  std::unordered_map<uint32_t, Row> rows_;
};

// True for UIDs that name a kind of thing, not a thing: classes, syntaxes, coding schemes. Only the
// standard's own (those that DCMTK knows), in attributes for kinds; a private class is mapped.
bool KeepsUid(uint32_t tag, absl::string_view uid);
// Defined terms that stay whatever the patient is called: "MR", "PRIMARY".
bool IsDefinedTerm(absl::string_view code);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_TAG_POLICY_H_
