// Drives the studies: gives the pure StudyRun its time, persists what it says, does what it asks.
//
// Order: Create (which takes up what was under way), then any call; Tick() from a timer, at least
// once a second; Drain() before destruction. Thread-safe.
//
// Threads: `turn_` orders the changes; a change copies the study, applies the event, commits one
// small synced batch and puts the copy in place. Readers wait only for `mutex_`, which is never held
// across I/O. Checks of updates run on the caller's thread, aggregation on one worker thread, and held
// questions are answered on another, all without a lock.
//
// Errors: NOT_FOUND: no such study. FAILED_PRECONDITION: the round has moved on, ask for the next
// task. INVALID_ARGUMENT: the bytes are wrong. UNAVAILABLE: try again, nothing is lost.
#ifndef CONSILIUM_COORDINATOR_ROUND_FEDERATION_DRIVER_H_
#define CONSILIUM_COORDINATOR_ROUND_FEDERATION_DRIVER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/round/aggregation_worker.h"
#include "coordinator/round/liveness.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/round/study_run.h"
#include "coordinator/round/task_waiters.h"
#include "coordinator/round/upload.h"
#include "coordinator/store/model_store.h"
#include "coordinator/store/store.h"
#include "privacy/crypto/hpke.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kTaskWaitMax = absl::Seconds(30);
inline constexpr absl::Duration kWaitSlice = absl::Milliseconds(500);  // how soon a gone caller is noticed
inline constexpr size_t kStudiesMax = 1000;
inline constexpr const char* kImportFolder = ".import";  // in staging; no study can have this name

// Who an administrator's change is recorded under.
struct Caller {
  std::string name;
  std::string role;
};
const Caller& CoordinatorCaller();

// A study at one moment.
struct StudyView {
  std::shared_ptr<const StudyRun> run;
  std::map<std::string, SiteProgress> progress;  // by site
  uint64_t revision = 0;                         // of all studies; grows with each change
  absl::Time now;                                // as the study sees it
};

class FederationDriver {
 public:
  struct Options {
    std::string federation;
    std::string staging_folder;
    uint64_t upload_bytes_max = uint64_t{4} << 30;
    uint64_t uploads_in_flight_bytes_max = uint64_t{4} << 30;  // announced, of those that move
    uint64_t disk_floor_bytes = 0;  // free space below which no training and no upload begins
    Metrics* metrics = nullptr;  // where events are counted, if anywhere; must outlive the driver
  };
  // Store, models, sites and clock must outlive it. DATA_LOSS: stored studies do not read.
  static absl::StatusOr<std::unique_ptr<FederationDriver>> Create(Options options,
                                                                  privacy::HpkeKeyPair sealing_key,
                                                                  Store& store, ModelStore& models,
                                                                  SiteRegistry& sites,
                                                                  const Clock& clock);
  ~FederationDriver();

  // Deadlines and what waits for sites.
  void Tick();
  // No more tasks; returns when what is queued is done.
  void Drain();
  bool draining() const;

  // --- for sites ---
  // Calls `answer` once: as soon as there is a task for the site, or with none after `wait` (at most
  // kTaskWaitMax), when the driver drains, or after CancelAsk. The oldest task of all studies; a site
  // does one at a time. Returns what CancelAsk takes; 0 if it was answered on the spot.
  uint64_t AskTask(absl::string_view site, absl::Duration wait, TaskAnswer answer);
  // Thread-safe at any time; nothing happens if it was answered.
  void CancelAsk(uint64_t id);
  // Of these tasks those whose result the site need not keep any longer.
  std::vector<std::string> EndedTasks(absl::string_view site,
                                      std::vector<std::string> task_ids) const;
  absl::Status ReportCohort(const CohortRecord& report, absl::string_view task_id);
  absl::Status ReportEvaluation(absl::string_view site, absl::string_view task_id,
                                const std::vector<CaseDiceRecord>& cases);
  // Also the task's heartbeat. FAILED_PRECONDITION: it is no longer awaited.
  absl::Status ReportProgress(absl::string_view site, const SiteProgress& progress);
  // The site cannot do the task; see StudyRun::OnDeclined.
  absl::Status Decline(absl::string_view site, absl::string_view task_id,
                       absl::string_view reason);
  // Something was heard of the site's work: its leases begin anew. Cheap. The calls above and below
  // see to it themselves.
  void SignOfLife(absl::string_view site);
  // We see ourselves that its work goes on, such as an update that is being checked: its counters have
  // moved, too.
  void SignOfProgress(absl::string_view site);
  // What the site works on, if its program counts.
  std::optional<Liveness::Work> WorkOf(absl::string_view site) const;
  // The shortest lease of the active studies, for a site that has no task yet.
  absl::Duration ShortestLease() const;
  // A registered model; pinned while the reader lives. NOT_FOUND: none, or its weights are gone.
  absl::StatusOr<ModelReader> OpenModel(absl::string_view sha256);
  void CountBytes(absl::string_view site, int64_t up, int64_t down);

