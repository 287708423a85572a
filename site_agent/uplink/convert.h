// Messages to our own structs and back, with every bound checked on the way in.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_CONVERT_H_
#define CONSILIUM_SITE_AGENT_UPLINK_CONVERT_H_

#include "absl/status/statusor.h"
#include "consilium/v1/federation.pb.h"
#include "site_agent/round/federation.h"

namespace consilium::agent {

inline constexpr uint64_t kModelBytesMax = uint64_t{8} << 30;

// INVALID_ARGUMENT names the field that is missing, too long or out of form. The plan must parse
// and have the digest that the task gives. Terms of secure aggregation belong to a TRAIN task whose
// plan asks for it, and to no other.
absl::StatusOr<SiteTask> TaskFromMessage(const v1::Task& message);
// INVALID_ARGUMENT: a stage that is not known, or a field of that stage beyond its bounds; fields of
// other stages are not looked at. Whether keys, boxes and signatures hold is not said here.
absl::StatusOr<AgreementReply> AgreementFromMessage(const v1::AgreeKeysReply& message);

v1::CohortReport ToMessage(const std::string& task_id, const CohortSummary& cohort);
v1::BeginUploadRequest ToMessage(const TaskKey& task, const UpdateOffer& offer);
v1::EvaluationReport ToMessage(const std::string& task_id, const EvaluationResult& result);
v1::ProgressReport ToMessage(const TaskProgress& progress);
// `shares` may be null.
v1::AgreeKeysRequest ToMessage(const std::string& task_id, const SiteKeys& keys,
                               const SiteShares* shares);
v1::ConsentReport ToMessage(const std::string& task_id, const ConsentResult& result);
v1::RevealReport ToMessage(const std::string& task_id, const RevealResult& result);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_CONVERT_H_
