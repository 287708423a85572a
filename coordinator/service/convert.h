// Messages <-> the coordinator's own values. No decision is made here.
#ifndef CONSILIUM_COORDINATOR_SERVICE_CONVERT_H_
#define CONSILIUM_COORDINATOR_SERVICE_CONVERT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "consilium/v1/admin.pb.h"
#include "consilium/v1/federation.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/model_registry.h"
#include "coordinator/round/site_registry.h"

namespace consilium::coordinator {

v1::Task ToMessage(const SiteTask& task, absl::string_view sealing_public_key);
// `work`: what the site works on, if that is known.
v1::Site ToMessage(const SiteStatus& status, const std::optional<Liveness::Work>& work);
// `sites` says who is connected.
v1::Study ToMessage(const StudyView& view, const std::vector<SiteStatus>& sites,
                    const std::vector<EvaluationRecord>& evaluations);
// The promises and warnings of a study. Its privacy is accounted for, which takes its time.
void AddPromise(const StudyRun& run, v1::Study& out);
// `view` is of the round's study: who is awaited is somewhere.
v1::Round ToMessage(const RoundRecord& round, const StudyView& view);
v1::Model ToMessage(const ModelView& view);
v1::Release ToMessage(const ReleaseRecord& release);

CohortRecord FromMessage(const v1::CohortReport& report, absl::string_view site);
Announcement FromMessage(const v1::BeginUploadRequest& request, absl::string_view site);
SiteProgress FromMessage(const v1::ProgressReport& report);
std::vector<CaseDiceRecord> FromMessage(const v1::EvaluationReport& report);
AuditQuery FromMessage(const v1::SearchAuditRequest& request);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_CONVERT_H_
