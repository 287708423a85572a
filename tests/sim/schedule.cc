#include "tests/sim/schedule.h"

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/sim/checker.h"
#include "tests/sim/sim_site.h"

namespace consilium::sim {
namespace {

constexpr absl::Duration kTick = absl::Seconds(5);
constexpr absl::Duration kFaultsFor = absl::Minutes(3);
constexpr absl::Duration kLongest = absl::Minutes(30);
constexpr absl::Duration kQuietFor = absl::Minutes(2);  // without a change: nobody is left to wait for
constexpr int64_t kStudyFiles = 200;  // for each number of sites
constexpr int64_t kEventsMax = 100'000;

Faults DrawFaults(phantom::Random& random) {
  Faults faults;
  const auto some = [&](double max) { return random.Uniform() < 0.5 ? 0 : random.Uniform(0, max); };
  faults.drop = some(0.2);
  faults.duplicate = some(0.2);
  faults.delay_max = absl::Seconds(random.Uniform() < 0.5 ? 1 : 15);
  faults.crash_at_commit = some(0.1);
  faults.staged_lost = some(0.8);
  faults.site_crash = some(0.03);
  faults.site_hang = some(0.02);
  faults.site_stall = some(0.05);
  faults.spool_lost = some(0.5);
  faults.work_fails = some(0.15);
  return faults;
}

std::string StudyFile(const std::string& name, int64_t sites, Kind kind, phantom::Random& random) {
  const bool masked = kind == Kind::kMasked;
  const int64_t least = masked ? 3 : 1;
  const int64_t min_sites = least + random.Index(sites - least + 1);
  const int64_t quorum = least + random.Index(min_sites - least + 1);
  const bool buffered = !masked && random.Uniform() < 0.4;
  std::string aggregation = absl::StrCat("min_sites: ", min_sites, ", unlabelled_after: ",
                                         random.Index(2));
  std::string required;
  if (buffered) {
    const int64_t buffer = quorum + random.Index(min_sites - quorum + 1);
    absl::StrAppend(&aggregation, ", strategy: fedbuff, buffer: ", buffer,
                    ", staleness_max: ", random.Index(4));
  } else if (random.Uniform() < 0.2) {
    required = ", required: [site0]";
  }
  return absl::StrFormat(
      "name: %s\ntask: {labels: {1: A}}\n"
      "plan: {patch_xyz: [16, 16, 16], strides_xyz: [[1,1,1],[2,2,2]], features: [8,16], "
      "steps_per_round: 10, spacing_xyz_mm: [1, 1, 1]}\n"
      "aggregation: {%s}\nrounds: {count: %d, deadline: %ds, quorum: %d, lease: %ds, stall: %ds}\n"
      "sites: {evaluators: []%s}\nevaluation: {every: %d}\nprotection: %s\n",
      name, aggregation, 1 + random.Index(4), 60 + random.Index(120), quorum,
      10 + random.Index(30), 30 + random.Index(60), required, random.Index(3),
      masked ? "secure-aggregation" : "sealed");
}

// Reading a study file takes longer than the rest of its schedule, so there are only so many.
coordinator::StudyRun DrawStudy(const std::string& name, int64_t sites, Kind kind,
                                phantom::Random& random, absl::Time now) {
  static std::mutex& mutex = *new std::mutex;
  static std::map<std::string, coordinator::StudyRun>& made =
      *new std::map<std::string, coordinator::StudyRun>;
  const std::lock_guard lock(mutex);
  const int64_t variant = random.Index(kStudyFiles);
  const std::string key = absl::StrCat(name, "/", sites, "/", variant, kind == Kind::kMasked ? "/m" : "");
  auto it = made.find(key);
  if (it == made.end()) {
    phantom::Random own(static_cast<uint64_t>(variant), key);
    const std::string yaml = StudyFile(name, sites, kind, own);
    it = made.emplace(key, coordinator::StudyRun::Create(yaml, "run", now).value()).first;
  }
  return it->second;
}

bool RoundIsOpen(const Disk& disk) {
  for (const auto& [name, study] : disk.studies) {
    if (study.stage == coordinator::Stage::kRound || study.stage == coordinator::Stage::kEvaluating ||
        study.stage == coordinator::Stage::kInitialising) {
      return true;
    }
  }
  return false;
}

bool AllEnded(const Disk& disk) {
  for (const auto& [name, study] : disk.studies) {
    if (study.state == coordinator::StudyState::kPreparing ||
        study.state == coordinator::StudyState::kRunning ||
        study.state == coordinator::StudyState::kPaused) {
      return false;
    }
  }
  return true;
}

// Everything that is not the network or a commit: machines, people.
class Chaos {
 public:
  Chaos(World& world, SimCoordinator& coordinator, std::deque<SimSite>& sites)
      : world_(world), coordinator_(coordinator), sites_(sites), ends_(world.now() + kFaultsFor) {}

