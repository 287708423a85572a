#include "site_agent/round/masking/masking_site.h"

#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {

absl::Status RefuseMasking(const MaskingSite& site, const SiteTask& task, const absl::Status& why) {
  const std::string reason = absl::StrCat("secure aggregation: ", why.message());
  if (site.record) {
    const absl::Status recorded = site.record({.action = "secagg.refuse",
                                               .outcome = "refused",
                                               .reason = reason,
                                               .study = task.study,
                                               .round = task.round,
                                               .request = task.task_id});
    if (!recorded.ok()) {
      using Key = privacy::LogField::Key;
      privacy::Log(privacy::LogLevel::kError, "a refusal is not in the site's own log",
                   {{Key::kTask, task.task_id}, {Key::kReason, recorded.message()}});
    }
  }
  return WithDeclineReason(absl::FailedPreconditionError(reason), reason);
}

}  // namespace consilium::agent
