// What a de-identification did, in counts.
#ifndef CONSILIUM_PRIVACY_DEID_DEID_REPORT_H_
#define CONSILIUM_PRIVACY_DEID_DEID_REPORT_H_

#include <cstdint>
#include <map>
#include <string>

namespace consilium::privacy {

// Elements by what was done to them. Counts only: never a value, a name or a path.
struct DeidReport {
  int64_t files = 0;
  int64_t removed = 0;        // X, graphics and curves, signatures, icons
  int64_t emptied = 0;        // Z
  int64_t replaced = 0;       // D: dummies and pseudonyms
  int64_t uids_mapped = 0;    // U
  int64_t dates_shifted = 0;  // C of the Modified Dates option
  int64_t private_removed = 0;
  int64_t private_kept = 0;          // of the table of safe private attributes
  int64_t unlisted_removed = 0;      // default-deny
  int64_t texts_scrubbed = 0;        // kept texts from which a word was taken
  int64_t hidden_bytes_dropped = 0;  // preamble, padding, behind the pixels
  int64_t pictures_blackened = 0;    // files in whose pixels text was looked for and blackened
  std::map<std::string, int64_t> pixel_rules = {};  // of these, by the rule that knew of the text
  void Add(const DeidReport& other);
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DEID_REPORT_H_
