// Made-up people, so that de-identification has something to find.
#ifndef CONSILIUM_TESTS_SUPPORT_IDENTITY_H_
#define CONSILIUM_TESTS_SUPPORT_IDENTITY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/support/random.h"

namespace consilium::phantom {

// One invented patient, visit and scanner. All text is UTF-8.
struct Identity {
  std::string patient_name;  // DICOM PN: Family^Given
  std::string patient_id;
  std::string birth_date;  // DICOM DA: YYYYMMDD
  std::string study_date;
  std::string accession_number;
  std::string referring_physician;
  std::string operator_name;
  std::string address;
  std::string telephone;
  std::string institution;
  std::string station_name;
  std::string device_serial;
  std::string study_uid;
  std::string frame_of_reference_uid;
  std::string sex;
  int age_years = 0;

  std::string family_name() const;
  // What identifies, by DICOM keyword: the entries of phi.json.
  std::vector<std::pair<std::string, std::string>> Identifiers() const;
};

// `institution` is the hospital's, `letter` starts its patient identifiers, `index` is the case's.
Identity MakeIdentity(const std::string& institution, char letter, int64_t index, Random& random);

// The text in ISO 8859-1, for hospitals whose scanners know no UTF-8. Characters beyond it are
// replaced by '?'; the made-up names have none.
std::string Latin1FromUtf8(absl::string_view text);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_IDENTITY_H_
