// A study's life as a value: who prepares, which round runs, what comes next. Pure, like Round.
//
//   draft -> preparing -> running -> finished
//               |           |  \-> failed (two rounds in a row, no first weights; `resume` tries anew)
//               +-> paused <+      stopped
// and, while it runs: initialising -> between rounds -> round -> (evaluating ->) between rounds ...
//
// Preparing ends when min_sites trainers have reported their cohort and either every approved site
// has, or kGrace has passed since. The plan is then fixed for the study's life; a site that joins
// later prepares by it and trains from the next round on. One site makes the first weights (round
// 0); if it fails, another tries, kInitialisationsMax times in all.
//
// A round opens when min_sites trainers are connected and either all are, or kGrace has passed.
// Sites without labels join after `unlabelled_after` committed rounds. A failed round is tried once
// more under the next number; a second failure in a row fails the study. Version numbers are round
// numbers, so a failed round leaves a gap.
//
// A site that found no case is asked to PREPARE again every kPrepareAgain; until the plan is fixed
// a new cohort report replaces the old one.
//
// A pause stops new tasks and deadlines; updates on their way are still taken. Time in which the
// coordinator was down does count, but after a restart an open round or evaluation has at least
// kRestartWindow left, or the study's whole deadline if that is shorter.
//
// A site of which nothing is heard for the study's lease is silent, one that is heard of but whose
// counters stand still for the study's `stall` is stalled: a round that has its quorum and its required
// sites waits for neither, and takes them up again when they come back before the round closes. Both
// are measured by the driver on the monotonic clock and are not durable: after a restart or a pause
// every site has its whole time. The site that makes the first weights is replaced
// when it falls silent or stalls and another one is there. A site whose software lacks what the study needs is
// not asked for anything.
//
// An evaluation asks every approved site that has cases for it. An evaluator the study names and
// that cannot take part is recorded as missing, with the reason; the last evaluation also waits for
// connected evaluators that are still preparing. A report that is wrong ends the site's part. Once
// somebody has reported, it does not wait for sites that are all silent or stalled.
//
// Order: OnTime before any other event of that moment. Thread-compatible; copy it, apply an event to
// the copy, persist what `step` says, then put it in place of the old one. An event that returns an
// error has changed nothing that has to be persisted.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_RUN_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_RUN_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/round/capabilities.h"
#include "coordinator/round/masked_round.h"
#include "coordinator/round/round.h"
#include "coordinator/round/study.h"
#include "coordinator/store/audit_entry.h"
#include "coordinator/store/records.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kGrace = absl::Seconds(10);
inline constexpr absl::Duration kPrepareAgain = absl::Minutes(1);
inline constexpr absl::Duration kRestartWindow = absl::Minutes(10);
inline constexpr int64_t kInitialisationsMax = 3;
inline constexpr int64_t kRoundFailuresMax = 2;  // in a row
// Masked rounds: for each phase of the key agreement, and for the unmasking; less where the deadline is short.
inline constexpr absl::Duration kAgreementWindow = absl::Minutes(5);
inline constexpr absl::Duration kUnmaskingWindow = absl::Minutes(10);

enum class TaskKind { kPrepare, kInitialise, kTrain, kEvaluate, kConsent, kReveal };

// What the masked update of a TRAIN task looks like.
struct MaskingTerms {
  MaskingRecord masking;   // without its rosters
  int64_t weight_max = 0;  // units that the site's update may have
};
// Of a CONSENT or REVEAL task.
struct UnmaskingTask {
  std::string train_task_id;
  std::string survivors;                   // SiteSet bytes
  std::vector<secagg::Consent> consents;  // REVEAL
};

