// The part of StudyRun that takes what sites report of their data.
#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "coordinator/round/study_run.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kCasesMax = 10'000'000;
constexpr size_t kReasonsMax = 64;
constexpr size_t kReasonBytesMax = 128;
constexpr double kSizeMax = 8192;     // voxels
constexpr double kSpacingMax = 1000;  // mm

bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
}

bool AllWithin(const std::vector<double>& values, double max) {
  return values.size() == 3 && std::all_of(values.begin(), values.end(), [max](double v) {
           return std::isfinite(v) && v > 0 && v <= max;
         });
}

bool AreFiniteOrNone(const std::vector<double>& values) {
  return values.empty() ||
         (values.size() == 3 &&
          std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }));
}

absl::Status CheckCohort(const CohortRecord& r) {
  if (r.held_out_cases < 0 || r.held_out_cases > r.labelled_cases || r.labelled_cases > r.cases ||
      r.cases > kCasesMax) {
    return absl::InvalidArgumentError(
        "cohort: counts must be 0 <= held out <= labelled <= cases, held-out cases being labelled");
  }
  if (r.cases > 0 && (!AllWithin(r.median_spacing_xyz_mm, kSpacingMax) ||
                      !AllWithin(r.median_size_xyz, kSizeMax))) {
    return absl::InvalidArgumentError(
        "cohort: spacing and size must be three positive numbers each");
  }
  if (r.cases == 0 &&
      (!AreFiniteOrNone(r.median_spacing_xyz_mm) || !AreFiniteOrNone(r.median_size_xyz))) {
    return absl::InvalidArgumentError("cohort: without a case there is no median spacing or size");
  }
  if (r.rejected_by_reason.size() > kReasonsMax) {
    return absl::InvalidArgumentError("cohort: too many reasons of rejection");
  }
  for (const auto& [reason, count] : r.rejected_by_reason) {
    if (reason.size() > kReasonBytesMax || !IsPrintable(reason) || count < 0) {
      return absl::InvalidArgumentError("cohort: a reason of rejection is not a short plain text");
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool StudyRun::TakesCohort(absl::string_view site) const {
  const CohortRecord* cohort = Cohort(site);
  return cohort == nullptr || cohort->cases == 0 || record_.plan_json.empty();
}

absl::Status StudyRun::OnCohortReport(const CohortRecord& report, absl::string_view task_id,
                                      absl::Time now, Step& step) {
  if (task_id != TaskId(TaskKind::kPrepare, 0, report.site) ||
      record_.state == StudyState::kDraft || ended()) {
    return absl::FailedPreconditionError("no such PREPARE task is awaited; ask for the next task");
  }
  CSL_RETURN_IF_ERROR(CheckCohort(report));
  if (!TakesCohort(report.site)) return absl::OkStatus();
  prepared_.insert_or_assign(report.site, now);
  CohortRecord cohort = report;
  if (cohort.cases == 0) {
    cohort.median_spacing_xyz_mm.clear();
    cohort.median_size_xyz.clear();
  }
  const CohortRecord* known = Cohort(cohort.site);
  if (known != nullptr && *known == cohort) return absl::OkStatus();
  std::erase_if(record_.cohort, [&](const CohortRecord& c) { return c.site == cohort.site; });
  record_.cohort.push_back(std::move(cohort));
  std::sort(  // Cohort() relies on it
      record_.cohort.begin(), record_.cohort.end(),
      [](const CohortRecord& a, const CohortRecord& b) { return a.site < b.site; });
  AuditFacts facts = Facts("cohort.report");
  facts.actor = facts.site = report.site;
  facts.role = "site";
  facts.count = report.cases;
  step.audit.push_back(std::move(facts));
  if (record_.stage != Stage::kEvaluating) return absl::OkStatus();
  for (SiteEvaluationRecord& entry : evaluation_->sites) {  // an evaluator that was still preparing
    if (entry.site != report.site || entry.state != ReportState::kAwaited) continue;
    entry.cases_max = report.labelled_cases;
    if (report.labelled_cases == 0) MarkMissing(entry, "no labelled case", step);
    SettleEvaluation(now, step);
  }
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
