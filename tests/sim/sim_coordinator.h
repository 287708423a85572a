// The coordinator of a simulated federation: the real StudyRun in the driver's steps, over a disk that
// takes a batch whole or not at all and a process that may die before or after each one.
#ifndef CONSILIUM_TESTS_SIM_SIM_COORDINATOR_H_
#define CONSILIUM_TESTS_SIM_SIM_COORDINATOR_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "aggregation/weighted_mean.h"
#include "coordinator/round/liveness.h"
#include "coordinator/round/study_run.h"
#include "coordinator/round/upload.h"
#include "tests/sim/world.h"

namespace consilium::sim {

using Values = std::vector<float>;

// A planted fault of the program, which a run has to find.
enum class Bug {
  kNone,
  kFoldTwice,
  kForgetAccepted,
  kNoDiscount,
  kIgnoreLost,
  kKeepRevoked,
  kForgetAgreement,  // masked rounds: what a site said is not stored
  kMaskTwice,        // masked rounds: a site masks another update with the same keys
};

// An update as it lies in staging: its values, or its masked words.
struct Staged {
  Values values;
  std::vector<uint32_t> words;
};

// What survives a crash.
struct Disk {
  std::map<std::string, coordinator::StudyRecord> studies;
  std::map<std::pair<std::string, int64_t>, coordinator::RoundRecord> rounds;
  std::map<std::pair<std::string, int64_t>, coordinator::EvaluationRecord> evaluations;
  std::map<std::string, coordinator::UploadRecord> uploads;
  std::map<std::tuple<std::string, int64_t, std::string>, coordinator::AgreementRecord> agreements;
  std::map<std::string, std::vector<coordinator::VersionRecord>> versions;  // by study
  std::map<std::string, Values> models;                                    // by digest
  std::map<std::tuple<std::string, int64_t, std::string>, Staged> staged;  // study, round, upload
  std::vector<coordinator::AuditFacts> audit;
  std::map<std::string, bool> approved;  // by site
  uint64_t commits = 0;
};

class SimCoordinator {
 public:
  SimCoordinator(World& world, Bug bug) : world_(world), bug_(bug) {}

  void Approve(const std::string& site) { disk_.approved[site] = true; }
  // A study as StudyRun::Create made it.
  void Add(coordinator::StudyRun study);
  bool up() const { return up_; }
  const Disk& disk() const { return disk_; }
  const coordinator::StudyRun* Run(const std::string& study) const;
  // Upload ids that were answered with `accepted`, with their study.
  const std::map<std::string, std::string>& acknowledged() const { return acknowledged_; }

  void Tick();
  void Crash();
  void Control(const std::string& study, const std::string& action);
  void Revoke(const std::string& site);

  // What sites call; each runs when the request arrives. UNAVAILABLE while it is down.
  struct NextAnswer {
    std::optional<coordinator::SiteTask> task;
    std::vector<std::string> ended;  // of the spooled task ids
  };
  absl::StatusOr<NextAnswer> NextTask(const std::string& site,
                                      const std::vector<std::string>& spooled);
  absl::Status ReportCohort(const coordinator::CohortRecord& report, const std::string& task_id);
  absl::Status ReportEvaluation(const std::string& site, const std::string& task_id,
                                const std::vector<coordinator::CaseDiceRecord>& cases);
  absl::Status ReportProgress(const std::string& site, const coordinator::SiteProgress& progress);
  absl::Status Decline(const std::string& site, const std::string& task_id);
  absl::Status Upload(const coordinator::Announcement& announcement, const Staged& staged);
  absl::StatusOr<coordinator::MaskedRound::Agreement> AgreeKeys(
      const std::string& site, const std::string& task_id,
      const coordinator::StudyRun::AgreeKeys& said);
  absl::Status Consent(const std::string& site, const std::string& task_id,
                       const secagg::Consent& consent);
  absl::Status Reveal(const std::string& site, const std::string& task_id,
                      const secagg::RevealMessage& message);
  absl::StatusOr<bool> CommitUpload(const coordinator::Announcement& announcement);

 private:
  struct Writes {
    std::vector<coordinator::UploadRecord> uploads;
    std::vector<std::string> deleted_uploads;
    std::vector<coordinator::VersionRecord> versions;
    std::vector<std::pair<std::string, Values>> models;
  };
  using Event =
      std::function<absl::Status(coordinator::StudyRun&, coordinator::Step&, Writes&, absl::Time)>;
  struct MadeModel {
    Values values;
    std::vector<std::string> lost;  // task ids; not empty: there is no model
  };

  absl::Status Change(const std::string& study, const Event& event);
  absl::Status Commit(const coordinator::StudyRun& run, coordinator::Step& step, Writes& writes);
  void Execute(const std::string& study, const std::vector<coordinator::StudyEffect>& effects);
  void Queue(std::function<void()> work);
  void Aggregate(const std::string& study, int64_t round);
  MadeModel MakeModel(const std::string& study, int64_t round,
                      const std::vector<coordinator::FoldUpdate>& accepted);
  MadeModel MakeMaskedModel(const coordinator::StudyRun& run,
                            const std::vector<coordinator::FoldUpdate>& accepted);
  void AskAgain(const std::string& study, int64_t round, const std::vector<std::string>& lost);
  void Drop(const std::string& study, const coordinator::DropUploads& drop);
  void Restart();
  absl::Status Heard(const std::string& site);
  std::vector<coordinator::SiteView> Views() const;

  World& world_;
  const Bug bug_;
  Disk disk_;
  std::map<std::string, std::string> acknowledged_;  // the test's knowledge, not the program's

  // Lost in a crash.
  bool up_ = true;
  uint64_t life_ = 0;
  std::map<std::string, std::shared_ptr<const coordinator::StudyRun>> runs_;
  std::map<std::string, absl::Time> heard_;
  coordinator::Liveness liveness_;
  absl::Time worker_free_ = absl::InfinitePast();
};

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_SIM_COORDINATOR_H_