// A task as the site gets it, less the sealing key.
struct SiteTask {
  std::string task_id;
  TaskKind kind = TaskKind::kPrepare;
  std::string study;
  int64_t round = 0;
  std::string plan_json;
  std::string plan_sha256;
  std::string model_version;  // empty: no model
  std::string model_sha256;
  int64_t model_bytes = 0;
  absl::Duration deadline;  // from now; zero: none
  bool evaluator = false;
  absl::Duration lease;   // to be heard of within
  std::optional<MaskingTerms> masking = {};  // TRAIN of a masked round
  std::optional<UnmaskingTask> unmasking = {};
  std::string control_sha256 = {};  // TRAIN of a SCAFFOLD study, once there is a control variate
  int64_t control_bytes = 0;
  int64_t since_us = 0;   // since when it waits; the oldest task of all studies goes first
};

// A site as the study sees it.
struct SiteView {
  std::string name;
  bool approved = false;
  bool connected = false;
  absl::string_view state = "";  // in words, for a reason; a constant
  uint32_t capabilities = kEveryCapability;
  absl::Time heard = absl::InfinitePast();  // the last sign of life of its work, for the lease
  // Since when its task's counters stand still; InfiniteFuture: it does not count, or has no task.
  absl::Time advanced = absl::InfiniteFuture();
  std::string counters = "";  // "step 120 of 200"
};

// `sites` in the order of their names, here and wherever a StudyRun is given them. nullptr: no such site.
const SiteView* FindSite(const std::vector<SiteView>& sites, absl::string_view name);
// Why nothing more is expected of a site; empty: it is approved. In the words of whoever calls
// OnSiteGone, because OnTime may notice first.
std::string WhyGone(const std::vector<SiteView>& sites, absl::string_view name);

struct StudyAggregate {
  int64_t round = 0;
};
// The round is over: its staged updates are no longer needed. Of a buffer only those of the tasks
// that ended with it.
struct DropUploads {
  struct Task {
    int64_t task_round = 0;
    std::string task_id;
    std::string upload_id;  // empty: none was accepted
  };
  int64_t round = 0;
  enum class What { kWholeRound, kTasks } what = What::kWholeRound;
  std::vector<Task> tasks = {};
};
using StudyEffect = std::variant<StudyAggregate, DropUploads>;

// What an event leads to: write `rounds`, `evaluations` (in order, later ones win), the study itself
// and `audit` in one batch; then act on `effects`.
struct Step {
  std::vector<RoundRecord> rounds;
  std::vector<AgreementRecord> agreements;
  std::vector<AgreementRecord> ended_agreements;  // to be deleted; only the key is set
  std::vector<EvaluationRecord> evaluations;
  std::vector<AuditFacts> audit;
  std::vector<StudyEffect> effects;
  bool changed() const { return !audit.empty(); }
};

// What a site says an update belongs to.
struct Offer {
  std::string site;
  std::string task_id;
  int64_t round = 0;
  std::string base_sha256;
};

// A new model file, to become a version.
struct NewModel {
  std::string sha256;
  int64_t bytes = 0;
  int64_t parameters = 0;
  std::string layout_sha256;
  double change_rms = 0;  // of the values of base - model; rounds only
  std::map<std::string, double> masked_sums = {};  // of a masked round
  // Updates that the rule kept out, with the reason.
  std::vector<std::pair<std::string, std::string>> outvoted = {};
  // Files beside the model; empty: none.
  std::string optimizer_sha256 = {};
  int64_t optimizer_bytes = 0;
  std::string control_sha256 = {};
  int64_t control_bytes = 0;
};

class StudyRun {
 public:
  // INVALID_ARGUMENT: see ParseStudy.
  static absl::StatusOr<StudyRun> Create(const std::string& yaml, absl::string_view run_id,
                                         absl::Time now);
  // DATA_LOSS: the records do not fit together.
  static absl::StatusOr<StudyRun> FromRecords(StudyRecord study, std::optional<RoundRecord> round,
                                              std::optional<EvaluationRecord> evaluation,
                                              std::vector<AgreementRecord> agreements = {});

