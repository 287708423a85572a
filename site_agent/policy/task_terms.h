// What a task asks of the site, in the words of the site's policy: plain values that whoever
// receives the task fills in from it, and from what the plan that its digest names says.
#ifndef CONSILIUM_SITE_AGENT_POLICY_TASK_TERMS_H_
#define CONSILIUM_SITE_AGENT_POLICY_TASK_TERMS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/site_policy.h"

namespace consilium::agent {

// What the plan promises of differential privacy, and what the site will make of it. A value that
// the plan does not give stays 0 and does not meet a limit on it.
struct PrivacyTerms {
  PrivacyLevel level = PrivacyLevel::kNone;
  double epsilon = 0;  // of the whole plan, all rounds
  double delta = 0;
  double clip = 0;  // L2 norm of one contribution
  // Absent until the site has calibrated its noise to its own number of patients.
  std::optional<double> epsilon_per_round;  // of one round, at the same delta
  std::optional<double> noise_multiplier;   // standard deviation over clip
};

struct Peer {
  std::string name;
  std::string certificate_sha256;  // lower-case hex; may be empty
};

// Absent optionals are what is not known yet. A task may be judged several times as more of it
// becomes known: when it is offered, when the site has calibrated its noise, when the roster is
// fixed.
struct TaskTerms {
  std::string task_id;
  std::string study;
  std::string purpose;                  // the study's declared purpose; empty: none
  std::vector<std::string> algorithms;  // site-side ones, as PlanTerms names them
  std::string plan_sha256;              // of the plan's canonical JSON
  // A training is about to begin: hours and rounds of the day count.
  bool trains = true;
  // Nothing more will be known before something of the site leaves it: a clause that needs what is
  // absent refuses. False: such a clause waits.
  bool complete = true;
  // False for a site that only evaluates, and for an evaluation: then no clause on updates counts.
  bool sends_update = true;

  std::vector<std::string> modalities;          // by channel
  std::vector<wire::SeriesRule> series_rules;  // of all channels

  std::optional<Protection> protection;
  int64_t bits = 32;             // of the masked lanes
  int64_t min_cohort = 0;        // sites that the plan promises in each sum that is opened
  int64_t group_size = 0;        // of group-wise secure aggregation; 0: one group of everybody
  std::optional<int64_t> sites;  // in the roster
  std::optional<std::vector<Peer>> roster;  // the others
  double norm_bound = 0;                    // L2 norm updates are clipped to; 0: not clipped
  PrivacyTerms privacy;

  absl::Time now;
  absl::TimeZone zone;  // the machine's; the policy may name another
};

// All that a plan says, for a site that trains: `trains` and `complete` are false, and task,
// roster, time and what the site calibrates are still to be filled in. Algorithms: the plan's kind,
// "fedbn" where it has local layers, "ditto" where a personal model is trained beside.
TaskTerms PlanTerms(const wire::Plan& plan);

// What the site itself knows of the past.
struct PolicyState {
  int64_t rounds_today = 0;     // trained since local midnight, this task not counted
  bool plan_approved = false;   // a person said yes to exactly this plan
  bool study_approved = false;  // to any plan of this study
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_TASK_TERMS_H_
