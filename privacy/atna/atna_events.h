// The events of this project as DICOM PS3.15 A.5.3 knows them: one function an event, so that codes
// stand in one place. `by` is a program, a site or an administrator's account; objects are pseudonyms,
// digests and names of our own.
#ifndef CONSILIUM_PRIVACY_ATNA_ATNA_EVENTS_H_
#define CONSILIUM_PRIVACY_ATNA_ATNA_EVENTS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "privacy/atna/audit_message.h"

namespace consilium::privacy {

enum class AtnaLife { kStart, kStop };
AtnaEvent ApplicationActivity(AtnaLife life, absl::string_view program);

// Instances came in from the archive; `batch` is the study's new, derived UID, or a name of ours for all
// that came at once. The original UIDs stay where the archive itself reports them.
AtnaEvent InstancesTakenIn(absl::string_view by, absl::string_view batch, int64_t instances);
// Their copies without identity.
AtnaEvent DeidentifiedCopies(absl::string_view by, absl::string_view batch, int64_t instances);
// Cases were read for a round's training or evaluation.
AtnaEvent CasesUsed(absl::string_view by, absl::string_view study, absl::string_view purpose,
                    int64_t cases);

// An update leaves the site, or reaches the coordinator; a model the other way.
enum class AtnaTransfer { kUpdate, kModel };
enum class AtnaDirection { kExport, kImport };
struct AtnaTransferred {
  AtnaTransfer what = AtnaTransfer::kUpdate;
  AtnaDirection direction = AtnaDirection::kExport;
  std::string by;
  std::string peer;    // the other end
  std::string study;
  int64_t round = 0;
  std::string sha256;
};
AtnaEvent Transferred(const AtnaTransferred& what);

// A caller or a certificate that was turned away.
AtnaEvent NodeRefused(absl::string_view by, absl::string_view who, absl::string_view reason);

// Something was asked for that is not done here.
AtnaEvent RestrictedUse(absl::string_view by, absl::string_view what, absl::string_view reason);

// Security Alert of a change; the code says of what.
enum class AtnaChange { kConfiguration, kKeys, kRoles };
AtnaEvent SecurityChange(AtnaChange change, absl::string_view by, absl::string_view subject,
                         absl::string_view description);

// The audit log was read or exported.
AtnaEvent AuditLogUsed(absl::string_view by);

// Recording stopped (the spool was full; so many messages are missing), and goes on.
AtnaEvent RecordingStopped(absl::string_view by, uint64_t dropped);
AtnaEvent RecordingStarted(absl::string_view by);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_ATNA_EVENTS_H_
