#include "site_agent/round/round_driver.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "gtest/gtest.h"
#include "proto/wire/retry.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/round/task_monitor.h"

namespace consilium::agent {
namespace {

class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + passed; }
  absl::Duration Monotonic() const override { return passed; }
  absl::Duration passed = absl::ZeroDuration();
};

// A coordinator that awaits one update after the other, and fails where a test says so.
class FakeFederation final : public Federation {
 public:
  absl::Status Hello() override {
    ++hellos;
    return Fail("hello");
  }
  absl::StatusOr<NextAnswer> NextTask(absl::Duration,
                                      const std::vector<std::string>& spooled) override {
    offered = spooled;
    if (absl::Status s = Fail("next"); !s.ok()) return s;
    NextAnswer answer;
    for (const std::string& id : spooled) {
      if (rounds_end && id != Id(awaited)) answer.ended_task_ids.push_back(id);
    }
    if (awaited > rounds) {
      if (on_idle) on_idle();
      return answer;
    }
    SiteTask task;
    task.task_id = Id(awaited);
    task.kind = kind;
    task.study = "hippo";
    task.round = awaited;
    answer.task = task;
    return answer;
  }
  absl::Status ReportCohort(const std::string&, const CohortSummary&) override {
    return absl::OkStatus();
  }
  absl::Status DownloadModel(const ModelRef&, const std::string&, const ByteProgress&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<UploadOutcome> Upload(const TaskKey& task, const UpdateOffer& offer,
                                       const std::string& path,
                                       const ByteProgress& progress) override {
    if (absl::Status s = Fail("upload"); !s.ok()) return s;
    EXPECT_EQ(*privacy::Sha256HexOfFile(path), offer.sha256);
    if (progress) progress(offer.bytes, offer.bytes);
    if (task.round == awaited) {
      accepted.push_back(task.task_id);
      ++awaited;
    }
    if (absl::Status s = Fail("reply"); !s.ok()) return s;  // taken, but the answer is lost
    return UploadOutcome{true, ""};
  }
  absl::Status ReportProgress(const TaskProgress& progress) override {
    phases.push_back(progress.phase);  // on the monitor's thread, which ends with the upload
    return absl::OkStatus();
  }
  absl::Status ReportEvaluation(const std::string&, const EvaluationResult&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<AgreementReply> AgreeKeys(const std::string&, const SiteKeys&,
                                           const SiteShares*) override {
    return absl::UnimplementedError("no secure aggregation here");
  }
  absl::Status SubmitConsent(const std::string& task_id, const ConsentResult& result) override {
    if (absl::Status s = Fail("consent"); !s.ok()) return s;
    accepted.push_back(task_id + " " + result.consent.site);
    ++awaited;
    return absl::OkStatus();
  }
  absl::Status SubmitReveal(const std::string& task_id, const RevealResult& result) override {
    if (absl::Status s = Fail("reveal"); !s.ok()) return s;
    accepted.push_back(task_id + " " + result.shares.front().of);
    ++awaited;
    return absl::OkStatus();
  }

  absl::Status Decline(const std::string& task_id, const std::string& reason) override {
    if (absl::Status s = Fail("decline"); !s.ok()) return s;
    declined.push_back(task_id + ": " + reason);
    ++awaited;
    return absl::OkStatus();
  }

  std::function<absl::Status(const std::string& where)> fail;
  std::function<void()> on_idle;
  int64_t rounds = 1;
  int64_t awaited = 1;
  TaskKind kind = TaskKind::kTrain;
  bool rounds_end = true;  // as soon as their update is taken
  int hellos = 0;
  std::vector<std::string> accepted;
  std::vector<std::string> declined;
  std::vector<std::string> offered;
  std::vector<TaskPhase> phases;

 private:
  static std::string Id(int64_t round) { return "train/" + std::to_string(round); }
  absl::Status Fail(const std::string& where) { return fail ? fail(where) : absl::OkStatus(); }
};

// A home whose agent can be started as often as a test likes.
class AgentHarness {
 public:
  AgentHarness() : home_(*TempDir::Create("driver")) {
    remote.on_idle = [this] { stop = true; };
  }

  absl::Status RunUntilStopped() {
    stop = false;
    auto spool = Spool::Open(home_.path());
    if (!spool.ok()) return spool.status();
    const auto work = [&](const SiteTask& task) -> absl::StatusOr<FinishedTask> {
      worked.push_back(task.task_id);
      if (work_fails > 0) {
        --work_fails;
        return work_error;
      }
      auto finished = Work(*spool, task);
      if (after_work) after_work(spool->UpdatePath(task.task_id));
      return finished;
    };
    DriverOptions options;
    options.delay = [this](int failures) {
      waits.push_back(failures);
      return absl::Seconds(failures);
    };
    options.sleep = [this](absl::Duration duration) {
      clock.passed += duration;
      if (on_sleep) on_sleep();
      slept.push_back(duration);
      return !stop.load() && ++sleeps < 1000;
    };
    options.uniform = [this] { return uniform; };
    options.accepted = [this](const TaskKey& task) { accepted.push_back(task.task_id); };
    options.discarded = [this](const Discard& discard) { discarded.push_back(discard.task_id); };
    RoundDriver driver(remote, *spool, work, clock, stop, options);
    return driver.Run();
  }

  FakeFederation remote;
  FakeClock clock;
  std::atomic<bool> stop{false};
  std::vector<std::string> worked;
  std::vector<std::string> accepted;  // as the driver's owner hears of it
  std::vector<std::string> discarded;
  std::vector<int> waits;
  std::function<void(const std::string& update_path)> after_work;
  std::function<void()> on_sleep;
  int work_fails = 0;
  absl::Status work_error = absl::InternalError("planted");
  int sleeps = 0;
  std::vector<absl::Duration> slept;
  double uniform = 0;

 private:
  static absl::StatusOr<FinishedTask> Work(Spool& spool, const SiteTask& task) {
    if (task.kind == TaskKind::kConsent) {
      return FinishedTask{KeyOf(task), ConsentResult{{"site-a", "\7", "signature"}}};
    }
    if (task.kind == TaskKind::kReveal) {
      return FinishedTask{KeyOf(task),
                          RevealResult{{{"site-b", RevealedShare::Secret::kSelfSeed, "share"}}}};
    }
    const std::string bytes = "sealed " + task.task_id;
    if (auto folder = spool.BeginWork(task.task_id); !folder.ok()) return folder.status();
    if (absl::Status s = WriteFileAtomic(spool.UpdatePath(task.task_id), bytes); !s.ok()) return s;
    UpdateOffer offer;
    offer.bytes = bytes.size();
    offer.sha256 = privacy::Sha256Hex(bytes);
    return FinishedTask{KeyOf(task), offer};
  }

  TempDir home_;
};

using Ids = std::vector<std::string>;

TEST(RoundDriverTest, RoundsGoByOnceEach) {
  AgentHarness agent;
  agent.remote.rounds = 3;
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked, (Ids{"train/1", "train/2", "train/3"}));
  EXPECT_EQ(agent.remote.accepted, agent.worked);
  EXPECT_EQ(agent.remote.hellos, 1);
}

TEST(RoundDriverTest, ConsentsAndRevealedSharesAreDeliveredOnceMadeHoweverOftenItTakes) {
  for (const TaskKind kind : {TaskKind::kConsent, TaskKind::kReveal}) {
    AgentHarness agent;
    agent.remote.kind = kind;
    int failed = 0;
    agent.remote.fail = [&](const std::string& at) {
      return at == TaskKindName(kind) && ++failed <= 2 ? absl::UnavailableError("away")
                                                       : absl::OkStatus();
    };
    ASSERT_TRUE(agent.RunUntilStopped().ok());
    EXPECT_EQ(agent.worked, Ids{"train/1"});
    EXPECT_EQ(agent.remote.accepted,
              Ids{kind == TaskKind::kConsent ? "train/1 site-a" : "train/1 site-b"});
    EXPECT_EQ(agent.discarded, Ids{"train/1"});
  }
}

TEST(RoundDriverTest, AgentComesBackWhenItWasToldToWithJitterAndNeverMuchLater) {
  const struct {
    absl::Duration told;
    double uniform;
    absl::Duration waits;
  } cases[] = {
      {absl::Seconds(40), 0, absl::Seconds(40)},
      {absl::Seconds(40), 0.5, absl::Seconds(50)},
      {absl::ZeroDuration(), 0.5, absl::Seconds(1)},  // no sooner than by itself
      {absl::Hours(1000), 0, wire::kRetryAfterMax},   // nobody parks a site for ever
  };
  for (const auto& c : cases) {
    AgentHarness agent;
    agent.uniform = c.uniform;
    int refused = 0;
    agent.remote.fail = [&](const std::string& at) -> absl::Status {
      if (at != "upload" || ++refused > 1) return absl::OkStatus();
      return wire::WithRetryAfter(absl::ResourceExhaustedError("the disk is nearly full"), c.told);
    };
    ASSERT_TRUE(agent.RunUntilStopped().ok());
    ASSERT_FALSE(agent.slept.empty());
    EXPECT_EQ(agent.slept[0], c.waits);
    EXPECT_EQ(agent.remote.accepted, Ids{"train/1"});
    EXPECT_EQ(agent.worked, Ids{"train/1"}) << "it was not trained again";
  }
}

// Stops the agent at `where`, restarts it, and expects that nothing was trained twice.
void ExpectNoSecondTraining(const std::string& where) {
  AgentHarness agent;
  bool cut = false;
  agent.remote.fail = [&](const std::string& at) -> absl::Status {
    if (cut || at != where) return absl::OkStatus();
    cut = true;
    agent.stop = true;
    return absl::UnavailableError("cut");
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  ASSERT_TRUE(cut);
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked, Ids{"train/1"}) << where;
  EXPECT_EQ(agent.remote.accepted, Ids{"train/1"}) << where;
}

TEST(RoundDriverTest, RestartBeforeTheGreeting) { ExpectNoSecondTraining("hello"); }
TEST(RoundDriverTest, RestartBeforeTheTask) { ExpectNoSecondTraining("next"); }
TEST(RoundDriverTest, RestartWithAFinishedUpdateUploadsIt) { ExpectNoSecondTraining("upload"); }
TEST(RoundDriverTest, RestartAfterALostAnswerDoesNotTrainAgain) {
  ExpectNoSecondTraining("reply");
}

TEST(RoundDriverTest, SpooledResultIsNamedInTheQuestion) {
  AgentHarness agent;
  agent.remote.fail = [&](const std::string& at) -> absl::Status {
    if (at != "upload") return absl::OkStatus();
    agent.stop = true;
    return absl::UnavailableError("cut");
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  agent.remote.fail = [&](const std::string& at) -> absl::Status {
    if (at == "next") agent.stop = true;
    return at == "next" ? absl::UnavailableError("down") : absl::OkStatus();
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.remote.offered, Ids{"train/1"});
}

TEST(RoundDriverTest, CoordinatorThatIsDownForLongIsWaitedFor) {
  AgentHarness agent;
  int failures = 0;
  agent.remote.fail = [&](const std::string&) -> absl::Status {
    return ++failures <= 40 ? absl::UnavailableError("down") : absl::OkStatus();
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked, Ids{"train/1"});
  EXPECT_EQ(agent.remote.accepted, Ids{"train/1"});
  EXPECT_EQ(agent.waits.size(), 40u);
  EXPECT_EQ(agent.waits.back(), 40);
}

TEST(RoundDriverTest, CoordinatorThatGoesAwayAtEveryCallTrainsOnce) {
  AgentHarness agent;
  agent.remote.rounds = 2;
  int calls = 0;
  agent.remote.fail = [&](const std::string&) -> absl::Status {
    return ++calls % 3 == 0 ? absl::OkStatus() : absl::UnavailableError("down");
  };
  agent.sleeps = 0;
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  std::sort(agent.worked.begin(), agent.worked.end());
  EXPECT_EQ(std::unique(agent.worked.begin(), agent.worked.end()), agent.worked.end());
}

TEST(RoundDriverTest, TaskThatFailsIsTriedAgainAfterAPause) {
  AgentHarness agent;
  agent.work_fails = 2;
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked, (Ids{"train/1", "train/1", "train/1"}));
  EXPECT_EQ(agent.waits, (std::vector<int>{1, 2}));
  EXPECT_EQ(agent.remote.accepted, Ids{"train/1"});
}

TEST(RoundDriverTest, ResultThatIsRefusedIsNotMadeAgainInABusyLoop) {
  AgentHarness agent;
  int refused = 0;
  agent.remote.fail = [&](const std::string& at) -> absl::Status {
    if (at != "upload" || ++refused > 6) return absl::OkStatus();
    return absl::InvalidArgumentError("planted");
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked.size(), 7u);
  // And the least time between two questions, once.
  EXPECT_GE(agent.clock.passed, absl::Minutes(1 + 2 + 4 + 8 + 10 + 10));
  EXPECT_LE(agent.clock.passed, absl::Minutes(36));
  EXPECT_EQ(agent.remote.accepted, Ids{"train/1"});
}

TEST(RoundDriverTest, ResultThatCannotBeWrittenIsKeptUntilItCan) {
  AgentHarness agent;
  namespace fs = std::filesystem;
  fs::path in_the_way;  // a folder where the result belongs, as a disk that takes no more
  agent.after_work = [&](const std::string& update_path) {
    in_the_way = fs::path(update_path).parent_path() / "result.json";
    fs::create_directories(in_the_way / "x");
  };
  agent.on_sleep = [&] {
    if (agent.waits.size() == 3) fs::remove_all(in_the_way);
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.waits, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(agent.worked, Ids{"train/1"});
  EXPECT_EQ(agent.remote.accepted, Ids{"train/1"});
}

TEST(RoundDriverTest, WorkThatCannotBeDoneHereIsDeclined) {
  AgentHarness agent;
  agent.remote.rounds = 2;
  agent.work_fails = 1;
  agent.work_error = absl::FailedPreconditionError("a text that stays here");
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.remote.declined, Ids{"train/1: no case of this site fits the study"});
  EXPECT_EQ(agent.remote.accepted, Ids{"train/2"});
}

TEST(RoundDriverTest, TroubleIsTriedThriceAndThenDeclined) {
  AgentHarness agent;
  agent.work_fails = 100;
  agent.work_error = absl::ResourceExhaustedError("disk full");
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.worked.size(), 3u);
  EXPECT_EQ(agent.remote.declined, Ids{"train/1: no space or memory left at the site"});
}

