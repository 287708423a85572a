#include "site_agent/policy/budget_ledger.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "privacy/transparency/checkpoint.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/ledger_entry.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::string_view kOrigin = "consilium-budget-ledger";
constexpr size_t kKeyBytes = 32;
constexpr size_t kPatientsMax = 4'000'000;  // pieces of a cohort fit one append
constexpr double kSlack = 1e-9;             // relative: a budget may be spent to its last digit

std::string Folder(const std::string& home) { return JoinPath(home, "policy/ledger"); }
std::string HeadPath(const std::string& home) { return JoinPath(home, "policy/ledger.head"); }
std::string KeyPath(const std::string& home) { return JoinPath(home, "policy/patients.key"); }
bool HasLedger(const std::string& home) { return PathExists(JoinPath(Folder(home), "log.vkey")); }

absl::Status Refused(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the budget ledger cannot be used: ", what,
                                          ". Nothing may be spent until HOME/policy is restored "
                                          "whole, from the newest backup; if there "
                                          "is none, move it away to begin anew, and count what was "
                                          "spent before as lost (docs/policy.md)"));
}

absl::StatusOr<privacy::SecretBytes> ReadKey(const std::string& home) {
  const std::string path = KeyPath(home);
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return Refused("patients.key is missing");
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError("patients.key: others may read it; chmod 600");
  }
  CSL_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kKeyBytes));
  if (bytes.size() != kKeyBytes) return Refused("patients.key has another length");
  return privacy::SecretBytes(bytes);
}

// Of which ledger the key is, without saying anything of the key.
std::string KeyCheck(const privacy::SecretBytes& key) {
  return HexEncode(privacy::HmacSha256(key.view(), "consilium budget ledger key\n"));
}

// That the log still begins with what the head says was there.
absl::Status CheckHead(const std::string& note, const privacy::FileLog& log) {
  const absl::StatusOr<privacy::Checkpoint> head = privacy::OpenCheckpoint(note, log.key());
  if (!head.ok()) return Refused("ledger.head is not of this ledger");
  if (head->size > log.size()) {
    return Refused(absl::StrCat("it has ", log.size(), " entries and had ", head->size,
                                ": it was rolled back"));
  }
  const absl::StatusOr<privacy::Hash> root = privacy::RootOf(
      head->size, [&](int level, uint64_t index) { return log.Node(level, index); });
  CSL_RETURN_IF_ERROR(root.status());
  if (*root != head->root) return Refused("its entries are not those that ledger.head signed");
  return absl::OkStatus();
}

// Empty: there is none.
absl::StatusOr<std::string> ReadHead(const std::string& home) {
  if (!PathExists(HeadPath(home))) return std::string();
  return ReadFile(HeadPath(home), privacy::kNoteBytesMax);
}

bool Exceeds(double spent, const PatientBudget& limit) {
  return limit.epsilon && !(spent <= *limit.epsilon * (1 + kSlack));
}

std::string EpsilonCell(double epsilon) {
  return std::isfinite(epsilon) ? absl::StrFormat("%.3f", epsilon) : "no guarantee";
}

Json EpsilonJson(double epsilon) { return std::isfinite(epsilon) ? Json(epsilon) : Json(nullptr); }

double Remaining(const BudgetReport& report) {
  return std::max(0.0, *report.budget.epsilon - report.epsilon);
}

}  // namespace

BudgetLedger::BudgetLedger(std::string home, std::unique_ptr<privacy::FileLog> log,
                           privacy::SecretBytes key, ComposeParts compose, const Clock& clock)
    : home_(std::move(home)),
      log_(std::move(log)),
      key_(std::move(key)),
      compose_(std::move(compose)),
      clock_(clock) {}

