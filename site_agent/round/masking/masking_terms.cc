#include "site_agent/round/masking/masking_terms.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "site_agent/round/masking/metrics.h"

namespace consilium::agent {
namespace {

absl::Status Differs(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " is not what the plan says"));
}

absl::Status CheckWeights(const MaskingTerms& terms, const secagg::QuantiserSpec& quantiser) {
  const int64_t weight_max = std::min<int64_t>(
      secagg::kWeightMax, static_cast<int64_t>(std::min<uint64_t>(quantiser.divisor, INT64_MAX)));
  if (terms.weight_max < 1 || terms.weight_max > weight_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("a weight of ", terms.weight_max, " is not of 1 to ", weight_max));
  }
  if (terms.weight_unit_milli < 1) {
    return absl::InvalidArgumentError("the weight has no unit");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CheckedTerms> CheckMaskingTerms(const SiteTask& task, absl::string_view federation) {
  const wire::PlanProtection& plan = task.plan.protection;
  if (!task.masking || plan.kind != "secure-aggregation") {
    return absl::InvalidArgumentError("terms and plan do not both ask for masks");
  }
  const MaskingTerms& terms = *task.masking;
  CheckedTerms checked;
  CSL_ASSIGN_OR_RETURN(checked.quantiser, secagg::QuantiserSpec::Parse(terms.quantiser));
  CSL_ASSIGN_OR_RETURN(std::string digest, HexDecode(task.model.sha256));
  checked.job = {absl::StrCat(federation, "/", task.study),
                 static_cast<uint64_t>(task.round),
                 std::move(digest),
                 terms.bits,
                 terms.words,
                 terms.min_cohort,
                 terms.quantiser};
  if (terms.job != checked.job.job) {
    return absl::InvalidArgumentError("the job is not this federation's study");
  }
  if (terms.bits != plan.bits) return Differs("the number of bits");
  // 16-bit words are scaled by what the last aggregate looked like, which every site can know.
  const bool tighter = plan.bits == 16 && checked.quantiser.clip < plan.clip;
  if (checked.quantiser.clip != plan.clip && !tighter) return Differs("the clip bound");
  if (terms.min_cohort != plan.min_cohort) return Differs("min_cohort");
  for (const std::string& metric : checked.quantiser.metrics) {
    if (!IsMetric(metric)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the metric ", metric, " is not one that sites tell"));
    }
  }
  CSL_RETURN_IF_ERROR(CheckWeights(terms, checked.quantiser));
  CSL_RETURN_IF_ERROR(secagg::CheckJob(checked.job));
  return checked;
}

absl::Status CheckGroup(const wire::PlanProtection& protection, size_t sites) {
  if (protection.group == 0 || sites < 2 * static_cast<uint64_t>(protection.group)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(sites, " sites in one sum, where the plan has groups of ", protection.group));
}

absl::Status CheckWords(const CheckedTerms& terms, uint64_t parameters) {
  const uint64_t words = terms.quantiser.Words(parameters);
  if (words == terms.job.words) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a vector of ", terms.job.words, " words, where the model's has ", words));
}

uint32_t UpdateWeight(const MaskingTerms& terms, int64_t trained, int64_t reported) {
  if (trained >= reported || reported <= 0) return static_cast<uint32_t>(terms.weight_max);
  const double share =
      static_cast<double>(std::max<int64_t>(trained, 0)) / static_cast<double>(reported);
  const int64_t weight = std::llround(static_cast<double>(terms.weight_max) * share);
  return static_cast<uint32_t>(std::clamp<int64_t>(weight, 1, terms.weight_max));
}

}  // namespace consilium::agent