TEST(RoundDriverTest, DeclineThatIsNotHeardIsSaidAgain) {
  AgentHarness agent;
  agent.work_fails = 100;
  agent.work_error = absl::UnimplementedError("planted");
  int lost = 0;
  agent.remote.fail = [&](const std::string& at) -> absl::Status {
    return at == "decline" && ++lost < 3 ? absl::UnavailableError("cut") : absl::OkStatus();
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.remote.declined.size(), 1u);
}

TEST(RoundDriverTest, ResultThatNeverGoesToDiskIsDeclinedInTheEnd) {
  AgentHarness agent;
  agent.after_work = [&](const std::string& update_path) {
    std::filesystem::create_directories(
        std::filesystem::path(update_path).parent_path() / "result.json" / "x");
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.remote.declined, Ids{"train/1: no space or memory left at the site"});
}

// Counts what a monitor sends, and may answer that the result is no longer awaited.
class HeartbeatFederation final : public Federation {
 public:
  absl::Status Hello() override { return absl::OkStatus(); }
  absl::StatusOr<NextAnswer> NextTask(absl::Duration, const std::vector<std::string>&) override {
    return NextAnswer();
  }
  absl::Status ReportCohort(const std::string&, const CohortSummary&) override { return {}; }
  absl::Status DownloadModel(const ModelRef&, const std::string&, const ByteProgress&) override {
    return {};
  }
  absl::StatusOr<UploadOutcome> Upload(const TaskKey&, const UpdateOffer&, const std::string&,
                                       const ByteProgress&) override {
    return UploadOutcome{};
  }
  absl::Status ReportProgress(const TaskProgress& progress) override {
    absl::MutexLock lock(&mutex);
    last = progress;
    ++count;
    return answer;
  }
  absl::Status Decline(const std::string&, const std::string&) override { return {}; }
  absl::Status ReportEvaluation(const std::string&, const EvaluationResult&) override { return {}; }
  absl::StatusOr<AgreementReply> AgreeKeys(const std::string&, const SiteKeys&,
                                           const SiteShares*) override {
    return AgreementReply();
  }
  absl::Status SubmitConsent(const std::string&, const ConsentResult&) override { return {}; }
  absl::Status SubmitReveal(const std::string&, const RevealResult&) override { return {}; }
  void AwaitCount(int least) {
    absl::MutexLock lock(&mutex);
    const auto there = [&] { return count >= least; };
    mutex.Await(absl::Condition(&there));
  }

