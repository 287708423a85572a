#include "site_agent/round/case_set.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/intake/case_channels.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/fingerprint.h"
#include "site_agent/intake/inventory.h"

namespace consilium::agent {
namespace {

constexpr size_t kReasonsMax = 32;
constexpr size_t kReasonBytesMax = 128;  // of the protocol
constexpr const char* kOtherReasons = "other reasons";

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

// A reason as the protocol takes it: a plan's rule may be long, or not ASCII.
std::string PlainReason(absl::string_view reason) {
  std::string plain(reason.substr(0, kReasonBytesMax));
  for (char& c : plain) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return plain;
}

bool IsFaultOfTheCase(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsDataLoss(status) || absl::IsNotFound(status);
}

absl::StatusOr<CaseResult> LoadAndEvaluate(Segmenter& model, SampleCache& cache,
                                           const CohortCase& item) {
  CSL_ASSIGN_OR_RETURN(PreparedCase prepared, cache.Load(item));
  return EvaluateCase(model, std::move(prepared));
}

int ThreadsFor(int threads) {
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(threads, 1, kPrepareThreadsMax);
}

// What preparing takes at most: each channel's series as it is stored and decoded, and the sample, which is
// about as large again.
uint64_t BytesToPrepare(const CohortCase& item) {
  double bytes = 3 * sizeof(float) * static_cast<double>(1 + item.channels.size());
  for (const int64_t size : item.record.geometry.size_xyz) bytes *= static_cast<double>(size);
  return static_cast<uint64_t>(std::min(bytes, 1e18));
}

// Prepares the cases of a cohort in their order, some at once.
class CasesAhead {
 public:
  CasesAhead(SampleCache& cache, const Cohort& cohort, int threads)
      : cache_(cache), cohort_(cohort), results_(cohort.cases.size()), pool_(ThreadsFor(threads)),
        ahead_max_(static_cast<size_t>(ThreadsFor(threads))) {}
  // What was begun is finished; the rest is not begun any more.
  ~CasesAhead() { stopped_ = true; }

  // What became of the next case. One call for each.
  absl::Status Next() {
    Fill();
    const size_t i = taken_++;
    const absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](std::optional<absl::Status>* result) { return result->has_value(); }, &results_[i]));
    bytes_ -= BytesToPrepare(cohort_.cases[i]);
    return *results_[i];
  }

 private:
  void Fill() {
    while (begun_ < cohort_.cases.size() && begun_ < taken_ + ahead_max_) {
      const uint64_t bytes = BytesToPrepare(cohort_.cases[begun_]);
      if (begun_ > taken_ && bytes_ + bytes > kPrepareBytesMax) return;  // one always
      bytes_ += bytes;
      pool_.Schedule([this, i = begun_] { Prepare(i); });
      ++begun_;
    }
  }
  void Prepare(size_t i) {
    absl::Status status = absl::CancelledError("not begun");
    if (!stopped_) status = cache_.Ensure(cohort_.cases[i]);
    const absl::MutexLock lock(&mutex_);
    results_[i] = std::move(status);
  }

  SampleCache& cache_;
  const Cohort& cohort_;
  size_t begun_ = 0, taken_ = 0;
  uint64_t bytes_ = 0;  // that the cases which are begun and not taken need
  std::atomic<bool> stopped_ = false;
  absl::Mutex mutex_;
  std::vector<std::optional<absl::Status>> results_ ABSL_GUARDED_BY(mutex_);
  ThreadPool pool_;  // goes first, and waits
  const size_t ahead_max_;
};

template <typename Keep>
Cohort Filter(const Cohort& cohort, Keep keep) {
  Cohort part;
  for (const CohortCase& item : cohort.cases) {
    if (keep(item)) part.cases.push_back(item);
  }
  return part;
}

}  // namespace

absl::StatusOr<Cohort> SiteCohort(const std::string& home, const wire::Plan& plan) {
  CSL_ASSIGN_OR_RETURN(Catalog catalog, LoadCatalog(home));
  CSL_ASSIGN_OR_RETURN(const int64_t withheld, RemoveWithheld(home, catalog));
  if (withheld > 0) {
    Log(LogLevel::kInfo, "cases set aside: their patients may not be used",
        {LogField(Key::kCount, withheld)});
  }
  if (!plan.channels.empty()) CompleteRecords(home, catalog);
  return SelectCohort(catalog, plan);
}

Cohort TrainingPart(const Cohort& cohort) {
  return Filter(cohort, [](const CohortCase& c) { return c.role == CaseRole::kTraining; });
}

