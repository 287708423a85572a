#include "coordinator/round/liveness.h"

#include "absl/strings/str_cat.h"

namespace consilium::coordinator {
namespace {

bool SameCounters(const SiteProgress& a, const SiteProgress& b) {
  return a.task_id == b.task_id && a.phase == b.phase && a.done == b.done && a.total == b.total &&
         a.advances == b.advances;
}

}  // namespace

std::string CountersText(const SiteProgress& progress) {
  const bool prepares = progress.phase == "prepare", evaluates = progress.phase == "evaluate";
  const bool transfers = progress.phase == "download" || progress.phase == "upload";
  if (progress.total <= 0) return absl::StrCat("in phase ", progress.phase);
  const std::string count = absl::StrCat(progress.done, " of ", progress.total);
  if (transfers) return absl::StrCat(progress.phase, ", ", count, " bytes");
  if (prepares || evaluates) return absl::StrCat(progress.phase, ", case ", count);
  return absl::StrCat("step ", count);
}

void Liveness::Heard(absl::string_view site, absl::Time now) {
  heard_.insert_or_assign(std::string(site), now);
}

absl::Time Liveness::Report(absl::string_view site, absl::string_view study,
                            const SiteProgress& progress, absl::Time now) {
  Heard(site, now);
  if (progress.advances == 0) {
    Rests(site);
    return absl::InfiniteFuture();
  }
  const auto it = work_.find(site);
  const bool stands = it != work_.end() && SameCounters(it->second.progress, progress);
  SiteProgress counted = progress;
  counted.advanced = stands ? it->second.progress.advanced : now;
  const absl::Time advanced = counted.advanced;
  work_.insert_or_assign(std::string(site), Work{std::string(study), std::move(counted)});
  return advanced;
}

void Liveness::Moved(absl::string_view site, absl::Time now) {
  Heard(site, now);
  if (const auto it = work_.find(site); it != work_.end()) it->second.progress.advanced = now;
}

void Liveness::Rests(absl::string_view site) {
  if (const auto it = work_.find(site); it != work_.end()) work_.erase(it);
}

std::optional<Liveness::Work> Liveness::WorkOf(absl::string_view site) const {
  const auto it = work_.find(site);
  if (it == work_.end()) return std::nullopt;
  return it->second;
}

void Liveness::Fill(std::vector<SiteView>& sites) const {
  for (SiteView& site : sites) {
    if (const auto it = heard_.find(site.name); it != heard_.end()) site.heard = it->second;
    if (const auto it = work_.find(site.name); it != work_.end()) {
      site.advanced = it->second.progress.advanced;
      site.counters = CountersText(it->second.progress);
    }
  }
}

}  // namespace consilium::coordinator
