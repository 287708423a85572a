#include "tests/sim/checker.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace consilium::sim {
namespace {

using coordinator::ContributionRecord;
using coordinator::Outcome;
using coordinator::RoundPhase;
using coordinator::RoundRecord;
using coordinator::VersionRecord;

constexpr double kTolerance = 1e-6;  // of sums of a few values in -1..1
constexpr double kUnlabelledWeight = 0.2;  // of the studies' files
constexpr double kExponent = 0.5;

}  // namespace

void Checker::AfterEvent() {
  const Disk& disk = coordinator_.disk();
  if (leaks_.violation) return world_.Fail(*leaks_.violation);
  if (disk.commits == commits_) return;
  commits_ = disk.commits;
  CheckAudit();
  for (const auto& [study, versions] : disk.versions) CheckVersions(study);
  CheckAcknowledged();
  for (const auto& [name, record] : disk.studies) {  // what runs is what a restart would read
    const coordinator::StudyRun* run = coordinator_.Run(name);
    if (run == nullptr || !run->round()) continue;
    const RoundRecord& now = run->round()->record();
    const auto it = disk.rounds.find({name, now.number});
    if (it == disk.rounds.end()) return world_.Fail(absl::StrCat(name, ": a round was not stored"));
    if (it->second.phase != now.phase ||
        it->second.contributions.size() != now.contributions.size()) {
      return world_.Fail(absl::StrCat(name, " round ", now.number, " differs from its record"));
    }
    for (size_t i = 0; i < now.contributions.size(); ++i) {
      if (now.contributions[i].outcome != it->second.contributions[i].outcome) {
        world_.Fail(absl::StrCat(name, " round ", now.number, ": a contribution was not stored"));
      }
    }
  }
}

void Checker::CheckAudit() {
  const Disk& disk = coordinator_.disk();
  for (; audit_ < disk.audit.size(); ++audit_) {
    const coordinator::AuditFacts& facts = disk.audit[audit_];
    if (facts.action == "round.fail") ++world_.counts.failed_rounds;
    if (facts.action == "update.lost") lost_.insert(facts.digest);
    if (facts.action == "update.drop") dropped_.insert(facts.digest);
    if (facts.action != "round.commit") continue;
    std::vector<std::string>& chain = committed_[facts.study];
    const std::string parent = chain.empty() ? "" : chain.back();
    if (facts.before != parent) world_.Fail("the audit log's chain of versions is broken");
    chain.push_back(facts.after);
  }
}

void Checker::CheckVersions(const std::string& study) {
  const Disk& disk = coordinator_.disk();
  const std::vector<VersionRecord>& versions = disk.versions.at(study);
  Seen& seen = seen_[study];
  for (; seen.versions < versions.size(); ++seen.versions) {
    const size_t i = seen.versions;
    const VersionRecord& version = versions[i];
    ++world_.counts.versions;
    const auto& chain = committed_[study];
    if (chain.size() <= i || chain[i] != version.version) {
      return world_.Fail(absl::StrCat("version ", version.version, " is not in the audit log"));
    }
    if (version.parent != (i == 0 ? "" : versions[i - 1].version) ||
        (i > 0 && version.number <= versions[i - 1].number)) {
      return world_.Fail(absl::StrCat("version ", version.version, " has a wrong parent or number"));
    }
    const auto round = disk.rounds.find({study, version.number});
    if (round == disk.rounds.end() || round->second.phase != RoundPhase::kCommitted ||
        round->second.new_version != version.version) {
      return world_.Fail(absl::StrCat("version ", version.version, " has no committed round"));
    }
    if (!round->second.reason.empty()) ++world_.counts.closed_early;
    if (absl::StrContains(round->second.reason, "made no progress")) {
      ++world_.counts.left_out_stalled;
    }
    for (const ContributionRecord& c : round->second.contributions) {
      const bool withdrawn = c.outcome == Outcome::kRefused && !c.upload_id.empty();
      if (withdrawn) ++world_.counts.withdrawn;
      if (c.outcome == Outcome::kRefused && c.staleness > 0 && !withdrawn) {
        ++world_.counts.stale_refusals;
      }
      if (c.outcome != Outcome::kFolded) continue;
      if (!disk.approved.at(c.site)) {
        return world_.Fail(absl::StrCat(version.version, " has an update of a revoked site"));
      }
      if (!seen.folded_tasks.insert(c.task_id).second) {
        return world_.Fail(absl::StrCat("task ", c.task_id, " was folded twice"));
      }
    }
    CheckModel(version, round->second, static_cast<int64_t>(i) - 1);
  }
  if (versions.size() != committed_[study].size() ||
      disk.studies.at(study).latest_version != versions.back().version) {
    world_.Fail(absl::StrCat("the newest version of ", study, " is not the study's"));
  }
}

