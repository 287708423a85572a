// A site's own policy: what its people allow, in HOME/policy.yaml, whatever a plan asks for.
//
// Strict: an unknown key, a key given twice, a wrong type or a value that cannot work is
// INVALID_ARGUMENT with the key, its line and what to write instead. Nothing in a task can change
// or lower it; it is read again at each task (ReadPolicy), and a file that is there but cannot be
// used refuses every task: there is no falling back to what was read before or to the defaults.
// What each key means for the people who write it: docs/policy.md.
//
// Thread-safety: values; the functions are thread-safe.
#ifndef CONSILIUM_SITE_AGENT_POLICY_SITE_POLICY_H_
#define CONSILIUM_SITE_AGENT_POLICY_SITE_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/training_hours.h"

namespace consilium::agent {

inline constexpr size_t kPolicyBytesMax = 64 * 1024;
inline constexpr int64_t kMinCohortFloor = 3;  // of two, each could subtract itself

// How an update leaves the site. Names as in a study file.
enum class Protection { kSecureAggregation, kSealed };
const char* ProtectionName(Protection protection);  // "secure-aggregation", "sealed"
std::optional<Protection> ProtectionOf(absl::string_view name);

// Whose presence differential privacy hides. In this order, each hides what those before it do: a
// site's noise that hides the whole site hides each of its patients.
enum class PrivacyLevel { kNone, kSample, kSite };
const char* PrivacyLevelName(PrivacyLevel level);  // "none", "sample", "site"
std::optional<PrivacyLevel> PrivacyLevelOf(absl::string_view name);

// Whether a person at the site has to say yes before a task is worked on.
enum class Approval { kNone, kFirstTaskOfAStudy, kEachPlan };
const char* ApprovalName(Approval approval);  // "none", "first-task-of-a-study", "each-plan"

// Text in which '*' stands for any number of characters.
bool MatchesPattern(absl::string_view pattern, absl::string_view text);
bool MatchesAny(const std::vector<std::string>& patterns, absl::string_view text);

// What a plan may cost in privacy, by its own declaration. Absent: not limited.
struct PrivacyLimits {
  PrivacyLevel level = PrivacyLevel::kNone;  // at least this
  std::optional<double> epsilon_max;         // of a whole plan
  std::optional<double> delta_max;
  std::optional<double> epsilon_per_round_max;
  std::optional<double> noise_multiplier_min;
  std::optional<double> clip_max;  // L2 norm of one patient's (or site's) contribution
  friend bool operator==(const PrivacyLimits&, const PrivacyLimits&) = default;
};

// What one patient may spend over all studies for all time, as this site counts it itself
// (budget_ledger.h).
struct PatientBudget {
  std::optional<double> epsilon;  // absent: counted, not limited
  double delta = 1e-5;            // at which it is expressed
  friend bool operator==(const PatientBudget&, const PatientBudget&) = default;
};

struct SitePolicy {
  // Who may ask, and for what.
  std::vector<std::string> studies_allow = {"*"};      // patterns
  std::vector<std::string> studies_deny;               // patterns; stronger than allow
  std::optional<std::vector<std::string>> purposes;    // absent: any
  std::optional<std::vector<std::string>> algorithms;  // site-side algorithms; absent: any
  Approval approval = Approval::kNone;
  std::vector<std::string> peers_deny;  // site names (patterns) or "sha256:<64 hex digits>"

  // Which series.
  std::optional<std::vector<std::string>> modalities;  // absent: any
  std::vector<wire::SeriesRule> series_rules;          // hold beside the plan's, for every case
  std::vector<std::string> keywords_deny;              // DICOM keywords no plan may select by

  // How updates leave.
  std::vector<Protection> protections = {Protection::kSecureAggregation};
  std::vector<std::string> sealed_studies = {
      "*"};                              // patterns; counts only where sealed is accepted
  int64_t min_cohort = kMinCohortFloor;  // sites in a sum that is opened
  int64_t bits_min = 16;                 // of the masked lanes: 16 or 32
  std::optional<double> norm_max;  // L2 norm a plan has to clip updates to; absent: not demanded

  PrivacyLimits privacy;
  PatientBudget budget;

  // When.
  std::optional<int64_t> rounds_per_day;  // that are trained, of all studies; absent: not limited
  TrainingHours hours;
  std::string time_zone;  // of the hours, IANA name; empty: the machine's

  bool Accepts(Protection protection) const;
  friend bool operator==(const SitePolicy&, const SitePolicy&) = default;
};

// INVALID_ARGUMENT as above.
absl::StatusOr<SitePolicy> ParsePolicy(absl::string_view yaml);

// Everything that holds, defaults included. It is YAML too: ParsePolicy gives `policy` back.
std::string PolicyToJson(const SitePolicy& policy);
// Rows for FormatTable: key and value.
std::vector<std::vector<std::string>> PolicyTable(const SitePolicy& policy);

std::string PolicyPath(const std::string& home);

struct LoadedPolicy {
  SitePolicy policy;
  std::string sha256;  // of the file, lower-case hex; empty: no file, the defaults hold
};
// HOME/policy.yaml as it is now. No file: the defaults of SitePolicy. INVALID_ARGUMENT: as
// ParsePolicy. FAILED_PRECONDITION: others than its owner may write it. Errors of ReadFile.
absl::StatusOr<LoadedPolicy> ReadPolicy(const std::string& home);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_POLICY_SITE_POLICY_H_