  // Tells what the site has for its masked round's key agreement (`said`), and how far that is.
  // Cheap where nothing is new, so a site may ask often. NOT_FOUND: no such task. Others: of MaskedRound.
  absl::StatusOr<MaskedRound::Agreement> AgreeKeys(absl::string_view site,
                                                   absl::string_view task_id,
                                                   const StudyRun::AgreeKeys& said,
                                                   const MaskedRound::Verifier& verify);
  // Names of the sites that agree on keys with the site, ascending. NOT_FOUND: no such task.
  // FAILED_PRECONDITION: they are not known yet.
  absl::StatusOr<std::vector<std::string>> MaskingRoster(absl::string_view site,
                                                         absl::string_view task_id) const;
  absl::Status Consent(absl::string_view site, absl::string_view task_id,
                       const secagg::Consent& consent);
  absl::Status Reveal(absl::string_view site, absl::string_view task_id,
                      const secagg::RevealMessage& message);

  struct UploadPosition {
    std::string upload_id;
    uint64_t have_offset = 0;
  };
  // ALREADY_EXISTS: another update of this task was accepted. RESOURCE_EXHAUSTED: too many bytes are
  // on their way, or the disk is nearly full; later there is room.
  absl::StatusOr<UploadPosition> BeginUpload(const Announcement& announcement);
  // The site's upload. FAILED_PRECONDITION: begin it (again) first.
  absl::StatusOr<std::shared_ptr<Upload>> FindUpload(absl::string_view site,
                                                     absl::string_view upload_id) const;
  struct UploadAnswer {
    bool accepted = false;
    std::string reason;
  };
  absl::StatusOr<UploadAnswer> CommitUpload(absl::string_view site, absl::string_view upload_id);
  // Suspended or revoked: nothing more is awaited from it.
  void OnSiteGone(absl::string_view site, absl::string_view reason);
  // Updates on their way that are not committed.
  struct UploadTotals {
    uint64_t count = 0;
    uint64_t received_bytes = 0;
  };
  UploadTotals UploadsUnderWay() const;
  const std::string& sealing_public_key() const { return sealing_key_.public_key; }

  // The disk that updates and models go to, in bytes.
  struct Space {
    uint64_t free = 0;   // for us: what is kept back for root does not count
    uint64_t total = 0;
    uint64_t floor = 0;  // below it no training and no upload begins
    bool low() const { return free < floor; }
  };
  absl::StatusOr<Space> MeasureSpace() const;

  // --- for administrators ---
  absl::StatusOr<StudyView> CreateStudy(const std::string& yaml, const Caller& caller);
  absl::StatusOr<StudyView> ControlStudy(absl::string_view study, absl::string_view action,
                                         absl::string_view reason, const Caller& caller);
  // federation_import.cc: a safetensors file becomes the next version of the study. The stored file
  // carries the study's plan and the version's name, so its digest is not the given file's.
  struct Import {
    std::string study;
    std::string reason;
    std::string path;    // of the file
    std::string sha256;  // of the file; goes to the audit log
  };
  // INVALID_ARGUMENT: not a safetensors file of the study's layout, or a value is not finite.
  // FAILED_PRECONDITION: see StudyRun::NextImport.
  absl::StatusOr<VersionRecord> ImportModel(const Import& import, const Caller& caller);
  absl::Status CheckImport(absl::string_view study) const;
  // A new file's name in a folder that is emptied at start.
  absl::StatusOr<std::string> ImportPath() const;
  absl::StatusOr<StudyView> GetStudy(absl::string_view study) const;
  std::vector<StudyView> ListStudies() const;
  // Returns when the revision is past `seen` or after `wait`.
  void WaitForChange(uint64_t seen, absl::Duration wait) const;