  absl::Mutex mutex;
  TaskProgress last;
  int count = 0;
  absl::Status answer;
};

TEST(TaskMonitorTest, WorkBesideTheTaskGivesItUpWithItsReason) {
  HeartbeatFederation remote;
  FakeClock clock;
  const std::atomic<bool> stop{false};
  SiteTask task;
  TaskMonitor monitor(task, remote, stop, clock);
  EXPECT_TRUE(monitor.Check().ok());
  EXPECT_FALSE(*monitor.halt());
  monitor.GiveUp(absl::FailedPreconditionError("first"));
  monitor.GiveUp(absl::InternalError("second"));
  EXPECT_TRUE(*monitor.halt());
  EXPECT_EQ(monitor.Check(), absl::FailedPreconditionError("first"));
}

TEST(TaskMonitorTest, HeartbeatsGoOutWithoutProgress) {
  HeartbeatFederation remote;
  FakeClock clock;
  const std::atomic<bool> stop{false};
  SiteTask task;
  task.task_id = "t";
  task.lease = absl::Milliseconds(30);
  TaskMonitor monitor(task, remote, stop, clock);
  monitor.Report(TaskPhase::kTrain, 5, 10, 0.25);
  remote.AwaitCount(4);
  EXPECT_TRUE(monitor.Check().ok());
  absl::MutexLock lock(&remote.mutex);
  EXPECT_EQ(remote.last.phase, TaskPhase::kTrain);
  EXPECT_EQ(remote.last.done, 5);
}