// `newest`: the index of the version that the buffer opened on.
void Checker::CheckModel(const VersionRecord& version, const RoundRecord& round, int64_t newest) {
  const Disk& disk = coordinator_.disk();
  const Values& model = disk.models.at(version.sha256);
  std::vector<double> sum(model.size(), 0);
  double divisor = 0;
  const bool masked = !round.masking.rosters.empty();
  if (masked) CheckMaskedCohort(round);
  for (const ContributionRecord& c : round.contributions) {
    if (c.outcome != Outcome::kFolded) continue;
    const auto truth = ledger_.find(c.upload_id);
    if (truth == ledger_.end() || truth->second.task_id != c.task_id ||
        truth->second.site != c.site) {
      return world_.Fail(absl::StrCat(version.version, " folded an update that nobody made"));
    }
    if (round.number == 0) {
      if (model != truth->second.values) world_.Fail("the first weights are not the site's");
      return;
    }
    double full = std::llround(1000 * (static_cast<double>(truth->second.labelled) +
                                             kUnlabelledWeight *
                                                 static_cast<double>(truth->second.unlabelled)));
    double weight = full;
    if (round.buffer > 0) {
      // Of a site that came after the buffer had opened.
      full = std::min(full, static_cast<double>(round.weight_cap_milli));
      int64_t base = newest;
      const auto& versions = disk.versions.at(version.study);
      while (base >= 0 && versions[static_cast<size_t>(base)].version != c.base_version) --base;
      if (base < 0 || c.staleness != newest - base) {
        return world_.Fail(absl::StrCat(version.version, " counts a wrong staleness"));
      }
      if (c.staleness > 0) ++world_.counts.stale_folds;
      weight = full * std::pow(1 + static_cast<double>(c.staleness), -kExponent);
    }
    if (masked) {
      weight = full;  // what the site put into its masked lanes
    } else if (std::abs(static_cast<double>(c.weight_milli) - weight) > 0.51) {
      return world_.Fail(absl::StrCat(version.version, " weighs an update ", c.weight_milli,
                                      " where it counts ", weight));
    }
    divisor += full;
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i] += (masked ? weight : static_cast<double>(c.weight_milli)) * truth->second.values[i];
    }
  }
  if (divisor == 0) return world_.Fail(absl::StrCat(version.version, " folded nothing"));
  const Values& base = disk.models.at(round.base_sha256);
  for (size_t i = 0; i < sum.size(); ++i) {
    if (std::abs(base[i] + sum[i] / divisor - model[i]) > kTolerance) {
      return world_.Fail(absl::StrCat(version.version, " is not its base plus the plain mean"));
    }
  }
}

void Checker::CheckMaskedCohort(const RoundRecord& round) {
  ++world_.counts.masked_versions;
  const auto folded = std::count_if(
      round.contributions.begin(), round.contributions.end(),
      [](const ContributionRecord& c) { return c.outcome == Outcome::kFolded; });
  const coordinator::RosterRecord& roster = round.masking.rosters.front();
  if (folded < 3 || folded < roster.threshold ||
      folded != static_cast<int64_t>(roster.survivors.size())) {
    world_.Fail(absl::StrCat("round ", round.number, " opened a sum of ", folded, " updates"));
  }
  if (roster.sharing.size() > roster.survivors.size()) ++world_.counts.dropouts_recovered;
  for (const ContributionRecord& c : round.contributions) {
    if (c.weight_milli != 0 || c.summary.mean_loss != 0) {
      world_.Fail(absl::StrCat("the coordinator knows of ", c.site, " alone what was masked"));
    }
  }
}

void Checker::CheckAcknowledged() {
  const Disk& disk = coordinator_.disk();
  for (const auto& [upload, study] : coordinator_.acknowledged()) {
    if (settled_.contains(upload)) continue;
    int found = 0;
    bool settled = false;
    for (auto it = disk.rounds.lower_bound({study, 0});
         it != disk.rounds.end() && it->first.first == study; ++it) {
      for (const ContributionRecord& c : it->second.contributions) {
        if (c.upload_id != upload) continue;
        ++found;
        const bool named = it->second.phase == RoundPhase::kFailed && !c.reason.empty();
        const bool under_way = it->second.phase == RoundPhase::kCollecting ||
                               it->second.phase == RoundPhase::kUnmasking ||
                               it->second.phase == RoundPhase::kAggregating;
        const bool withdrawn = c.outcome == Outcome::kRefused && !disk.approved.at(c.site);
        settled = c.outcome == Outcome::kFolded || named || withdrawn;
        if (!settled && !(under_way && c.outcome == Outcome::kAccepted)) {
          return world_.Fail(absl::StrCat("an acknowledged update of ", c.site, " is neither folded "
                                          "nor named as dropped, in round ", it->second.number));
        }
      }
    }
    if (found == 0 && dropped_.contains(upload)) {
      settled = true;  // the next attempt at the first weights took its round's record
    } else if (found == 0 && lost_.contains(upload)) {
      settled = CheckLost(upload, study);
    } else if (found != 1) {
      return world_.Fail(absl::StrCat("an acknowledged update is in ", found, " rounds of ", study));
    }
    if (settled) settled_.insert(upload);
  }
}

// A lost update's task is awaited again, or has ended in a way that has a name. True: it has ended.
bool Checker::CheckLost(const std::string& upload, const std::string& study) {
  const std::string& task_id = ledger_.at(upload).task_id;
  for (const auto& [key, round] : coordinator_.disk().rounds) {
    if (key.first != study) continue;
    for (const ContributionRecord& c : round.contributions) {
      if (c.task_id != task_id) continue;
      if (c.outcome != Outcome::kAwaited) return true;
      if (round.phase == RoundPhase::kCollecting || round.buffer > 0) return false;
    }
  }
  if (ledger_.at(upload).task_id.starts_with("initialise-")) return true;  // another attempt's turn
  world_.Fail("nobody awaits an update that was accepted and then lost");
  return true;
}

void Checker::AtTheEnd() {
  for (const auto& [key, round] : coordinator_.disk().rounds) {
    if (round.phase == RoundPhase::kCollecting || round.phase == RoundPhase::kUnmasking ||
        round.phase == RoundPhase::kAggregating) {
      world_.Fail(absl::StrCat("round ", round.number, " of ", key.first, " did not end"));
    }
  }
}

}  // namespace consilium::sim
