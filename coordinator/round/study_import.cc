// The part of StudyRun that takes a model from outside in.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

absl::StatusOr<int64_t> StudyRun::NextImport() const {
  if (record_.latest_version.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("study ", record_.name,
                     " has no first weights yet, so no layout that an import could be held against"));
  }
  const bool between_rounds =
      record_.state == StudyState::kPaused && record_.stage == Stage::kBetweenRounds;
  if (!ended() && !between_rounds) {
    return absl::FailedPreconditionError(absl::StrCat(
        "study ", record_.name, " is ", Name(record_.state), " (", Name(record_.stage),
        "); an import would change what its sites train from. Pause it between two rounds, or stop "
        "it, and import then"));
  }
  return record_.round + 1;
}

absl::StatusOr<VersionRecord> StudyRun::OnImport(const NewModel& model, int64_t number,
                                                 absl::string_view reason, absl::Time now,
                                                 Step& step) {
  CSL_ASSIGN_OR_RETURN(const int64_t next, NextImport());
  if (next != number) return absl::AbortedError("the study went on meanwhile; import again");
  // No round has this number: the next one opens after it.
  VersionRecord version = NextVersion(model, number, "import", now);

  AuditFacts facts = Facts("model.import");
  facts.actor.clear();  // the caller's
  facts.version = version.version;
  facts.before = record_.latest_version;
  facts.after = version.version;
  facts.reason = std::string(reason);
  facts.digest = model.sha256;
  step.audit.insert(step.audit.begin(), std::move(facts));

  EndCarried("a model was imported", step);  // what they train on is no longer built upon
  record_.round = number;
  record_.latest_version = version.version;
  record_.latest_sha256 = model.sha256;
  record_.latest_bytes = model.bytes;
  round_.reset();
  return version;
}

}  // namespace consilium::coordinator
