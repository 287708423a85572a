#include "site_agent/policy/ledger_book.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr double kNoGuarantee = std::numeric_limits<double>::infinity();
constexpr size_t kTaskIdBytesMax = 256;

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("budget ledger: ", what));
}

double Composed(std::map<std::tuple<Mechanism, double, double>, int64_t> steps, double delta,
                const ComposeParts& compose) {
  std::vector<BudgetPart> parts;
  for (const auto& [kind, count] : steps) {
    const auto& [mechanism, rate, noise] = kind;
    if (count == 0) continue;
    if (mechanism == Mechanism::kNone) return kNoGuarantee;
    parts.push_back({mechanism, rate, noise, count});
  }
  if (parts.empty()) return 0;
  const double epsilon = compose(parts, delta);
  return epsilon >= 0 ? epsilon : kNoGuarantee;
}

}  // namespace

const char* MechanismName(Mechanism mechanism) {
  switch (mechanism) {
    case Mechanism::kNone: return "none";
    case Mechanism::kGaussian: return "gaussian";
    case Mechanism::kDiscreteGaussian: return "discrete-gaussian";
    case Mechanism::kSkellam: return "skellam";
  }
  CSL_CHECK(false);
}

std::optional<Mechanism> MechanismOf(absl::string_view name) {
  for (const Mechanism m : {Mechanism::kNone, Mechanism::kGaussian, Mechanism::kDiscreteGaussian,
                            Mechanism::kSkellam}) {
    if (name == MechanismName(m)) return m;
  }
  return std::nullopt;
}

absl::Status CheckCharge(const Charge& charge) {
  const BudgetPart& part = charge.part;
  CSL_RETURN_IF_ERROR(CheckName("budget ledger: study", charge.study));
  if (charge.task_id.empty() || charge.task_id.size() > kTaskIdBytesMax) {
    return Invalid("the task's id is empty or too long");
  }
  if (charge.round < 0) return Invalid("the round is negative");
  if (!(part.sampling_rate > 0 && part.sampling_rate <= 1)) {
    return Invalid("the sampling rate must be above 0 and at most 1");
  }
  if (part.mechanism != Mechanism::kNone &&
      !(part.noise_multiplier > 0 && std::isfinite(part.noise_multiplier))) {
    return Invalid("the noise multiplier must be above 0");
  }
  if (part.mechanism == Mechanism::kNone && part.noise_multiplier != 0) {
    return Invalid("training without noise has noise multiplier 0");
  }
  if (part.steps < 1 || part.steps > kChargeStepsMax) return Invalid("no or too many steps");
  if (!(charge.delta >= 0 && charge.delta < 1)) return Invalid("delta must be 0 or more, below 1");
  return absl::OkStatus();
}

absl::Status LedgerBook::AddCohort(const std::string& id, std::vector<std::string> tags) {
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  if (id.empty() || tags.empty()) return Invalid("a cohort without patients");
  for (const std::string& tag : tags) {
    if (tag.size() != kPatientTagBytes) return Invalid("a tag of another length");
  }
  if (const auto found = cohort_index_.find(id); found != cohort_index_.end()) {
    return cohorts_[found->second] == tags ? absl::OkStatus() : Invalid("a cohort with two lists");
  }
  const size_t index = cohorts_.size();
  cohort_index_[id] = index;
  for (const std::string& tag : tags) patients_[tag].push_back(index);
  cohorts_.push_back(std::move(tags));
  charges_.emplace_back();
  return absl::OkStatus();
}

bool LedgerBook::HasCohort(absl::string_view id) const {
  return cohort_index_.find(id) != cohort_index_.end();
}

absl::Status LedgerBook::AddReservation(uint64_t key, absl::string_view cohort, Charge charge) {
  CSL_RETURN_IF_ERROR(CheckCharge(charge));
  const auto found = cohort_index_.find(cohort);
  if (found == cohort_index_.end()) return Invalid("a charge on an unknown cohort");
  if (!reservations_.try_emplace(key, Reservation{found->second, std::move(charge), {}}).second) {
    return Invalid("two reservations of one number");
  }
  charges_[found->second].push_back(key);
  return absl::OkStatus();
}

absl::Status LedgerBook::CheckSettle(uint64_t key, int64_t steps_taken) const {
  const auto found = reservations_.find(key);
  if (found == reservations_.end()) {
    return absl::NotFoundError(absl::StrCat("budget ledger: no reservation ", key));
  }
  const Reservation& reservation = found->second;
  if (steps_taken < 0 || steps_taken > reservation.charge.part.steps) {
    return Invalid(absl::StrCat(steps_taken, " steps of ", reservation.charge.part.steps,
                                " that were reserved"));
  }
  if (reservation.settled && *reservation.settled != steps_taken) {
    return absl::AlreadyExistsError(
        absl::StrCat("budget ledger: reservation ", key, " is settled with other steps"));
  }
  return absl::OkStatus();
}