 private:
  using Event = std::function<absl::Status(StudyRun& run, Step& step, Batch& batch, absl::Time now)>;
  using RunPtr = std::shared_ptr<const StudyRun>;

  FederationDriver(Options options, privacy::HpkeKeyPair sealing_key, Store& store,
                   ModelStore& models, SiteRegistry& sites, const Clock& clock);
  absl::Status Load();
  absl::Time Now() const;
  RunPtr Find(absl::string_view study) const;
  // The study whose present round, evaluation or preparation has the task; nullptr: none.
  RunPtr FindTask(absl::string_view site, absl::string_view task_id) const;
  std::vector<RunPtr> Runs() const;
  std::vector<RunPtr> RunsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The one way a study changes. The event's error is returned; time's own changes are kept.
  absl::Status Change(absl::string_view study, const Caller& caller, const Event& event);
  // `before`: what is stored of the study; nullptr: nothing yet.
  absl::Status Persist(const StudyRun* before, const StudyRun& run, Step& step,
                       const Caller& caller, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  void CountRounds(const Step& step);
  void Publish(StudyRun run, bool changed) ABSL_LOCKS_EXCLUDED(mutex_);
  void Execute(const StudyRun& run, const std::vector<StudyEffect>& effects);
  absl::StatusOr<MadeModel> ReadImport(const Import& import, const StudyRun& run, int64_t number);
  LostUpdates MissingUpdates(const StudyRun& run) const;
  void AskAgain(const AggregationWorker::Context& context, const StudyRun& run,
                const LostUpdates& lost);
  void TryAgain(const AggregationWorker::Context& context, const absl::Status& refused);
  absl::StatusOr<std::variant<MadeModel, LostUpdates>> MakeModel(
      AggregationWorker::Context context, const StudyRun& run,
      const std::vector<FoldUpdate>& accepted);
  void RunAggregate(const AggregationWorker::Context& context);
  void DropRound(const std::string& study, const DropUploads& drop);
  std::vector<SiteView> SiteViews() const ABSL_LOCKS_EXCLUDED(mutex_);
  StudyView ViewOf(const RunPtr& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Room for uploads (federation_space.cc).
  void WatchSpace();
  // What is free above the floor, less what the rounds of other studies may still write.
  std::optional<uint64_t> RoomFor(absl::string_view study) const ABSL_LOCKS_EXCLUDED(mutex_);
  void WatchUploads();
  absl::Status Admit(const Announcement& announcement) const;

  // Held questions (federation_asking.cc).
  std::optional<SiteTask> TaskNow(const std::vector<RunPtr>& runs, absl::string_view site) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  void ScheduleWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeWaiters();
  void SweepNow();
  void ExpireWaiters(absl::Duration now);

  // Uploads (federation_uploads.cc).
  absl::Status CheckShape(const StudyRun& run, const Announcement& announcement) const;
  absl::StatusOr<aggregation::UpdateFacts> CheckContent(Upload& upload, const StudyRun& run) const;
  absl::StatusOr<UploadAnswer> Settle(const Upload& upload,
                                      const absl::StatusOr<aggregation::UpdateFacts>& verdict);
  absl::StatusOr<std::shared_ptr<Upload>> OpenUpload(const Announcement& announcement);

  const Options options_;
  const privacy::HpkeKeyPair sealing_key_;
  Store& store_;
  ModelStore& models_;
  SiteRegistry& sites_;
  const Clock& clock_;
  const absl::Time started_;            // wall clock and monotonic clock at the start: deadlines
  const absl::Duration started_steady_;  // follow the latter
  const Staging staging_;
  AggregationWorker worker_;  // used by pool_'s only thread

  absl::Mutex turn_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  std::map<std::string, RunPtr, std::less<>> studies_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::map<std::string, SiteProgress>> progress_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Upload>, std::less<>> uploads_ ABSL_GUARDED_BY(mutex_);
  Liveness liveness_ ABSL_GUARDED_BY(mutex_);
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 1;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  TaskWaiters waiters_ ABSL_GUARDED_BY(mutex_);
  bool low_on_space_ ABSL_GUARDED_BY(mutex_) = false;
  bool wake_scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration swept_ ABSL_GUARDED_BY(mutex_);

  ThreadPool waker_;  // answers held questions; after pool_ in life, which schedules on it

  ThreadPool pool_;  // last: joined before anything its work uses goes
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_FEDERATION_DRIVER_H_
