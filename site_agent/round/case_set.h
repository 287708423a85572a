// The cases of a site's store that a task works on, and how they are loaded.
#ifndef CONSILIUM_SITE_AGENT_ROUND_CASE_SET_H_
#define CONSILIUM_SITE_AGENT_ROUND_CASE_SET_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/intake/cohort.h"
#include "site_agent/intake/sample_cache.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/segmenter.h"
#include "site_agent/round/train_step.h"

namespace consilium::agent {

// The store's cases under the plan's rules, without those of patients who may not be used: nobody
// outside the site learns that there are such patients. Errors of PatientRegister::Read.
absl::StatusOr<Cohort> SiteCohort(const std::string& home, const wire::Plan& plan);

// Those that may be trained on: everything but the held-out part.
Cohort TrainingPart(const Cohort& cohort);
// Labelled cases for evaluation: a trainer's held-out part, all of an evaluator.
Cohort HeldOutPart(const Cohort& cohort, SiteRole role);

CohortSummary SummaryOf(const Cohort& cohort, SiteRole role);

// Prepares what the cache does not have yet and returns the cases that can be used. One that cannot
// be read or prepared is logged by its id and left out: it must not keep a site from a round.
// Works on as many cases at once as there are `threads` (0: cores; at most kPrepareThreadsMax) and as
// are expected to fit into kPrepareBytesMax; what it returns does not depend on either. `report` gets
// cases done and in all, from the calling thread. Errors: what `report` returns, or of the disk.
inline constexpr int kPrepareThreadsMax = 16;
inline constexpr uint64_t kPrepareBytesMax = uint64_t{4} << 30;
absl::StatusOr<Cohort> PrepareCases(
    SampleCache& cache, const Cohort& cohort, int threads,
    const std::function<absl::Status(int64_t done, int64_t total)>& report);

// `cache` and `cohort` must outlive the set.
CaseSet CasesFor(SampleCache& cache, const Cohort& cohort);

// Segments every case of `cohort` (labelled ones) with `model` and compares. Cases that cannot be
// read or whose label does not fit are logged by id and left out. `report` as in PrepareCases.
absl::StatusOr<EvaluationResult> EvaluateCases(
    Segmenter& model, SampleCache& cache, const Cohort& cohort,
    const std::function<absl::Status(int64_t done, int64_t total)>& report);

// Segments a labelled case with `model` and compares on the image's original grid, not on the
// plan's: what a clinic gets is what is measured.
absl::StatusOr<CaseResult> EvaluateCase(Segmenter& model, PreparedCase prepared);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_CASE_SET_H_