  const StudySpec& spec() const { return spec_; }
  const StudyRecord& record() const { return record_; }
  // The round opened last; absent before the first.
  const std::optional<Round>& round() const { return round_; }
  const std::optional<EvaluationRecord>& evaluation() const { return evaluation_; }
  const CohortRecord* Cohort(absl::string_view site) const;

  // `action` is start, pause, resume or stop. FAILED_PRECONDITION: not in this state.
  absl::Status OnControl(absl::string_view action, absl::string_view reason, absl::Time now,
                         Step& step);
  void OnTime(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  // How many bytes above the disk's floor are not spoken for; no round opens that needs more. Before
  // OnTime; not durable. nullopt, as at first: not known, and not judged.
  void NoteRoom(std::optional<uint64_t> bytes) { room_ = bytes; }
  // What masked rounds call their job by. Before OnTime; not durable.
  void NoteFederation(absl::string_view federation) { federation_ = std::string(federation); }
  // What an open round may still write: the updates that are awaited, and the new version.
  uint64_t BytesAhead() const;
  // The process started anew. Needs no record: the next start comes to the same.
  void OnRestart(absl::Time now);
  // Idempotent. FAILED_PRECONDITION: not the site's PREPARE task. INVALID_ARGUMENT: no such cohort.
  absl::Status OnCohortReport(const CohortRecord& report, absl::string_view task_id,
                              absl::Time now, Step& step);
  absl::Status OnUpdateVerified(absl::string_view site, VerifiedUpdate update, absl::Time now,
                                Step& step);
  absl::Status OnUpdateRefused(absl::string_view site, absl::string_view reason, absl::Time now,
                               Step& step);
  // The site cannot do this task; it is not asked for it again. Idempotent. FAILED_PRECONDITION: it
  // is not awaited. INVALID_ARGUMENT: the reason is not a short plain text.
  absl::Status OnDeclined(absl::string_view site, absl::string_view task_id,
                          absl::string_view reason, absl::Time now, Step& step);
  // Nothing more is awaited from it. What a revoked site gave, OnTime takes out of an open round.
  void OnSiteGone(absl::string_view site, absl::string_view reason, absl::Time now, Step& step);
  // The round's model is on disk. Returns the version to commit in the same batch.
  // FAILED_PRECONDITION: the round ended meanwhile; the file is not needed.
  absl::StatusOr<VersionRecord> OnModelReady(const NewModel& model, absl::Time now, Step& step);
  // A model from outside becomes the next version, so only where no task and no round could still
  // build on another: the study has ended, or is paused between rounds. The number it would get, or
  // FAILED_PRECONDITION with the reason.
  absl::StatusOr<int64_t> NextImport() const;
  // `number` as of NextImport; ABORTED: it is another by now.
  absl::StatusOr<VersionRecord> OnImport(const NewModel& model, int64_t number,
                                         absl::string_view reason, absl::Time now, Step& step);
  void OnAggregationFailed(absl::string_view reason, absl::Time now, Step& step);
  // Accepted updates turned out to be lost: they are awaited again, with some time left.
  // FAILED_PRECONDITION: the round has ended.
  absl::Status OnUpdatesLost(const std::vector<std::string>& task_ids, absl::Time now, Step& step);
  // Key agreement and unmasking of a masked round (study_masking.cc): NOT_FOUND: the site has no such
  // task. Otherwise the errors of MaskedRound.
  struct AgreeKeys {
    SiteKeys keys;
    std::optional<secagg::ShareMessage> shares;
  };
  // Whether OnAgreeKeys has something to hear; without, only the answer may be new.
  bool AwaitsKeys(absl::string_view site, absl::string_view task_id, const AgreeKeys& said) const;
  absl::Status OnAgreeKeys(absl::string_view site, absl::string_view task_id,
                           const AgreeKeys& said, const MaskedRound::Verifier& verify,
                           Step& step);
  // FAILED_PRECONDITION: the task is no longer awaited.
  absl::StatusOr<MaskedRound::Agreement> AgreementFor(absl::string_view site,
                                                      absl::string_view task_id) const;
  absl::Status OnConsent(absl::string_view site, absl::string_view task_id,
                         const secagg::Consent& consent, Step& step);
  absl::Status OnReveal(absl::string_view site, absl::string_view task_id,
                        const secagg::RevealMessage& message, absl::Time now, Step& step);
  const std::optional<MaskedRound>& masked() const { return masked_; }
  // Idempotent. INVALID_ARGUMENT: too many cases, a Dice value outside 0..1; the site is then
  // recorded as missing (the one error that has to be persisted), so that it does not try for ever.
  absl::Status OnEvaluationReport(absl::string_view site, absl::string_view task_id,
                                  std::vector<CaseDiceRecord> cases, absl::Time now, Step& step);

  // What the site should do now, if anything. The same task until its result is here.
  std::optional<SiteTask> TaskFor(absl::string_view site, absl::Time now) const;
  // Whether the result of this task would still be taken. A pause does not end a task.
  bool Awaits(absl::string_view site, absl::string_view task_id, absl::Time now) const;
  // Whether the site should keep this task's result: it is awaited, or was accepted and is not yet in a
  // version.
  bool Needs(absl::string_view site, absl::string_view task_id, absl::Time now) const;
  // Whether the study's present round or evaluation, or its preparation, has this task.
  bool KnowsTask(absl::string_view site, absl::string_view task_id) const;
  // OK: exactly this update is awaited now. ALREADY_EXISTS: the task's update was accepted.
  // UNAVAILABLE: it is awaited, but not at the moment. FAILED_PRECONDITION: it is not.
  absl::Status CheckOffer(const Offer& offer, absl::Time now) const;
  // Nothing was heard of the site for the study's lease.
  bool IsSilent(absl::string_view site, absl::Time now) const;
  // It is heard of, but its counters stand still for the study's `stall`.
  bool IsStalled(absl::string_view site, absl::Time now) const;
  // Rounds whose staged uploads are still needed.
  std::set<int64_t> StagedRounds() const;
  // What an active study waits for, in words; empty: nothing out of the ordinary. Not durable.
  const std::string& waiting() const { return waiting_; }
  // Effects of a round that was under way when the process ended.
  std::vector<StudyEffect> Resume() const;
  // The id of a task that this study gave or gives to the site; kinds and rounds never share one.
  std::string TaskId(TaskKind kind, int64_t number, absl::string_view site) const;

 private:
  StudyRun(StudyRecord record, StudySpec spec);
  bool buffered() const { return spec_.strategy == Strategy::kFedBuff; }
  std::string Lacks(const SiteView& site) const;
  bool ended() const;
  // `model` as version `number`, made from the latest one.
  VersionRecord NextVersion(const NewModel& model, int64_t number, absl::string_view origin,
                            absl::Time now) const;
  bool IsTrainer(const CohortRecord& cohort) const;
  // Why the site's data cannot be trained on; empty: it can.
  std::string CannotTrain(const CohortRecord& cohort) const;
  std::string SkipReason(const CohortRecord& cohort, const SiteView* site) const;
  bool CanInitialise(const CohortRecord& cohort, const std::vector<SiteView>& sites) const;
  bool TakesCohort(absl::string_view site) const;
  // The open round has at least kRestartWindow left, or the whole deadline if that is shorter.
  void LeaveTime(absl::Time now);
  // The time as deadlines see it: it stands still in a pause.
  absl::Time DeadlineTime(absl::Time now) const;
  void DropUnapproved(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  void DropRevoked(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  void OnEvaluationTime(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  void AddAbsentEvaluators(bool last, EvaluationRecord& evaluation, Step& step) const;
  void MarkMissing(SiteEvaluationRecord& entry, absl::string_view reason, Step& step) const;
  int64_t WeightMilli(int64_t labelled, int64_t unlabelled, const CohortRecord& cohort) const;
  void FinishPreparing(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  absl::StatusOr<MaskedRound> OpenMasking(const std::vector<Round::Invitee>& invitees,
                                          absl::Time now) const;
  void OnMaskingTime(absl::Time now, Step& step);
  void StartUnmasking(absl::Time now, Step& step);
  void FinishUnmasking(absl::Time now, Step& step);
  void OnUnmaskingDeclined(absl::string_view site, absl::string_view reason, absl::Time now,
                           Step& step);
  void EndMasking(Step& step);
  std::optional<SiteTask> UnmaskingTaskFor(absl::string_view site, absl::Time now) const;
  bool AwaitsUnmasking(absl::string_view site, absl::string_view task_id) const;
  AuditFacts MaskingFacts(absl::string_view action, absl::string_view site) const;
  void OpenInitialisation(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  void OpenRound(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  // Who is asked, and who is not and why.
  std::vector<Round::Invitee> Invitees(const std::vector<SiteView>& sites) const;
  std::string AbsentRequired(const std::vector<Round::Invitee>& invitees) const;
  int64_t AwaitedCount() const;
  // Whether so many updates and a version fit; else says so, and audits it once.
  bool HasRoom(int64_t updates, Step& step);
  bool WarmingUp(const std::vector<SiteView>& sites) const;
  // Asynchronous studies (study_buffer.cc).
  void OpenBuffer(const std::vector<Round::Invitee>& invitees, absl::Time now, Step& step);
  void GiveTasks(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  int64_t Staleness(const ContributionRecord& contribution) const;
  ContributionRecord NewTask(const std::string& site, int64_t weight_max_milli) const;
  bool AwaitsCarried(const ContributionRecord& contribution) const;
  void EndCarried(absl::string_view reason, Step& step);
  DropUploads UploadsToDrop() const;
  // Why nothing is to be expected of the site now: silent or stalled. Empty: it works.
  std::string WhyIdle(absl::string_view site, absl::Time now) const;
  void OnSilence(const std::vector<SiteView>& sites, absl::Time now, Step& step);
  void OpenEvaluation(absl::Time now, Step& step);
  void SettleEvaluation(absl::Time now, Step& step);
  void AfterCommit(absl::Time now, Step& step);
  void Apply(const RoundEffects& effects, absl::Time now, Step& step);
  void OnRoundFailed(absl::string_view reason, absl::Time now, Step& step);
  void Enter(Stage stage, absl::Time now);
  void End(StudyState state, absl::string_view reason, Step& step);
  AuditFacts Facts(absl::string_view action) const;
  SiteTask MakeTask(TaskKind kind, absl::string_view site) const;

  StudyRecord record_;
  StudySpec spec_;
  uint32_t needs_ = 0;
  // The plan until it is fixed, made once: every site asks for it.
  struct Provisional {
    std::string json;
    std::string sha256;
  };
  std::shared_ptr<const Provisional> provisional_;
  std::optional<Round> round_;
  std::optional<MaskedRound> masked_;  // of round_, where that is masked and under way
  std::optional<EvaluationRecord> evaluation_;
  std::string federation_;
  // Not durable; each OnTime sets the first two anew.
  std::vector<SiteView> sites_;
  std::string waiting_;
  std::optional<uint64_t> room_;
  bool wants_room_ = false;  // and it was audited
  std::map<std::string, absl::Time, std::less<>> prepared_;  // when a site last reported its cohort
  absl::Time leases_from_ = absl::InfiniteFuture();  // no lease and no stall began earlier
};

// One change of a study: time, the event, and what time makes of that. Returns the event's error.
absl::Status TakeTurn(StudyRun& run, const std::vector<SiteView>& sites, absl::Time now, Step& step,
                      const std::function<absl::Status(StudyRun& run, Step& step)>& event);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_RUN_H_
