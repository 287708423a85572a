// Mark and sweep over manifests and chunks.
//
// Mark and retire happen under two locks: aliases and releases cannot move (turn_), and no manifest
// of foreign bytes can come (ModelStore::turn). A round's base needs neither: it is the version that
// `latest` names when the round opens, which is always pinned.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/model_registry.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kRetiredMax = 500;  // versions in one batch

AuditFacts By(absl::string_view by, absl::string_view action) {
  AuditFacts facts;
  facts.actor = by.empty() ? "coordinator" : std::string(by);
  facts.role = by.empty() ? "coordinator" : "admin";
  facts.action = std::string(action);
  return facts;
}

bool IsOpen(const RoundRecord& round) {
  return round.phase == RoundPhase::kCollecting || round.phase == RoundPhase::kUnmasking ||
         round.phase == RoundPhase::kAggregating;
}

}  // namespace

absl::StatusOr<std::set<std::string>> ModelRegistry::PinnedDigests(
    const std::vector<VersionRecord>& versions) const {
  std::set<std::string> names, digests;
  CSL_ASSIGN_OR_RETURN(const std::vector<AliasRecord> aliases, store_.Aliases(""));
  for (const AliasRecord& alias : aliases) names.insert(alias.version);
  CSL_ASSIGN_OR_RETURN(const std::vector<ReleaseRecord> releases, store_.Releases());
  for (const ReleaseRecord& release : releases) names.insert(release.version);
  CSL_ASSIGN_OR_RETURN(const std::vector<StudyRecord> studies, store_.Studies());
  for (const StudyRecord& study : studies) {
    digests.insert(study.latest_sha256);
    CSL_ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, store_.Rounds(study.name));
    for (const RoundRecord& round : rounds) {
      if (IsOpen(round)) digests.insert(round.base_sha256);
      // Asynchronous studies: a task outlives its round, with the base that it was made on.
      for (const ContributionRecord& part : round.contributions) {
        if (part.outcome == Outcome::kAwaited) digests.insert(part.base_sha256);
      }
    }
    CSL_ASSIGN_OR_RETURN(const std::vector<EvaluationRecord> evaluations,
                         store_.Evaluations(study.name));
    for (const EvaluationRecord& evaluation : evaluations) {
      if (evaluation.ended_us == 0) names.insert(evaluation.version);
    }
  }
  // Versions come by study and number: the newest of a study are the last of its run.
  for (size_t i = 0; i < versions.size(); ++i) {
    const size_t newer = i + static_cast<size_t>(retention_versions_);
    const bool among_newest = retention_versions_ == 0 || newer >= versions.size() ||
                              versions[newer].study != versions[i].study;
    if (among_newest || names.contains(versions[i].version)) digests.insert(versions[i].sha256);
  }
  return digests;
}

// Entry by entry, then gone: a version record says so, and its manifest is no more.
absl::Status ModelRegistry::Retire(std::vector<VersionRecord>& versions, absl::string_view by) {
  for (size_t begin = 0; begin < versions.size(); begin += kRetiredMax) {
    Batch batch;
    for (size_t i = begin; i < std::min(versions.size(), begin + kRetiredMax); ++i) {
      VersionRecord& version = versions[i];
      version.weights_gone_us = absl::ToUnixMicros(clock_.Now());
      batch.Update(version);
      batch.DeleteManifest(version.sha256);
      AuditFacts facts = By(by, "model.collect");
      facts.study = version.study;
      facts.version = version.version;
      facts.digest = version.sha256;
      batch.Audit(std::move(facts));
    }
    CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  }
  return absl::OkStatus();
}

absl::Status ModelRegistry::Mark(GarbageMode mode, absl::string_view by, Marks& marks,
                                 Garbage& garbage) {
  absl::MutexLock turn(&turn_);
  absl::MutexLock manifests(&models_.turn());
  CSL_ASSIGN_OR_RETURN(const std::vector<VersionRecord> versions, store_.Versions(""));
  CSL_ASSIGN_OR_RETURN(const std::set<std::string> pinned, PinnedDigests(versions));
  std::vector<VersionRecord> going;
  for (const VersionRecord& version : versions) {
    if (version.weights_gone_us != 0 || pinned.contains(version.sha256)) continue;
    // A model that is being read stays until the next collection.
    const bool known = marks.retired.contains(version.sha256);
    if (!known && !models_.chunks().Condemn(version.sha256)) continue;
    marks.retired.insert(version.sha256);
    going.push_back(version);
    garbage.versions.push_back(version.version);
  }
  // A round may commit a manifest meanwhile; its chunks are held, or were since BeginSweep.
  CSL_ASSIGN_OR_RETURN(const std::vector<ManifestRecord> all, store_.Manifests());
  for (const ManifestRecord& manifest : all) {
    std::set<std::string>& into =
        marks.retired.contains(manifest.sha256) ? marks.freed : marks.named;
    into.insert(manifest.chunks.begin(), manifest.chunks.end());
  }
  return mode == GarbageMode::kRemove ? Retire(going, by) : absl::OkStatus();
}

absl::Status ModelRegistry::Sweep(GarbageMode mode, absl::string_view by, const Marks& marks,
                                  Garbage& garbage) {
  ChunkStore& chunks = models_.chunks();
  const absl::Time lease_end = clock_.Now() - kChunkLease;
  const auto cutoff = [&](const std::string& chunk) {
    return marks.freed.contains(chunk) ? absl::InfiniteFuture() : lease_end;
  };
  CSL_ASSIGN_OR_RETURN(const std::vector<ChunkStore::ChunkFile> files, chunks.List(nullptr));
  std::vector<std::string> going;
  for (const ChunkStore::ChunkFile& file : files) {
    if (marks.named.contains(file.sha256) || file.changed >= cutoff(file.sha256)) continue;
    going.push_back(file.sha256);
    garbage.bytes += file.bytes;
  }
  garbage.chunks = going.size();
  if (mode == GarbageMode::kDryRun || going.empty()) return absl::OkStatus();
  AuditFacts facts = By(by, "garbage.sweep");
  facts.count = static_cast<int64_t>(going.size());
  facts.after = absl::StrCat(garbage.bytes, " bytes");
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  for (const std::string& chunk : going) {
    CSL_RETURN_IF_ERROR(chunks.Remove(chunk, cutoff(chunk)).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<Garbage> ModelRegistry::CollectGarbage(GarbageMode mode, absl::string_view by) {
  absl::MutexLock sweep(&sweep_);
  models_.chunks().BeginSweep();
  Garbage garbage;
  Marks marks;
  absl::Status status = Mark(mode, by, marks, garbage);
  if (status.ok()) status = Sweep(mode, by, marks, garbage);
  for (const std::string& digest : marks.retired) models_.chunks().Pardon(digest);
  CSL_RETURN_IF_ERROR(status);
  return garbage;
}

}  // namespace consilium::coordinator