Cohort HeldOutPart(const Cohort& cohort, SiteRole role) {
  return Filter(cohort, [role](const CohortCase& c) {
    return c.labelled && (role == SiteRole::kEvaluator || c.role == CaseRole::kValidation);
  });
}

CohortSummary SummaryOf(const Cohort& cohort, SiteRole role) {
  const Fingerprint fingerprint = FingerprintOf(cohort);
  CohortSummary summary;
  summary.cases = fingerprint.cases;
  summary.labelled_cases = fingerprint.labelled;
  summary.held_out_cases = static_cast<int64_t>(HeldOutPart(cohort, role).cases.size());
  summary.median_spacing_xyz_mm = fingerprint.spacing_median_xyz_mm;
  summary.median_size_xyz = fingerprint.size_median_xyz;
  for (const RejectedCase& rejected : cohort.rejected) {
    const std::string reason = PlainReason(rejected.reason);
    const bool room = summary.rejected_by_reason.size() < kReasonsMax ||
                      summary.rejected_by_reason.contains(reason);
    ++summary.rejected_by_reason[room ? reason : kOtherReasons];
  }
  return summary;
}

absl::StatusOr<Cohort> PrepareCases(
    SampleCache& cache, const Cohort& cohort, int threads,
    const std::function<absl::Status(int64_t done, int64_t total)>& report) {
  Cohort usable;
  const auto total = static_cast<int64_t>(cohort.cases.size());
  CasesAhead ahead(cache, cohort, threads);
  for (int64_t i = 0; i < total; ++i) {
    CSL_RETURN_IF_ERROR(report(i, total));
    const CohortCase& item = cohort.cases[static_cast<size_t>(i)];
    const absl::Status prepared = ahead.Next();
    if (prepared.ok()) {
      usable.cases.push_back(item);
    } else if (IsFaultOfTheCase(prepared)) {
      Log(LogLevel::kWarning, "case left out: it cannot be prepared",
          {LogField(Key::kCase, item.record.case_id),
           LogField(Key::kCode, absl::StatusCodeToString(prepared.code()))});
    } else {
      return prepared;
    }
  }
  CSL_RETURN_IF_ERROR(report(total, total));
  return usable;
}

CaseSet CasesFor(SampleCache& cache, const Cohort& cohort) {
  CaseSet set;
  for (const CohortCase& item : cohort.cases) set.labelled.push_back(item.labelled);
  set.load = [&cache, &cohort](int64_t index) -> absl::StatusOr<training::Case> {
    CSL_ASSIGN_OR_RETURN(PreparedCase prepared,
                         cache.Load(cohort.cases[static_cast<size_t>(index)]));
    training::Case loaded;
    loaded.size = prepared.size_dhw();
    loaded.image = std::move(prepared.image);
    loaded.label = std::move(prepared.label);
    return loaded;
  };
  return set;
}

absl::StatusOr<EvaluationResult> EvaluateCases(
    Segmenter& model, SampleCache& cache, const Cohort& cohort,
    const std::function<absl::Status(int64_t done, int64_t total)>& report) {
  EvaluationResult result;
  const auto total = static_cast<int64_t>(cohort.cases.size());
  for (int64_t i = 0; i < total; ++i) {
    CSL_RETURN_IF_ERROR(report(i, total));
    const CohortCase& item = cohort.cases[static_cast<size_t>(i)];
    absl::StatusOr<CaseResult> measured = LoadAndEvaluate(model, cache, item);
    if (measured.ok()) {
      result.cases.push_back(*std::move(measured));
    } else if (IsFaultOfTheCase(measured.status())) {
      Log(LogLevel::kWarning, "case left out: it cannot be evaluated",
          {LogField(Key::kCase, item.record.case_id),
           LogField(Key::kCode, absl::StatusCodeToString(measured.status().code()))});
    } else {
      return measured.status();
    }
  }
  CSL_RETURN_IF_ERROR(report(total, total));
  return result;
}

absl::StatusOr<CaseResult> EvaluateCase(Segmenter& model, PreparedCase prepared) {
  CSL_ASSIGN_OR_RETURN(
      const imaging::LabelVolume truth,
      imaging::ReadSegmentation(prepared.label_path, prepared.source, model.plan().labels));
  CSL_ASSIGN_OR_RETURN(
      const imaging::LabelVolume found,
      model.SegmentPrepared(std::move(prepared.image), prepared.grid, prepared.source));
  CaseResult result;
  result.case_pseudonym = std::move(prepared.case_id);
  CSL_ASSIGN_OR_RETURN(result.dice,
                       DiceByLabel(found.voxels, truth.voxels, model.plan().classes()));
  return result;
}

}  // namespace consilium::agent
