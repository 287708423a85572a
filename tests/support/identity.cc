#include "tests/support/identity.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace consilium::phantom {
namespace {

constexpr const char* kFamilyNames[] = {"Okafor", "Lindqvist", "Moreau",  "Tanaka", "Haddad",
                                        "Novák",  "Ferreira",  "Iyer",    "Kovács", "Brandström",
                                        "Müller", "Nguyen",    "Eriksen", "Dubois"};
constexpr const char* kGivenNames[] = {"Amara", "Sören", "Claire", "Hiroshi", "Layla",
                                       "Petr",  "Inês",  "Ravi",   "Zofia",   "Jürgen",
                                       "Lucía", "Minh",  "Astrid", "Henri"};
constexpr const char* kStreets[] = {"14 Rosewood Lane", "221 Harbour Street", "7 Chapel Row",
                                    "90 Mühlenweg", "3 Orchard Close"};

template <size_t N>
const char* Pick(const char* const (&values)[N], Random& random) {
  return values[random.Index(N)];
}

std::string Date(int year, Random& random) {
  return absl::StrFormat("%04d%02d%02d", year, 1 + random.Index(12), 1 + random.Index(28));
}

}  // namespace

std::string Identity::family_name() const { return patient_name.substr(0, patient_name.find('^')); }

std::vector<std::pair<std::string, std::string>> Identity::Identifiers() const {
  return {{"PatientName", patient_name},          {"PatientID", patient_id},
          {"PatientBirthDate", birth_date},       {"StudyDate", study_date},
          {"AccessionNumber", accession_number},  {"ReferringPhysicianName", referring_physician},
          {"OperatorsName", operator_name},       {"PatientAddress", address},
          {"PatientTelephoneNumbers", telephone}, {"InstitutionName", institution},
          {"StationName", station_name},          {"DeviceSerialNumber", device_serial},
          {"StudyInstanceUID", study_uid}};
}

Identity MakeIdentity(const std::string& institution, char letter, int64_t index, Random& random) {
  Identity id;
  const int birth_year = static_cast<int>(1930 + random.Index(55));
  const int study_year = static_cast<int>(2019 + random.Index(5));
  id.patient_name = absl::StrCat(Pick(kFamilyNames, random), "^", Pick(kGivenNames, random));
  id.patient_id = absl::StrFormat("%c%07d", letter, random.Index(10'000'000));
  id.birth_date = Date(birth_year, random);
  id.study_date = Date(study_year, random);
  id.accession_number = absl::StrFormat("ACC%08d", random.Index(100'000'000));
  id.referring_physician = absl::StrCat("Dr^", Pick(kFamilyNames, random), index);
  id.operator_name = absl::StrCat("Tech^", Pick(kGivenNames, random), index);
  id.address = Pick(kStreets, random);
  id.telephone = absl::StrFormat("+00 555 %06d", random.Index(1'000'000));
  id.institution = institution;
  id.station_name = absl::StrFormat("MR%02d%c", random.Index(100), letter);
  id.device_serial = absl::StrFormat("SN%06d", random.Index(1'000'000));
  id.study_uid = random.Uid();
  id.frame_of_reference_uid = random.Uid();
  id.sex = random.Index(2) == 0 ? "F" : "M";
  id.age_years = study_year - birth_year;
  return id;
}

std::string Latin1FromUtf8(absl::string_view text) {
  std::string latin1;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      latin1 += text[i];
    } else if ((byte & 0xfe) == 0xc2 && i + 1 < text.size()) {  // U+0080..U+00FF
      latin1 += static_cast<char>((byte & 3) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3f));
    } else {
      latin1 += '?';
      while (i + 1 < text.size() && (text[i + 1] & 0xc0) == 0x80) ++i;
    }
  }
  return latin1;
}

}  // namespace consilium::phantom
