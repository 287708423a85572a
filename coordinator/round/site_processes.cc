// The part of SiteRegistry that notices two processes with one site's identity.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/site_registry.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

absl::Status SiteRegistry::AdmitProcess(absl::string_view site, absl::string_view incarnation,
                                        ProcessCall call) {
  if (incarnation.empty()) return absl::OkStatus();
  if (incarnation.size() > kIncarnationBytesMax) {
    return absl::InvalidArgumentError("incarnation: too long");
  }
  {
    absl::MutexLock lock(&mutex_);
    Processes& known = processes_[std::string(site)];
    if (known.current.empty()) known.current = std::string(incarnation);
    if (known.current == incarnation) return absl::OkStatus();
    const bool superseded = std::find(known.superseded.begin(), known.superseded.end(),
                                      incarnation) != known.superseded.end();
    if (!superseded && call == ProcessCall::kHello) {  // a restart, or a second process: time tells
      known.superseded.push_back(std::move(known.current));
      if (known.superseded.size() > kSupersededMax) known.superseded.pop_front();
      known.current = std::string(incarnation);
      return absl::OkStatus();
    }
    known.refused = clock_.Monotonic();
  }
  return RefuseProcess(site);
}

absl::Status SiteRegistry::RefuseProcess(absl::string_view site) {
  const absl::Status refusal = absl::FailedPreconditionError(absl::StrCat(
      "another process of site ", site, " has taken over: two agents run with one identity (a "
      "copied home?). Stop one of them; to go on with this one, stop the other and restart this "
      "one. A site of its own needs its own invitation"));
  {
    absl::MutexLock lock(&mutex_);
    Processes& known = processes_[std::string(site)];
    const absl::Duration now = clock_.Monotonic();
    if (now - known.audited < kVersionEvery) return refusal;
    known.audited = now;
  }
  privacy::Log(privacy::LogLevel::kWarning,
               "two agents run with one identity; the older was refused: stop one of them",
               {{privacy::LogField::Key::kSite, site}});
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "site.duplicate";
  facts.site = std::string(site);
  facts.outcome = "refused";
  facts.reason = "a process called after another one of the site had taken over";
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  return refusal;
}

}  // namespace consilium::coordinator
