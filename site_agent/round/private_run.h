// The randomness of one round of patient-level DP-SGD: who is drawn, and the noise, both from
// secret keys that are wiped when it ends; and where the round has to stop.
#ifndef CONSILIUM_SITE_AGENT_ROUND_PRIVATE_RUN_H_
#define CONSILIUM_SITE_AGENT_ROUND_PRIVATE_RUN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/dp/local_noise.h"
#include "privacy/dp/random_stream.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/ledger_book.h"
#include "training/session.h"

namespace consilium::agent {

// Thread-compatible; used by the thread that trains.
class PrivateRun {
 public:
  // `part`: sampling rate, noise and how many steps may be taken. `parameters`: of the network, in
  // all. `patient_of_case`: pseudonyms by case, equal for a patient's cases. INVALID_ARGUMENT:
  // clip, noise and parameters that leave no grid (LocalNoise).
  static absl::StatusOr<std::unique_ptr<PrivateRun>> Create(
      const wire::Plan& plan, const BudgetPart& part, int64_t parameters,
      const std::vector<std::string>& patient_of_case, bool site_has_labels);

  // For RunOptions; refers to this.
  training::PrivateTraining Rules();
  // Steps that drew patients, whether or not they came to an end.
  int64_t steps_begun() const { return steps_begun_; }
  // The noise could not be added. The run has then failed too, as its gradient was no number.
  const absl::Status& status() const { return status_; }

 private:
  PrivateRun(const wire::Plan& plan, const BudgetPart& part, dp::LocalNoise noise)
      : clip_(plan.privacy.clip),
        expected_(plan.privacy.patients_per_step),
        part_(part),
        noise_(std::move(noise)) {}

  bool MayNotStep();
  double Uniform();
  void AddNoise(std::span<float> sum);

  const double clip_;
  const double expected_;
  const BudgetPart part_;
  const dp::LocalNoise noise_;
  dp::RandomStream draws_;
  dp::RandomStream noise_words_;
  std::vector<int64_t> patient_of_case_;
  bool site_has_labels_ = true;
  int64_t steps_begun_ = 0;
  absl::Status status_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_PRIVATE_RUN_H_
