// Whose images this site may use: who has opted out, who has consented, and who was deleted.
//
// HOME/patients.json, 0600. It holds keyed pseudonyms, the same that the patients' files get, and
// no identity: a list of PatientIDs that staff keep is read, turned into pseudonyms and not kept.
// So the register says nothing to whoever has not got the site's key and the hospital's numbers,
// and it can be asked about a case of the store, whose PatientID is gone.
//
// Who may be used is asked where files come in (ingest, listen, pull, watched folders, deidentify
// with a home) and again when a study's cohort is made, so that a mark counts for cases that are in
// the store already.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_PATIENT_REGISTER_H_
#define CONSILIUM_SITE_AGENT_INTAKE_PATIENT_REGISTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/deidentifier.h"

namespace consilium::agent {

enum class PatientMark {
  kOptedOut,
  kConsented,
  kForgotten,  // kept out; deleted here, or about to be
};
const char* MarkName(PatientMark mark);  // "opted_out"; stable, for JSON

// Whom a site takes whom no mark speaks of.
enum class PatientPolicy { kAll, kConsented };
const char* PolicyName(PatientPolicy policy);  // "all", "consented"

// Why a patient's images may not be used.
enum class Withheld { kOptedOut, kNoConsent, kForgotten };
const char* WithheldText(Withheld withheld);  // for people

// A value; thread-compatible.
class PatientRegister {
 public:
  // Everybody may be used where there is no file. DATA_LOSS: it is damaged, and until it is
  // restored or removed nobody may be used. FAILED_PRECONDITION: others may read it, or it was made
  // with another site.key, under which its pseudonyms mean nobody.
  static absl::StatusOr<PatientRegister> Read(const std::string& home);

  // By pseudonym ("C" and 12 hex digits). None: the patient may be used.
  std::optional<Withheld> Objection(absl::string_view patient) const;

  PatientPolicy policy() const { return policy_; }
  void set_policy(PatientPolicy policy) { policy_ = policy; }
  const std::map<std::string, PatientMark>& patients() const { return patients_; }
  void Set(const std::string& patient, PatientMark mark) { patients_[patient] = mark; }
  void Clear(const std::string& patient) { patients_.erase(patient); }

 private:
  friend absl::Status UpdateRegister(const std::string& home,
                                     const std::function<absl::Status(PatientRegister&)>& change);
  std::string ToJson(absl::string_view key_check) const;

  PatientPolicy policy_ = PatientPolicy::kAll;
  std::map<std::string, PatientMark> patients_;
};

// Reads the register, changes it and writes it, alone among all processes; durable when it returns
// OK. An error of `change` leaves it as it was. Errors of Read.
absl::Status UpdateRegister(const std::string& home,
                            const std::function<absl::Status(PatientRegister&)>& change);

// The register as an intake sees it, which may run for hours: looks for a change at each question.
class RegisterView {
 public:
  static absl::StatusOr<RegisterView> Open(const std::string& home);
  absl::StatusOr<std::optional<Withheld>> Objection(absl::string_view patient);

 private:
  explicit RegisterView(std::string home) : home_(std::move(home)) {}
  std::string home_;
  std::string stamp_ = "none yet";
  PatientRegister register_;
};

// What the site calls its patients: its key, ready for pseudonyms.
absl::StatusOr<privacy::Deidentifier> SiteNames(const std::string& home);

inline constexpr uint64_t kPatientListBytesMax = uint64_t{64} << 20;

// PatientIDs as staff list them: one a line, spaces around it do not count, empty lines and lines
// that begin with '#' are skipped; a tab and the issuer may follow.
struct ListedPatient {
  std::string id;
  std::string issuer;
};
// INVALID_ARGUMENT naming the line, never what it holds: longer than a PatientID may be (64
// characters, PS3.5 6.2 LO), a backslash or control characters, more than one tab.
absl::StatusOr<std::vector<ListedPatient>> ParsePatientList(absl::string_view text);

// Whether this is the form of a patient's pseudonym.
bool IsPatientPseudonym(absl::string_view text);

// Rows for FormatTable, and JSON: the policy, and every mark by pseudonym.
std::vector<std::vector<std::string>> RegisterTable(const PatientRegister& patients);
std::string RegisterToJson(const PatientRegister& patients);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_PATIENT_REGISTER_H_
