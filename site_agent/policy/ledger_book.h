// What each patient of a site has spent, over all studies: the arithmetic of the budget ledger, on
// values that were read from it. No files, no clock, no keys.
//
// A patient is a keyed tag here (budget_ledger.h makes it), never a pseudonym. Those whom one training
// samples from are a cohort; a charge on a cohort counts for each patient in it, whether sampled in the
// end or not: that is what the accountant's sampling rate means. What a patient has spent is the
// composition of all charges on cohorts with that patient; what a cohort has spent is the most that
// any of its patients has.
//
// Thread-compatible.
#ifndef CONSILIUM_SITE_AGENT_POLICY_LEDGER_BOOK_H_
#define CONSILIUM_SITE_AGENT_POLICY_LEDGER_BOOK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

inline constexpr size_t kPatientTagBytes = 16;
inline constexpr int64_t kChargeStepsMax = int64_t{1} << 30;

// kNone: training without noise. It bounds nothing, so a patient in it has spent without limit.
enum class Mechanism { kNone, kGaussian, kDiscreteGaussian, kSkellam };
const char* MechanismName(Mechanism mechanism);  // "none", "gaussian", "discrete-gaussian", "skellam"
std::optional<Mechanism> MechanismOf(absl::string_view name);

// Steps of one kind: each adds noise to a sum of clipped contributions.
struct BudgetPart {
  Mechanism mechanism = Mechanism::kGaussian;
  double sampling_rate = 1;     // q in (0, 1]: chance of a patient to be in a step
  // sigma: standard deviation over the clip, of the Gaussian that spends no less than this mechanism
  // (for the discrete ones, rounding included).
  double noise_multiplier = 0;
  int64_t steps = 0;
  friend bool operator==(const BudgetPart&, const BudgetPart&) = default;
};

// The least epsilon that can be proven for the parts together at `delta`; equal parts come merged, none
// is of kNone or has no steps. What is negative or no number counts as no guarantee (infinity).
using ComposeParts = std::function<double(const std::vector<BudgetPart>& parts, double delta)>;

// What a training is going to spend.
struct Charge {
  std::string study;
  int64_t round = 0;
  std::string task_id;
  BudgetPart part;
  double delta = 0;  // that the plan speaks of; kept for the record
  friend bool operator==(const Charge&, const Charge&) = default;
};
// INVALID_ARGUMENT: a value out of its range, or not a number.
absl::Status CheckCharge(const Charge& charge);

class LedgerBook {
 public:
  struct StudyTotal {
    std::string study;
    int64_t trainings = 0;
    int64_t patients = 0;   // in any of them
    int64_t unsettled = 0;  // reservations that no end was written for
    double epsilon = 0;     // of the worst patient, by this study alone
  };

  // A cohort by its id. INVALID_ARGUMENT: no tag, or one of another length; the id is taken by others.
  absl::Status AddCohort(const std::string& id, std::vector<std::string> tags);
  bool HasCohort(absl::string_view id) const;
  // `key`: by which it is settled. INVALID_ARGUMENT: unknown cohort, a key that is there, CheckCharge.
  absl::Status AddReservation(uint64_t key, absl::string_view cohort, Charge charge);
  // NOT_FOUND: no such reservation. INVALID_ARGUMENT: more steps than were reserved, or fewer than
  // none. ALREADY_EXISTS: settled with another number.
  absl::Status Settle(uint64_t key, int64_t steps_taken);
  absl::Status CheckSettle(uint64_t key, int64_t steps_taken) const;  // what Settle would say
  std::optional<int64_t> SettledSteps(uint64_t key) const;

  // The most that any of these patients has spent, or would have with `more` on top. 0: nothing.
  // Infinity: no guarantee.
  double WorstOf(const std::vector<std::string>& tags, const std::optional<BudgetPart>& more,
                 double delta, const ComposeParts& compose) const;
  // Of each, in the order of `tags`.
  std::vector<double> SpentBy(const std::vector<std::string>& tags,
                              const std::optional<BudgetPart>& more, double delta,
                              const ComposeParts& compose) const;

  // What each kind of patient among these has spent in one study, without repetitions: patients who
  // share their cohorts have spent the same. Equal parts are merged.
  std::vector<std::vector<BudgetPart>> PartsIn(absl::string_view study,
                                               const std::vector<std::string>& tags) const;

  std::vector<std::string> Patients() const;  // tags, sorted
  std::vector<StudyTotal> Studies(double delta, const ComposeParts& compose) const;  // by name

 private:
  struct Reservation {
    size_t cohort = 0;
    Charge charge;
    std::optional<int64_t> settled;
    int64_t steps() const { return settled.value_or(charge.part.steps); }
  };
  // The cohorts with this patient, ascending: patients who share them all have spent the same.
  using Signature = std::vector<size_t>;

  using Steps = std::map<std::tuple<Mechanism, double, double>, int64_t>;
  // `study` empty: of all studies.
  Steps StepsOf(const Signature& signature, absl::string_view study) const;
  double Spent(const Signature& signature, const std::optional<BudgetPart>& more,
               absl::string_view study, double delta, const ComposeParts& compose) const;

  std::map<std::string, size_t, std::less<>> cohort_index_;
  std::vector<std::vector<std::string>> cohorts_;  // sorted tags
  std::vector<std::vector<uint64_t>> charges_;     // keys of reservations, by cohort
  std::map<std::string, Signature> patients_;
  std::map<uint64_t, Reservation> reservations_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_LEDGER_BOOK_H_