TEST(TaskMonitorTest, HeartbeatsCountWhatAdvancedAndNothingElse) {
  HeartbeatFederation remote;
  FakeClock clock;
  const std::atomic<bool> stop{false};
  SiteTask task;
  task.lease = absl::Milliseconds(30);
  TaskMonitor monitor(task, remote, stop, clock);
  const auto counted = [&](int heartbeats) {
    int seen = 0;
    {
      absl::MutexLock lock(&remote.mutex);
      seen = remote.count;
    }
    remote.AwaitCount(seen + heartbeats);  // the first may have been on its way
    absl::MutexLock lock(&remote.mutex);
    return remote.last.advances;
  };
  monitor.Report(TaskPhase::kTrain, 5, 10);
  const uint64_t stands = counted(2);
  EXPECT_GT(stands, 0u);
  monitor.Report(TaskPhase::kTrain, 5, 10);
  EXPECT_EQ(counted(3), stands) << "a repeat is not progress";
  monitor.Report(TaskPhase::kTrain, 6, 10);
  EXPECT_EQ(counted(2), stands + 1);
  monitor.Advance();
  EXPECT_EQ(counted(2), stands + 2);
}

TEST(TaskMonitorTest, AnswerThatTheResultIsNotAwaitedHaltsTheWork) {
  HeartbeatFederation remote;
  remote.answer = absl::FailedPreconditionError("gone");
  FakeClock clock;
  const std::atomic<bool> stop{false};
  SiteTask task;
  task.lease = absl::Milliseconds(30);
  TaskMonitor monitor(task, remote, stop, clock);
  remote.AwaitCount(2);
  EXPECT_TRUE(monitor.halt()->load());
  EXPECT_TRUE(absl::IsAborted(monitor.Check()));
  EXPECT_EQ(ClassifyWork(monitor.Check()), WorkFailure::kAbandoned);
}