absl::StatusOr<std::unique_ptr<BudgetLedger>> BudgetLedger::Open(const std::string& home,
                                                                 ComposeParts compose,
                                                                 const Clock& clock) {
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(home, "policy")));
  CSL_ASSIGN_OR_RETURN(const std::string head, ReadHead(home));
  const bool is_new = !HasLedger(home);
  if (is_new && !head.empty()) return Refused("its entries are gone, and there were some");
  if (is_new && !PathExists(KeyPath(home))) {
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(KeyPath(home), privacy::RandomSecret(kKeyBytes).view(), kPrivateFile));
  }
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, ReadKey(home));
  CSL_ASSIGN_OR_RETURN(auto log, privacy::FileLog::Open(Folder(home), kOrigin));
  if (!head.empty()) {
    CSL_RETURN_IF_ERROR(CheckHead(head, *log));
  } else if (log->size() > 1) {  // one: cut off between the first entry and the first head
    return Refused("ledger.head is missing");
  }
  CSL_ASSIGN_OR_RETURN(auto ledger,
                       Load(home, std::move(log), std::move(key), std::move(compose), clock));
  absl::MutexLock lock(&ledger->mutex_);
  if (ledger->size_ == 0) {
    CSL_RETURN_IF_ERROR(
        ledger->Append({LedgerEntryToJson(StartEntry{KeyCheck(ledger->key_), clock.Now()}, 0)})
            .status());
  } else if (ledger->log_->checkpoint() != head) {
    CSL_RETURN_IF_ERROR(WriteFileAtomic(HeadPath(home), ledger->log_->checkpoint(), kPrivateFile));
  }
  return ledger;
}

absl::StatusOr<std::unique_ptr<BudgetLedger>> BudgetLedger::OpenToRead(const std::string& home,
                                                                       ComposeParts compose,
                                                                       const Clock& clock) {
  // Before the log, which may grow in between.
  CSL_ASSIGN_OR_RETURN(const std::string head, ReadHead(home));
  if (!HasLedger(home)) {
    if (!head.empty()) return Refused("its entries are gone, and there were some");
    return absl::NotFoundError("no privacy budget was spent yet: there is no ledger");
  }
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, ReadKey(home));
  CSL_ASSIGN_OR_RETURN(auto log, privacy::FileLog::OpenToRead(Folder(home)));
  if (!head.empty()) {
    CSL_RETURN_IF_ERROR(CheckHead(head, *log));
  } else if (log->size() > 1) {
    return Refused("ledger.head is missing");
  }
  return Load(home, std::move(log), std::move(key), std::move(compose), clock);
}

absl::StatusOr<std::unique_ptr<BudgetLedger>> BudgetLedger::Load(
    const std::string& home, std::unique_ptr<privacy::FileLog> log, privacy::SecretBytes key,
    ComposeParts compose, const Clock& clock) {
  std::unique_ptr<BudgetLedger> ledger(
      new BudgetLedger(home, std::move(log), std::move(key), std::move(compose), clock));
  absl::MutexLock lock(&ledger->mutex_);
  CSL_RETURN_IF_ERROR(ledger->ReadEntries());
  return ledger;
}

absl::Status BudgetLedger::ReadEntries() {
  const uint64_t size = log_->size();
  for (uint64_t index = size_; index < size; ++index) {
    CSL_ASSIGN_OR_RETURN(const std::string bytes, log_->Entry(index));
    CSL_RETURN_IF_ERROR(ApplyEntry(bytes, index));
  }
  return absl::OkStatus();
}

