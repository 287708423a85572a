// A simulated site's work: results of the right form without pictures or training, from a seed.
//
// PREPARE reports the cohort of the options; INITIALISE makes random weights; TRAIN fetches the model,
// lets the given time pass and seals a random change of the model's layout, masked where the study wants
// it; CONSENT and REVEAL are the agent's own; EVALUATE gives a Dice for each held-out case. Reports
// progress like a real task. Thread-compatible; what it refers to must outlive it.
#ifndef CONSILIUM_TESTS_SUPPORT_SIM_WORK_H_
#define CONSILIUM_TESTS_SUPPORT_SIM_WORK_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/clock.h"
#include "proto/wire/tensor_map.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/spool.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::simulated {

struct WorkOptions {
  int64_t parameters = 10'000;  // of the first weights
  int64_t cases = 12;
  int64_t labelled_cases = 8;
  int64_t held_out_cases = 2;
  absl::Duration seconds;  // that a TRAIN task takes
  uint64_t seed = 1;
};

// `parameters` values in tensors of at most a million.
wire::TensorLayout LayoutFor(int64_t parameters);
// Uniform in [-scale, scale), the same for the same seed.
wire::TensorMap RandomMap(wire::TensorLayout layout, uint64_t seed, float scale);

struct WorkSite {
  std::string home;
  std::string federation;
  std::string site;
  WorkOptions options;
  agent::Federation& remote;
  agent::Spool& spool;
  const agent::MaskingSite& masking;
  // Waits; false: the site is stopping.
  std::function<bool(absl::Duration)> sleep;
  // Runs what needs much memory or processor; the simulation bounds how many sites do so at once.
  std::function<absl::Status(const std::function<absl::Status()>&)> heavy;
};

absl::StatusOr<agent::FinishedTask> RunSimulatedTask(const WorkSite& site,
                                                     const agent::SiteTask& task,
                                                     agent::TaskMonitor& monitor);

}  // namespace consilium::simulated

#endif  // CONSILIUM_TESTS_SUPPORT_SIM_WORK_H_
