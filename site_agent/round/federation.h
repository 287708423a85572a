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
#include "privacy/secagg/protocol.h"
#include "proto/wire/plan.h"

namespace consilium::agent {

enum class TaskKind { kPrepare, kInitialise, kTrain, kEvaluate, kConsent, kReveal };
const char* TaskKindName(TaskKind kind);  // "prepare"; stable, for JSON and logs
bool HasUpdate(TaskKind kind);            // whether its result is an update: a file beside it

enum class SiteRole { kTrainer, kEvaluator };

struct ModelRef {
  std::string version;  // "hippocampus/3"
  std::string sha256;   // lower-case hex of the safetensors file
  uint64_t bytes = 0;
};

// What a masked update of a round looks like, before the roster is known.
struct MaskingTerms {
  std::string job;  // "FEDERATION/STUDY"
  uint32_t bits = 32;
  uint64_t words = 0;  // of the masked vector
  uint32_t min_cohort = 0;
  std::string quantiser;  // text, privacy/secagg/quantise.h
  int64_t weight_unit_milli = 0;  // thousandths of a case in one unit of weight
  int64_t weight_max = 0;         // the weight of this site's update when it trains on all its cases
  friend bool operator==(const MaskingTerms&, const MaskingTerms&) = default;
};

// What a site is asked to agree to, or to open, of a sum.
struct UnmaskingTerms {
  std::string train_task_id;  // of the update that this is about
  std::string survivors;      // secagg::SiteSet bytes
  std::vector<secagg::Consent> consents;  // kReveal
  friend bool operator==(const UnmaskingTerms&, const UnmaskingTerms&) = default;
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
  std::optional<MaskingTerms> masking;      // kTrain; none: the update is sealed
  std::optional<UnmaskingTerms> unmasking;  // kConsent, kReveal: always there
  std::optional<ModelRef> control;          // kTrain with SCAFFOLD: the server's variate; none: zero
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
  // Zero for a masked update: they travel in its lanes, as sums.
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

// A site's keys of one round, and the word of its certificate's key for the key that signed them.
struct SiteKeys {
  secagg::KeyAnnouncement announcement;
  std::string protocol_key_signature;  // privacy/crypto/protocol_key.h
  friend bool operator==(const SiteKeys&, const SiteKeys&) = default;
};

struct ShareBox {
  std::string to;
  std::string box;
  friend bool operator==(const ShareBox&, const ShareBox&) = default;
};
struct SiteShares {
  std::string commitment;
  std::vector<ShareBox> boxes;  // to each other site of the roster
  friend bool operator==(const SiteShares&, const SiteShares&) = default;
};

// Where a round's key agreement stands. (With initialisers, so that g++ lets a caller name a few.)
enum class AgreementStage {
  kKeys,    // waiting for the keys of others
  kShares,  // the roster is fixed: send the shares
  kReady,   // the boxes are there: mask
  kOut,     // this site is not part of the sum
};
struct AgreementReply {
  AgreementStage stage = AgreementStage::kKeys;
  uint32_t threshold = 0;                     // kShares
  std::vector<SiteKeys> roster = {};          // kShares
  std::vector<secagg::PeerShare> boxes = {};  // kReady
  std::vector<std::string> sharing = {};      // kReady: sites whose shares are there, sorted
  std::string reason = {};                    // kOut
};

struct ConsentResult {
  secagg::Consent consent;
  friend bool operator==(const ConsentResult&, const ConsentResult&) = default;
};

struct RevealedShare {
  enum class Secret { kSelfSeed, kMaskKey };  // of a survivor; of a site that dropped out
  std::string of;
  Secret secret = Secret::kSelfSeed;
  std::string share;
  friend bool operator==(const RevealedShare&, const RevealedShare&) = default;
};
struct RevealResult {
  std::vector<RevealedShare> shares;
  friend bool operator==(const RevealResult&, const RevealResult&) = default;
};

enum class TaskPhase { kPrepare, kDownload, kTrain, kAgree, kEvaluate, kUpload };
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
  // A step of the key agreement of a masked TRAIN task: says what this site has (`shares` once it knows
  // the roster; may be null) and hears where the agreement stands. To be repeated until kReady or kOut.
  // INVALID_ARGUMENT: the reply does not hold together, or the keys are refused.
  virtual absl::StatusOr<AgreementReply> AgreeKeys(const std::string& task_id, const SiteKeys& keys,
                                                   const SiteShares* shares) = 0;
  virtual absl::Status SubmitConsent(const std::string& task_id, const ConsentResult& result) = 0;
  virtual absl::Status SubmitReveal(const std::string& task_id, const RevealResult& result) = 0;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_FEDERATION_H_
