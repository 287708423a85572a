// What a site said in a masked round, between the store's record and privacy/secagg. Pure functions.
#ifndef CONSILIUM_COORDINATOR_ROUND_AGREEMENT_RECORDS_H_
#define CONSILIUM_COORDINATOR_ROUND_AGREEMENT_RECORDS_H_

#include "absl/status/statusor.h"
#include "coordinator/store/records.h"
#include "privacy/secagg/server_record.h"

namespace consilium::coordinator {

// Without study, round and the protocol key's own signature, of which a member knows nothing.
AgreementRecord AgreementFrom(const secagg::ServerMember& member);
// INVALID_ARGUMENT: a field is not hex.
absl::StatusOr<secagg::ServerMember> MemberFrom(const AgreementRecord& record);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_AGREEMENT_RECORDS_H_