TEST(RoundDriverTest, UploadTellsItsProgress) {
  AgentHarness agent;
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.remote.phases, std::vector<TaskPhase>{TaskPhase::kUpload});
}

TEST(RoundDriverTest, CoordinatorThatAnswersAtOnceIsNotAskedInABusyLoop) {
  AgentHarness agent;
  agent.remote.rounds = 0;
  int asked = 0;
  agent.remote.on_idle = [&] {
    if (++asked == 10) agent.stop = true;
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_GE(agent.clock.passed, absl::Seconds(9));
}

TEST(RoundDriverTest, TheOwnerHearsOfUpdatesThatWereTakenOnly) {
  AgentHarness agent;
  agent.remote.rounds = 2;
  int refusals = 2;
  agent.remote.fail = [&](const std::string& where) {
    return where == "upload" && refusals-- > 0 ? absl::UnavailableError("away") : absl::OkStatus();
  };
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_EQ(agent.accepted, (Ids{"train/1", "train/2"}));
}

TEST(RoundDriverTest, WorkThatSaysWhenToComeBackIsAskedForThen) {
  AgentHarness agent;
  agent.work_fails = 1;
  agent.work_error =
      wire::WithRetryAfter(absl::UnavailableError("not in these hours"), absl::Minutes(4));
  ASSERT_TRUE(agent.RunUntilStopped().ok());
  EXPECT_TRUE(agent.remote.declined.empty());
  ASSERT_FALSE(agent.slept.empty());
  EXPECT_EQ(agent.slept[0], absl::Minutes(4));
  EXPECT_EQ(agent.accepted, (Ids{"train/1"}));
}

}  // namespace
}  // namespace consilium::agent
