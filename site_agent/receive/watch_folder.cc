#include "site_agent/receive/watch_folder.h"

#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/receive/newest_change.h"

namespace consilium::agent {

absl::Status WatchFolder::TakeSettled(const std::string& home, absl::Time before,
                                      const OutcomeSink& sink, const std::atomic<bool>* stop) {
  if (!PathExists(path_)) return absl::NotFoundError("a folder of dicom.yaml's watch is not there");
  const absl::Time newest = NewestChange(path_);
  if (newest <= taken_ || newest >= before) return absl::OkStatus();
  PatientOutcome outcome{"watch", {}};
  CSL_ASSIGN_OR_RETURN(outcome.report, Ingest(home, {path_}, {}, nullptr, stop));
  taken_ = newest;
  return outcome.report.files_seen > 0 ? sink(outcome) : absl::OkStatus();
}

}  // namespace consilium::agent
