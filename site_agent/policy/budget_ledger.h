// The site's own count of what its patients' privacy has been spent on: append-only, signed, on
// disk.
//
//   HOME/policy/ledger/        a FileLog (privacy/transparency/file_log.h): JSON entries under a
//                              Merkle tree, each append signed with the ledger's Ed25519 key
//   HOME/policy/ledger.head    the newest signed checkpoint once more: a ledger that is older than
//   it,
//                              or another, was rolled back and is refused
//   HOME/policy/patients.key   makes patients' tags, HMAC-SHA256 cut to 16 bytes; without it nobody
//   can
//                              tell whose tag one is, and a ledger whose key is gone is refused
//
// Order: Reserve before the first step of a training, durable when it returns; Settle after the
// last, with the steps that were taken. What is never settled (a crash) stays counted in full, and
// a training that is begun again reserves again: the ledger may count too much, never too little.
//
// Privacy: holds tags of patients and what they were in; it stays at the site. Errors and reports
// carry counts and epsilons only. Thread-safe. One program writes at a time (the agent, which holds
// the home); others may read.
#ifndef CONSILIUM_SITE_AGENT_POLICY_BUDGET_LEDGER_H_
#define CONSILIUM_SITE_AGENT_POLICY_BUDGET_LEDGER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/transparency/file_log.h"
#include "proto/base/clock.h"
#include "site_agent/policy/ledger_book.h"
#include "site_agent/policy/site_policy.h"

namespace consilium::agent {

struct BudgetReport {
  std::vector<LedgerBook::StudyTotal> studies;  // by name
  int64_t patients = 0;                         // in any of them
  double epsilon = 0;  // of the worst patient, over all studies; infinity: no guarantee
  PatientBudget budget;
  uint64_t entries = 0;  // of the ledger, and its root: what a backup can be compared with
  std::string root_hex;
};

class BudgetLedger {
 public:
  // Opens or makes the ledger of a home. `compose` must be thread-safe; `clock` must outlive it.
  // DATA_LOSS: it was altered, is older than its head or than its key, or one of them is missing;
  // the message is the remedy, and no training may spend until then. Otherwise errors of files and
  // FileLog.
  static absl::StatusOr<std::unique_ptr<BudgetLedger>> Open(const std::string& home,
                                                            ComposeParts compose,
                                                            const Clock& clock);
  // Looks only, and works while the agent runs. NOT_FOUND: nothing was ever reserved.
  static absl::StatusOr<std::unique_ptr<BudgetLedger>> OpenToRead(const std::string& home,
                                                                  ComposeParts compose,
                                                                  const Clock& clock);

  // Takes `charge` from every patient's budget, durably, and returns the number to settle it by.
  // `patients`: the pseudonym of everybody whom the training may sample, repetitions ignored.
  // An error that carries a Refusal of clause "budget.epsilon" (judge.h): a patient would have
  // spent more than `limit`; nothing is written. INVALID_ARGUMENT: no patients, or CheckCharge.
  // FAILED_PRECONDITION: opened to read, or another program writes. Errors of FileLog::Append: it
  // may or may not be counted, and the training must not begin.
  absl::StatusOr<uint64_t> Reserve(const std::vector<std::string>& patients, const Charge& charge,
                                   const PatientBudget& limit);
  // Ends a reservation with the optimiser steps that really took place, at most those reserved. The
  // same again is OK. Errors of LedgerBook::Settle and of Reserve.
  absl::Status Settle(uint64_t reservation, int64_t steps_taken);

  // The most steps of `part` (at most part.steps) that no patient's budget forbids; 0: none.
  int64_t AffordableSteps(const std::vector<std::string>& patients, const BudgetPart& part,
                          const PatientBudget& limit) const;
  // Those of `patients` who can still spend all of `part`: for a training without the others.
  std::vector<std::string> WithinBudget(const std::vector<std::string>& patients,
                                        const BudgetPart& part, const PatientBudget& limit) const;
  // The most that any of them has spent so far.
  double SpentBy(const std::vector<std::string>& patients, double delta) const;

  // What these patients have spent in one study (LedgerBook::PartsIn).
  std::vector<std::vector<BudgetPart>> PartsIn(absl::string_view study,
                                               const std::vector<std::string>& patients) const;

  BudgetReport Report(const PatientBudget& budget) const;

 private:
  BudgetLedger(std::string home, std::unique_ptr<privacy::FileLog> log, privacy::SecretBytes key,
               ComposeParts compose, const Clock& clock);

  static absl::StatusOr<std::unique_ptr<BudgetLedger>> Load(const std::string& home,
                                                            std::unique_ptr<privacy::FileLog> log,
                                                            privacy::SecretBytes key,
                                                            ComposeParts compose,
                                                            const Clock& clock);
  absl::Status ReadEntries() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ApplyEntry(absl::string_view bytes, uint64_t index)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends and makes the head follow; the index of the first.
  absl::StatusOr<uint64_t> Append(const std::vector<std::string>& entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::string> TagsOf(const std::vector<std::string>& patients) const;
  std::string CohortId(const std::vector<std::string>& tags) const;

  const std::string home_;
  const std::unique_ptr<privacy::FileLog> log_;
  const privacy::SecretBytes key_;
  const ComposeParts compose_;
  const Clock& clock_;

  mutable absl::Mutex mutex_;
  LedgerBook book_ ABSL_GUARDED_BY(mutex_);
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;  // entries that the book has
  // Cohorts of which pieces are still to come.
  std::map<std::string, std::vector<std::string>> pieces_ ABSL_GUARDED_BY(mutex_);
};

// For `consilium-agent budget`: never a tag. An epsilon without a guarantee is null in JSON.
std::string BudgetToJson(const BudgetReport& report);
std::vector<std::vector<std::string>> BudgetTable(const BudgetReport& report);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_BUDGET_LEDGER_H_
