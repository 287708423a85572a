// One of each event that this project reports, for tests.
#ifndef CONSILIUM_PRIVACY_ATNA_TEST_EVENTS_H_
#define CONSILIUM_PRIVACY_ATNA_TEST_EVENTS_H_

#include <vector>

#include "privacy/atna/atna_events.h"

namespace consilium::privacy {

inline std::vector<AtnaEvent> EveryEvent() {
  return {
      ApplicationActivity(AtnaLife::kStart, "consilium-agent"),
      InstancesTakenIn("consilium-agent", "2.25.1234", 120),
      DeidentifiedCopies("consilium-agent", "2.25.1234", 120),
      CasesUsed("consilium-agent", "hippo", "train", 12),
      Transferred({AtnaTransfer::kUpdate, AtnaDirection::kExport, "north", "coordinator", "hippo", 3,
                   std::string(64, 'a')}),
      Transferred({AtnaTransfer::kModel, AtnaDirection::kImport, "north", "coordinator", "hippo", 3,
                   std::string(64, 'b')}),
      NodeRefused("coordinator", "unknown", "the certificate is of another CA"),
      RestrictedUse("consilium-agent", "task t-1", "no case"),
      InstancesTakenIn("consilium-agent", "ingest-7", 12),
      SecurityChange(AtnaChange::kKeys, "admin", "site north", "enrolled with another key"),
      SecurityChange(AtnaChange::kRoles, "admin", "site north", "approved"),
      SecurityChange(AtnaChange::kConfiguration, "admin", "study hippo", "started"),
      AuditLogUsed("admin"),
      RecordingStopped("consilium-agent", 5),
      RecordingStarted("consilium-agent"),
      ApplicationActivity(AtnaLife::kStop, "consilium-agent"),
  };
}

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_TEST_EVENTS_H_
