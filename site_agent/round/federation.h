// The coordinator as a site's round sees it: what it asks for, what it is told, and nothing of how
// that travels. The one implementation is uplink/federation_client; tests bring their own.
#ifndef CONSILIUM_SITE_AGENT_ROUND_FEDERATION_H_
#define CONSILIUM_SITE_AGENT_ROUND_FEDERATION_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/wire/plan.h"

namespace consilium::agent {

enum class TaskKind { kPrepare, kInitialise, kTrain, kEvaluate, kConsent, kReveal };
const char* TaskKindName(TaskKind kind);  // "prepare"; stable, for JSON and logs

enum class SiteRole { kTrainer, kEvaluator };

struct ModelRef {
  std::string version;  // "hippocampus/3"
  std::string sha256;   // lower-case hex of the safetensors file
  uint64_t bytes = 0;
};

// A task, checked: the plan is the one that its digest names, every text is bounded.
struct SiteTask {
  std::string task_id;
  TaskKind kind = TaskKind::kPrepare;
  std::string study;
  int64_t round = 0;  // 1-based; 0 for kPrepare and kInitialise
  wire::Plan plan;
  std::string plan_json;  // canonical
  ModelRef model;         // kTrain, kEvaluate
  std::string sealing_public_key;  // kInitialise, kTrain
  absl::Duration deadline = absl::InfiniteDuration();  // from when the task was handed out
  SiteRole role = SiteRole::kTrainer;
  absl::Duration lease = absl::Seconds(60);  // say something of the task at least so often
};

// Sums and medians over cases; nothing of a single patient.
struct CohortSummary {
  int64_t cases = 0;
  int64_t labelled_cases = 0;
  int64_t held_out_cases = 0;
  std::array<double, 3> median_spacing_xyz_mm = {0, 0, 0};
  std::array<double, 3> median_size_xyz = {0, 0, 0};
  std::map<std::string, int64_t> rejected_by_reason;
  friend bool operator==(const CohortSummary&, const CohortSummary&) = default;
};

struct TrainingSummary {
  int64_t steps = 0;
  double seconds = 0;
  double mean_loss = 0;
  double mean_supervised_loss = 0;
  double mean_consistency_loss = 0;
  double teacher_certainty = 0;
  double pseudo_foreground_fraction = 0;
  friend bool operator==(const TrainingSummary&, const TrainingSummary&) = default;
};

// What a site says of an update before it sends the sealed file.
struct UpdateOffer {
  std::string base_model_sha256;  // empty for kInitialise
  std::string layout_sha256;
  uint64_t bytes = 0;             // of the sealed file
  std::string sha256;             // of the sealed file
  int64_t labelled_cases = 0;
  int64_t unlabelled_cases = 0;
  TrainingSummary summary;
  friend bool operator==(const UpdateOffer&, const UpdateOffer&) = default;
};

struct CaseResult {
  std::string case_pseudonym;
  std::vector<double> dice;  // by label, 1.. in order; NaN: neither side has the structure
};

struct EvaluationResult {
  std::vector<CaseResult> cases;
};

enum class TaskPhase { kPrepare, kDownload, kTrain, kEvaluate, kUpload };
const char* TaskPhaseName(TaskPhase phase);

struct TaskProgress {
  std::string task_id;
  TaskPhase phase = TaskPhase::kPrepare;
  int64_t done = 0;
  int64_t total = 0;
  double loss = 0;
  uint64_t advances = 1;  // grows with each step, case, piece or stage that is done; a heartbeat repeats it
};

// Which task and which study's round a result belongs to.
struct TaskKey {
  std::string task_id;
  TaskKind kind = TaskKind::kPrepare;
  std::string study;
  int64_t round = 0;
  friend bool operator==(const TaskKey&, const TaskKey&) = default;
};
TaskKey KeyOf(const SiteTask& task);

struct UploadOutcome {
  bool accepted = false;
  std::string reason;  // when not accepted: why this update will never be taken
};

// The coordinator's answer to the question for work.
struct NextAnswer {
  std::optional<SiteTask> task;            // none: nothing to do
  std::vector<std::string> ended_task_ids;  // of the spooled ones: nobody needs their result any more
};

using ByteProgress = std::function<void(uint64_t done, uint64_t total)>;  // may be empty

// Thread-safe. Every call blocks, for at most minutes. Errors are the coordinator's:
// FAILED_PRECONDITION: the round has moved on. UNAVAILABLE, DEADLINE_EXCEEDED: not reached, nothing
// is lost. PERMISSION_DENIED: not approved, suspended or revoked. CANCELLED: the agent is stopping.
class Federation {
 public:
  virtual ~Federation() = default;
  // First call of a connection. FAILED_PRECONDITION: another protocol version, or the coordinator
  // takes us for another site.
  virtual absl::Status Hello() = 0;
  // INVALID_ARGUMENT: the task does not hold together.
  virtual absl::StatusOr<NextAnswer> NextTask(
      absl::Duration wait, const std::vector<std::string>& spooled_task_ids) = 0;
  virtual absl::Status ReportCohort(const std::string& task_id, const CohortSummary& cohort) = 0;
  // The model file at `path`, with the digest that `model` names. A call that was cut leaves
  // `path`.partial, from whose end the next one goes on. DATA_LOSS: the bytes have another digest;
  // they are gone.
  virtual absl::Status DownloadModel(const ModelRef& model, const std::string& path,
                                     const ByteProgress& progress) = 0;
  // Sends the sealed file at `path` from where the coordinator has it, and commits. An accepted one is
  // kept until its task has ended: the coordinator may lose its copy and ask again.
  virtual absl::StatusOr<UploadOutcome> Upload(const TaskKey& task, const UpdateOffer& offer,
                                               const std::string& path,
                                               const ByteProgress& progress) = 0;
  // Also the task's heartbeat. FAILED_PRECONDITION: the result is no longer awaited, stop the work.
  virtual absl::Status ReportProgress(const TaskProgress& progress) = 0;
  // This site cannot do the task; `reason` is short, plain and of our own making.
  virtual absl::Status Decline(const std::string& task_id, const std::string& reason) = 0;
  virtual absl::Status ReportEvaluation(const std::string& task_id,
                                        const EvaluationResult& result) = 0;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_FEDERATION_H_
