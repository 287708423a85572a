// An audit message as a hospital's audit repository reads it: DICOM PS3.15 A.5, IHE ATNA ITI-20.
//
// Privacy: of a patient only the pseudonym that this project gives may ever be in one. Texts are cut
// and reduced to printable ASCII, so that no value can break the XML, the line or the 8 KiB that a
// repository takes.
#ifndef CONSILIUM_PRIVACY_ATNA_AUDIT_MESSAGE_H_
#define CONSILIUM_PRIVACY_ATNA_AUDIT_MESSAGE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::privacy {

inline constexpr size_t kAtnaTextBytesMax = 256;
inline constexpr size_t kAtnaParticipantsMax = 4;
inline constexpr size_t kAtnaObjectsMax = 4;
inline constexpr size_t kAtnaDetailsMax = 4;
inline constexpr size_t kAtnaMessageBytesMax = 8 * 1024 - 256;  // less the syslog header

struct AtnaCode {
  std::string code;
  std::string system;  // DCM, RFC-3881, 99CONSILIUM
  std::string text;
};

enum class AtnaAction : char {
  kCreate = 'C',
  kRead = 'R',
  kUpdate = 'U',
  kDelete = 'D',
  kExecute = 'E',
};
enum class AtnaOutcome { kSuccess = 0, kMinorFailure = 4, kSeriousFailure = 8, kMajorFailure = 12 };

enum class AtnaRequestor { kYes, kNo };
struct AtnaParticipant {
  std::string user;  // a program, a site, an administrator's account; never a patient
  AtnaRequestor requestor = AtnaRequestor::kNo;
  std::optional<AtnaCode> role;
  std::string host;  // machine name; empty: not said
};

struct AtnaObject {
  std::string id;
  int type = 2;  // 1 person, 2 system object, 4 other
  int role = 0;  // of PS3.15 A.5.1; 0: not said
  int life_cycle = 0;
  AtnaCode id_type;
  std::string name;
  std::vector<std::pair<std::string, std::string>> details;  // values go out as base64
  std::optional<bool> anonymized;
};

struct AtnaEvent {
  AtnaCode id;
  std::vector<AtnaCode> types;
  AtnaAction action = AtnaAction::kExecute;
  AtnaOutcome outcome = AtnaOutcome::kSuccess;
  std::string description;  // of a failure
  std::vector<AtnaParticipant> participants;  // at least one
  std::vector<AtnaObject> objects;
};

// Who reports.
struct AtnaSource {
  std::string enterprise_site;  // the federation
  std::string id;               // the program's place: "coordinator", or the site's name
};

// One line of XML, at most kAtnaMessageBytesMax. What is beyond the maxima above is left out.
std::string EncodeAuditMessage(const AtnaEvent& event, const AtnaSource& source, absl::Time time);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_AUDIT_MESSAGE_H_
