// Clean Descriptors: what may stay of a description that somebody typed.
#ifndef CONSILIUM_PRIVACY_DEID_DESCRIPTOR_WORDS_H_
#define CONSILIUM_PRIVACY_DEID_DESCRIPTOR_WORDS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "privacy/deid/patient_tokens.h"

namespace consilium::privacy {

// The words of `text` that are in the built-in vocabulary of radiology or in `vocabulary` (lower
// case), and numbers of at most two digits, parted by blanks; words of the patient never. A name,
// an identifier or a date cannot pass, whether anybody knows that it is one or not.
std::string CleanDescriptor(absl::string_view text, const std::vector<std::string>& vocabulary,
                            const PatientTokens& tokens);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DESCRIPTOR_WORDS_H_