absl::Status BudgetLedger::ApplyEntry(absl::string_view bytes, uint64_t index) {
  CSL_ASSIGN_OR_RETURN(const LedgerEntry entry, LedgerEntryFromJson(bytes, index));
  absl::Status status;
  if (const auto* start = std::get_if<StartEntry>(&entry)) {
    if (index != 0 || start->key_check_hex != KeyCheck(key_)) {
      return Refused("patients.key is not the one that it was written with");
    }
  } else if (index == 0) {
    return Refused("it does not begin with its key");
  } else if (const auto* cohort = std::get_if<CohortEntry>(&entry)) {
    // A crash may leave the first pieces of a cohort, which is then written again from the first
    // on.
    std::vector<std::string>& tags = pieces_[cohort->cohort];
    if (cohort->piece == 0) tags.clear();
    if (cohort->pieces == 0 || cohort->piece >= cohort->pieces ||
        tags.size() != cohort->piece * kTagsPerEntryMax) {
      return Refused(absl::StrCat("entry ", index, " is a piece out of order"));
    }
    tags.insert(tags.end(), cohort->tags.begin(), cohort->tags.end());
    if (cohort->piece + 1 == cohort->pieces) {
      status = book_.AddCohort(cohort->cohort, std::move(tags));
      pieces_.erase(cohort->cohort);
    }
  } else if (const auto* reserve = std::get_if<ReserveEntry>(&entry)) {
    status = book_.AddReservation(index, reserve->cohort, reserve->charge);
  } else {
    const auto& settle = std::get<SettleEntry>(entry);
    status = book_.Settle(settle.reservation, settle.steps);
  }
  if (!status.ok()) return Refused(absl::StrCat("entry ", index, ": ", status.message()));
  size_ = index + 1;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> BudgetLedger::Append(const std::vector<std::string>& entries) {
  uint64_t next = 0;
  const uint64_t expected = size_;
  const auto make = [&](uint64_t index) -> absl::StatusOr<std::string> {
    // Entries name their own index, so nothing may have come in between.
    if (index != expected + next) {
      return absl::FailedPreconditionError("another program writes the budget ledger of this home");
    }
    return entries[next++];
  };
  CSL_ASSIGN_OR_RETURN(const uint64_t first, log_->Append(entries.size(), make));
  for (size_t i = 0; i < entries.size(); ++i) {
    CSL_RETURN_IF_ERROR(ApplyEntry(entries[i], first + i));
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(HeadPath(home_), log_->checkpoint(), kPrivateFile));
  return first;
}

std::vector<std::string> BudgetLedger::TagsOf(const std::vector<std::string>& patients) const {
  std::vector<std::string> tags;
  tags.reserve(patients.size());
  for (const std::string& patient : patients) {
    tags.push_back(privacy::HmacSha256(key_.view(), absl::StrCat("patient\n", patient))
                       .substr(0, kPatientTagBytes));
  }
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  return tags;
}

std::string BudgetLedger::CohortId(const std::vector<std::string>& tags) const {
  std::string all = "cohort\n";
  for (const std::string& tag : tags) all += tag;
  return HexEncode(privacy::HmacSha256(key_.view(), all).substr(0, kPatientTagBytes));
}

absl::StatusOr<uint64_t> BudgetLedger::Reserve(const std::vector<std::string>& patients,
                                               const Charge& charge, const PatientBudget& limit) {
  CSL_RETURN_IF_ERROR(CheckCharge(charge));
  const std::vector<std::string> tags = TagsOf(patients);
  if (tags.empty() || tags.size() > kPatientsMax) {
    return absl::InvalidArgumentError("budget ledger: no patients, or too many");
  }
  absl::MutexLock lock(&mutex_);
  const double after = book_.WorstOf(tags, charge.part, limit.delta, compose_);
  if (Exceeds(after, limit)) {
    const double before = book_.WorstOf(tags, std::nullopt, limit.delta, compose_);
    return ToStatus(RefusalFrom(
        {.clause = "budget.epsilon",
         .verdict = Verdict::kRefused,
         .wanted =
             absl::StrFormat("at most %g of a patient (delta %g)", *limit.epsilon, limit.delta),
         .got = absl::StrCat(EpsilonCell(after), "; spent so far: ", EpsilonCell(before)),
         .retry_at = std::nullopt}));
  }
  std::vector<std::string> entries;
  const std::string cohort = CohortId(tags);
  if (!book_.HasCohort(cohort)) {
    const uint64_t pieces = (tags.size() + kTagsPerEntryMax - 1) / kTagsPerEntryMax;
    for (uint64_t piece = 0; piece < pieces; ++piece) {
      const size_t begin = piece * kTagsPerEntryMax;
      const size_t end = std::min(tags.size(), begin + kTagsPerEntryMax);
      const std::vector<std::string> part(tags.begin() + static_cast<ptrdiff_t>(begin),
                                          tags.begin() + static_cast<ptrdiff_t>(end));
      entries.push_back(
          LedgerEntryToJson(CohortEntry{cohort, piece, pieces, part}, size_ + entries.size()));
    }
  }
  entries.push_back(
      LedgerEntryToJson(ReserveEntry{cohort, charge, clock_.Now()}, size_ + entries.size()));
  CSL_ASSIGN_OR_RETURN(const uint64_t first, Append(entries));
  return first + entries.size() - 1;
}

absl::Status BudgetLedger::Settle(uint64_t reservation, int64_t steps_taken) {
  absl::MutexLock lock(&mutex_);
  if (book_.SettledSteps(reservation) == steps_taken) return absl::OkStatus();
  CSL_RETURN_IF_ERROR(book_.CheckSettle(reservation, steps_taken));
  return Append({LedgerEntryToJson(SettleEntry{reservation, steps_taken, clock_.Now()}, size_)})
      .status();
}

int64_t BudgetLedger::AffordableSteps(const std::vector<std::string>& patients,
                                      const BudgetPart& part, const PatientBudget& limit) const {
  const std::vector<std::string> tags = TagsOf(patients);
  absl::MutexLock lock(&mutex_);
  const LedgerBook& book = book_;
  const auto affordable = [&](int64_t steps) {
    BudgetPart some = part;
    some.steps = steps;
    return !Exceeds(book.WorstOf(tags, some, limit.delta, compose_), limit);
  };
  int64_t low = 0, high = std::max<int64_t>(part.steps, 0);  // `low` steps are affordable, or none
  if (high == 0 || affordable(high)) return high;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (affordable(middle) ? low : high) = middle;
  }
  return low;
}