  void Tick() {
    if (world_.now() < ends_) {
      Strike();
    } else if (!healed_) {
      healed_ = true;
      world_.Heal();
    }
    // A pause ends by itself; so it does when the faults are over.
    if (!paused_.empty() && (healed_ || world_.Chance(0.2)) && coordinator_.up()) {
      coordinator_.Control(paused_, "resume");
      if (coordinator_.up()) paused_.clear();
    }
    coordinator_.Tick();
  }

 private:
  void Strike() {
    for (SimSite& site : sites_) {
      if (world_.Chance(world_.faults().site_crash)) site.Crash();
      if (world_.Chance(world_.faults().site_hang)) site.Hang();
      if (world_.Chance(world_.faults().site_stall)) site.Stall();
    }
    if (world_.Chance(0.006) && sites_.size() > 2) {
      ++world_.counts.revocations;
      coordinator_.Revoke(sites_[static_cast<size_t>(world_.Below(
                                     static_cast<int64_t>(sites_.size())))].name());
    }
    if (paused_.empty() && world_.Chance(0.01) && coordinator_.up()) {
      ++world_.counts.pauses;
      paused_ = "study0";
      coordinator_.Control(paused_, "pause");
    }
    if (world_.Chance(world_.faults().crash_at_commit / 10)) coordinator_.Crash();
  }

  World& world_;
  SimCoordinator& coordinator_;
  std::deque<SimSite>& sites_;
  const absl::Time ends_;
  bool healed_ = false;
  std::string paused_;
};

}  // namespace

Outcome RunSchedule(uint64_t seed, Bug bug, Kind kind) {
  phantom::Random draw(seed, "schedule");
  World world(seed, DrawFaults(draw));
  SimCoordinator coordinator(world, bug);
  Ledger ledger;
  Leaks leaks;
  Checker checker(world, coordinator, ledger, leaks);
  std::deque<SimSite> sites;
  const int64_t count = 3 + draw.Index(kind == Kind::kMasked ? 4 : 3);
  for (int64_t i = 0; i < count; ++i) {
    SimSite::Options options;
    options.name = absl::StrCat("site", i);
    options.labelled = draw.Uniform() < 0.2 ? 0 : 1 + draw.Index(20);
    options.unlabelled = options.labelled == 0 ? 5 : draw.Index(10);
    options.held_out = draw.Index(2);
    options.training = absl::Seconds(5 + draw.Index(draw.Uniform() < 0.2 ? 120 : 30));
    options.counts = draw.Uniform() < 0.8;
    coordinator.Approve(options.name);
    sites.emplace_back(std::move(options), world, coordinator, ledger, leaks);
    if (bug == Bug::kMaskTwice) sites.back().PlantMaskTwice();
  }
  const int64_t studies = draw.Uniform() < 0.3 ? 2 : 1;
  for (int64_t i = 0; i < studies; ++i) {
    const std::string name = absl::StrCat("study", i);
    coordinator.Add(DrawStudy(name, count, kind, draw, world.now()));
  }
  for (SimSite& site : sites) {
    world.After(world.Between(absl::ZeroDuration(), absl::Seconds(20)), [&site] { site.Start(); });
  }
  Chaos chaos(world, coordinator, sites);
  std::function<void()> tick = [&] {
    chaos.Tick();
    world.After(kTick, tick);
  };
  world.After(kTick, tick);

  const absl::Time last = world.now() + kLongest;
  const absl::Time healed = world.now() + kFaultsFor;
  absl::Time changed = world.now();
  uint64_t commits = 0;
  while (!world.violation() && world.now() < last && !AllEnded(coordinator.disk())) {
    if (!world.Step()) break;
    checker.AfterEvent();
    if (coordinator.disk().commits != commits) {
      commits = coordinator.disk().commits;
      changed = world.now();
    }
    // What is left waits for sites that do not come back.
    const bool quiet = world.now() > healed + kQuietFor && world.now() > changed + kQuietFor;
    if (quiet && !RoundIsOpen(coordinator.disk())) break;
    if (world.counts.events > kEventsMax) world.Fail("the federation is in a busy loop");
  }
  if (!world.violation()) checker.AtTheEnd();
  return {world.violation(), world.counts};
}

}  // namespace consilium::sim
