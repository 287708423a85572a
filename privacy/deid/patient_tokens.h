// The words that identify one patient, pooled over that patient's files, and the search for them.
#ifndef CONSILIUM_PRIVACY_DEID_PATIENT_TOKENS_H_
#define CONSILIUM_PRIVACY_DEID_PATIENT_TOKENS_H_

#include <cstddef>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace consilium::privacy {

// Privacy: holds identities. It lives in memory only, for as long as one patient's files are
// worked on; there is no way to print it. Thread-compatible.
//
// All comparison is on folded text: UTF-8, letter case ignored (ASCII, Latin-1, Greek, Cyrillic),
// Latin letters without their accents.
class PatientTokens {
 public:
  // A person's name: every component of two letters or more counts as a word.
  void AddName(absl::string_view utf8);
  // An identifier or number: counts as a whole, with and without its separators.
  void AddIdentifier(absl::string_view utf8);
  // A place or an organisation: the whole, and those of its words that are not everyday words.
  void AddPlace(absl::string_view utf8);
  void Merge(const PatientTokens& other);
  // Digests of what was added, a caller's own account; no search looks at them.
  void AddSource(std::string digest) { sources_.insert(std::move(digest)); }
  bool HasSource(const std::string& digest) const { return sources_.count(digest) != 0; }

  bool empty() const { return words_.empty() && phrases_.empty(); }
  size_t size() const { return words_.size() + phrases_.size(); }

  // True when `utf8` holds a token, as a word or (tokens of five letters and more) inside one.
  bool Hits(absl::string_view utf8) const;
  // True when `utf8` as a whole is a token: for numbers, where chance hits inside are common.
  bool IsToken(absl::string_view utf8) const;
  // `utf8` without the words that are tokens; empty when a token spans words.
  std::string Scrub(absl::string_view utf8) const;
  // For bytes that are no text (lookup tables, code streams): finds tokens of five bytes and more,
  // folded and, in UTF-8 and Latin-1, as they were written.
  bool HitsBytes(absl::string_view bytes) const;

 private:
  bool IsTokenWord(absl::string_view folded) const;
  bool SpansWords(absl::string_view utf8) const;
  void AddSpellings(absl::string_view text);
  void AddAsciiForms(absl::string_view written);

  std::set<std::string, std::less<>> words_;    // folded, each a single word
  std::set<std::string, std::less<>> phrases_;  // folded, letters and digits only, five and more
  std::set<std::string, std::less<>> spellings_;  // unfolded but for ASCII, for bytes only
  std::set<std::string> sources_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PATIENT_TOKENS_H_