std::vector<std::string> BudgetLedger::WithinBudget(const std::vector<std::string>& patients,
                                                    const BudgetPart& part,
                                                    const PatientBudget& limit) const {
  std::vector<std::string> tags;  // not TagsOf: in the order of `patients`
  for (const std::string& patient : patients) tags.push_back(TagsOf({patient})[0]);
  absl::MutexLock lock(&mutex_);
  const std::vector<double> spent = book_.SpentBy(tags, part, limit.delta, compose_);
  std::vector<std::string> within;
  for (size_t i = 0; i < patients.size(); ++i) {
    if (!Exceeds(spent[i], limit)) within.push_back(patients[i]);
  }
  return within;
}

double BudgetLedger::SpentBy(const std::vector<std::string>& patients, double delta) const {
  absl::MutexLock lock(&mutex_);
  return book_.WorstOf(TagsOf(patients), std::nullopt, delta, compose_);
}

std::vector<std::vector<BudgetPart>> BudgetLedger::PartsIn(
    absl::string_view study, const std::vector<std::string>& patients) const {
  absl::MutexLock lock(&mutex_);
  return book_.PartsIn(study, TagsOf(patients));
}

BudgetReport BudgetLedger::Report(const PatientBudget& budget) const {
  absl::MutexLock lock(&mutex_);
  BudgetReport report;
  report.studies = book_.Studies(budget.delta, compose_);
  const std::vector<std::string> all = book_.Patients();
  report.patients = static_cast<int64_t>(all.size());
  report.epsilon = book_.WorstOf(all, std::nullopt, budget.delta, compose_);
  report.budget = budget;
  report.entries = size_;
  const auto checkpoint = privacy::OpenCheckpoint(log_->checkpoint(), log_->key());
  if (checkpoint.ok()) report.root_hex = privacy::HashHex(checkpoint->root);
  return report;
}

std::string BudgetToJson(const BudgetReport& report) {
  Json studies = Json::array();
  for (const LedgerBook::StudyTotal& total : report.studies) {
    studies.push_back({{"study", total.study},
                       {"trainings", total.trainings},
                       {"unsettled", total.unsettled},
                       {"patients", total.patients},
                       {"epsilon", EpsilonJson(total.epsilon)},
                       {"guarantee", std::isfinite(total.epsilon)}});
  }
  Json json;
  json["delta"] = report.budget.delta;
  json["epsilon_max"] = report.budget.epsilon ? Json(*report.budget.epsilon) : Json(nullptr);
  json["epsilon"] = EpsilonJson(report.epsilon);
  json["guarantee"] = std::isfinite(report.epsilon);
  json["remaining"] = report.budget.epsilon ? Json(Remaining(report)) : Json(nullptr);
  json["patients"] = report.patients;
  json["studies"] = studies;
  json["ledger"] = {{"entries", report.entries}, {"root", report.root_hex}};
  return json.dump(2) + "\n";
}

std::vector<std::vector<std::string>> BudgetTable(const BudgetReport& report) {
  std::vector<std::vector<std::string>> table = {
      {"STUDY", "TRAININGS", "PATIENTS", "EPSILON", "REMAINING"}};
  int64_t trainings = 0;
  for (const LedgerBook::StudyTotal& total : report.studies) {
    trainings += total.trainings;
    table.push_back({total.study, absl::StrCat(total.trainings), absl::StrCat(total.patients),
                     EpsilonCell(total.epsilon), ""});
  }
  table.push_back({"all (worst patient)", absl::StrCat(trainings), absl::StrCat(report.patients),
                   EpsilonCell(report.epsilon),
                   report.budget.epsilon ? EpsilonCell(Remaining(report)) : "not limited"});
  return table;
}

}  // namespace consilium::agent