absl::Status LedgerBook::Settle(uint64_t key, int64_t steps_taken) {
  CSL_RETURN_IF_ERROR(CheckSettle(key, steps_taken));
  reservations_.at(key).settled = steps_taken;
  return absl::OkStatus();
}

std::optional<int64_t> LedgerBook::SettledSteps(uint64_t key) const {
  const auto found = reservations_.find(key);
  return found == reservations_.end() ? std::nullopt : found->second.settled;
}

LedgerBook::Steps LedgerBook::StepsOf(const Signature& signature, absl::string_view study) const {
  Steps steps;
  for (const size_t cohort : signature) {
    for (const uint64_t key : charges_[cohort]) {
      const Reservation& reservation = reservations_.at(key);
      if (!study.empty() && reservation.charge.study != study) continue;
      const BudgetPart& part = reservation.charge.part;
      steps[{part.mechanism, part.sampling_rate, part.noise_multiplier}] += reservation.steps();
    }
  }
  return steps;
}

double LedgerBook::Spent(const Signature& signature, const std::optional<BudgetPart>& more,
                         absl::string_view study, double delta,
                         const ComposeParts& compose) const {
  Steps steps = StepsOf(signature, study);
  if (more) {
    steps[{more->mechanism, more->sampling_rate, more->noise_multiplier}] += more->steps;
  }
  return Composed(std::move(steps), delta, compose);
}

std::vector<std::vector<BudgetPart>> LedgerBook::PartsIn(
    absl::string_view study, const std::vector<std::string>& tags) const {
  std::set<Signature> signatures;
  for (const std::string& tag : tags) {
    const auto found = patients_.find(tag);
    if (found != patients_.end()) signatures.insert(found->second);
  }
  std::set<Steps> kinds;
  for (const Signature& signature : signatures) kinds.insert(StepsOf(signature, study));
  std::vector<std::vector<BudgetPart>> all;
  for (const Steps& steps : kinds) {
    std::vector<BudgetPart> parts;
    for (const auto& [kind, count] : steps) {
      const auto& [mechanism, rate, noise] = kind;
      if (count > 0) parts.push_back({mechanism, rate, noise, count});
    }
    if (!parts.empty()) all.push_back(std::move(parts));
  }
  return all;
}

std::vector<double> LedgerBook::SpentBy(const std::vector<std::string>& tags,
                                        const std::optional<BudgetPart>& more, double delta,
                                        const ComposeParts& compose) const {
  std::map<Signature, double> known;
  std::vector<double> spent;
  for (const std::string& tag : tags) {
    const auto found = patients_.find(tag);
    const Signature signature = found == patients_.end() ? Signature() : found->second;
    const auto [at, is_new] = known.try_emplace(signature, 0);
    if (is_new) at->second = Spent(signature, more, "", delta, compose);
    spent.push_back(at->second);
  }
  return spent;
}

double LedgerBook::WorstOf(const std::vector<std::string>& tags,
                           const std::optional<BudgetPart>& more, double delta,
                           const ComposeParts& compose) const {
  double worst = 0;
  for (const double spent : SpentBy(tags, more, delta, compose)) worst = std::max(worst, spent);
  return worst;
}

std::vector<std::string> LedgerBook::Patients() const {
  std::vector<std::string> tags;
  for (const auto& [tag, signature] : patients_) tags.push_back(tag);
  return tags;
}

std::vector<LedgerBook::StudyTotal> LedgerBook::Studies(double delta,
                                                        const ComposeParts& compose) const {
  std::map<std::string, StudyTotal> totals;
  std::map<std::string, std::set<size_t>> cohorts;
  for (const auto& [key, reservation] : reservations_) {
    StudyTotal& total = totals[reservation.charge.study];
    total.study = reservation.charge.study;
    ++total.trainings;
    total.unsettled += reservation.settled ? 0 : 1;
    cohorts[total.study].insert(reservation.cohort);
  }
  std::set<Signature> signatures;
  for (auto& [study, total] : totals) {
    signatures.clear();
    for (const auto& [tag, signature] : patients_) {
      const auto& of_study = cohorts[study];
      Signature shared;
      std::copy_if(signature.begin(), signature.end(), std::back_inserter(shared),
                   [&](size_t cohort) { return of_study.contains(cohort); });
      if (shared.empty()) continue;
      ++total.patients;
      signatures.insert(std::move(shared));
    }
    for (const Signature& signature : signatures) {
      total.epsilon =
          std::max(total.epsilon, Spent(signature, std::nullopt, study, delta, compose));
    }
  }
  std::vector<StudyTotal> list;
  for (auto& [study, total] : totals) list.push_back(std::move(total));
  return list;
}

}  // namespace consilium::agent
