// The part of the doctor that holds records against each other and against the chunks.
#include "coordinator/upkeep/doctor.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/round/model_registry.h"
#include "coordinator/round/upload.h"
#include "coordinator/upkeep/doctor_home.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRestore = "restore it from a backup (`consilium restore`)";
constexpr const char* kReport = "restore from a backup; report it as a defect with this output";
constexpr const char* kCollect = "`consilium model gc` removes it";
constexpr size_t kDigestDigits = 12;

std::string Short(absl::string_view digest) { return std::string(digest.substr(0, kDigestDigits)); }

bool IsOpen(const RoundRecord& round) {
  return round.phase == RoundPhase::kCollecting || round.phase == RoundPhase::kUnmasking ||
         round.phase == RoundPhase::kAggregating;
}

// One examination of a store and its chunks.
class Examination {
 public:
  Examination(const Store& store, const ChunkStore& chunks, const std::string& home,
              DoctorMode mode, const Clock& clock, Findings& findings)
      : store_(store), chunks_(chunks), home_(home), mode_(mode), clock_(clock),
        findings_(findings) {}

  void Run() {
    if (mode_ == DoctorMode::kFull) {
      Blame(store_.VerifyChecksums(), "the store's files: ");
      Blame(store_.VerifyAudit(), "the audit log: ");
    }
    Load(store_.Versions(""), versions_, "versions");
    Load(store_.Studies(), studies_, "studies");
    Load(store_.Manifests(), manifests_, "manifests");
    for (const VersionRecord& version : versions_) ExamineVersion(version);
    for (const ManifestRecord& manifest : manifests_) ExamineManifest(manifest);
    ExamineChunks();
    ExamineNames();
    for (const StudyRecord& study : studies_) ExamineStudy(study);
    ExamineStaging();
  }
  uint64_t largest_model() const { return largest_model_; }

 private:
  void Blame(const absl::Status& status, absl::string_view what) {
    if (!status.ok()) findings_.Error(absl::StrCat(what, status.message()), kRestore);
  }
  template <typename Record>
  void Load(absl::StatusOr<std::vector<Record>> read, std::vector<Record>& into,
            absl::string_view what) {
    if (!read.ok()) {
      findings_.Error(absl::StrCat(what, " do not read: ", read.status().message()), kRestore);
      return;
    }
    into = *std::move(read);
    findings_.CountRecords(into.size());
  }
  // Whether the version is there, also if it came while we looked.
  bool Exists(absl::string_view name) const {
    const size_t slash = name.find('/');
    int64_t number = 0;
    return slash != absl::string_view::npos &&
           absl::SimpleAtoi(name.substr(slash + 1), &number) &&
           store_.Version(name.substr(0, slash), number).ok();
  }

  void ExamineVersion(const VersionRecord& version);
  void ExamineAudit(const VersionRecord& version);
  void ExamineManifest(const ManifestRecord& manifest);
  void ExamineChunk(const ManifestRecord& manifest, size_t index);
  void ExamineChunks();
  void ExamineNames();
  void ExamineStudy(const StudyRecord& study);
  void ExamineStaging();

  const Store& store_;
  const ChunkStore& chunks_;
  const std::string& home_;
  const DoctorMode mode_;
  const Clock& clock_;
  Findings& findings_;
  uint64_t largest_model_ = 0;
  std::vector<VersionRecord> versions_;
  std::vector<StudyRecord> studies_;
  std::vector<ManifestRecord> manifests_;
  std::map<std::string, uint64_t> files_;   // chunk -> bytes of its file
  std::map<std::string, bool> examined_;    // chunk -> whole
  std::set<std::string> staged_;            // "study/round" of open rounds
};

void Examination::ExamineAudit(const VersionRecord& version) {
  const absl::StatusOr<AuditLine> line =
      store_.AuditEntry(static_cast<uint64_t>(version.audit_index));
  const absl::StatusOr<AuditView> entry = line.ok() ? DecodeAudit(line->json) : line.status();
  const bool named = entry.ok() && entry->facts.version == version.version;
  if (!named) {
    findings_.Error(absl::StrCat("version ", version.version, ": audit entry ",
                                 version.audit_index, " does not name it"),
                    kReport);
  }
}

void Examination::ExamineVersion(const VersionRecord& version) {
  const std::string name = absl::StrCat("version ", version.version);
  largest_model_ = std::max(largest_model_, static_cast<uint64_t>(std::max<int64_t>(0, version.bytes)));
  ExamineAudit(version);
  const absl::StatusOr<VersionRecord> by_digest = store_.VersionOfDigest(version.sha256);
  if (!by_digest.ok() || by_digest->sha256 != version.sha256) {
    findings_.Error(absl::StrCat(name, " is not found by its digest"), kReport);
  }
  std::vector<std::string> parents = version.parents;
  if (!version.parent.empty()) parents.push_back(version.parent);
  for (const std::string& parent : std::set<std::string>(parents.begin(), parents.end())) {
    if (!Exists(parent)) {
      findings_.Error(absl::StrCat(name, ": its parent ", parent, " is missing"), kReport);
    }
  }
  const absl::StatusOr<VersionRecord> now = store_.Version(version.study, version.number);
  if (now.ok() && now->weights_gone_us == 0 && !store_.Manifest(version.sha256).ok()) {
    findings_.Error(absl::StrCat(name, " has no manifest, so its weights cannot be found"),
                    kRestore);
  }
}

void Examination::ExamineChunk(const ManifestRecord& manifest, size_t index) {
  const std::string& chunk = manifest.chunks[index];
  const uint64_t begin = uint64_t{index} * kChunkFileBytes;
  const uint64_t bytes =
      std::min<uint64_t>(kChunkFileBytes, static_cast<uint64_t>(manifest.bytes) - begin);
  const auto [it, is_new] = examined_.try_emplace(chunk, true);
  std::string fault;
  const auto file = files_.find(chunk);
  if (file == files_.end()) {
    fault = PathExists(chunks_.ChunkPath(chunk)) ? "" : "is missing";
  } else if (file->second != bytes) {
    fault = "has another length";
  } else if (is_new && mode_ == DoctorMode::kFull) {
    findings_.CountChunk();
    const absl::Status whole = chunks_.Verify(chunk);
    if (!whole.ok()) fault = std::string(whole.message());
  } else if (!it->second) {
    fault = "is damaged";
  }
  if (fault.empty() || !store_.Manifest(manifest.sha256).ok()) return;  // collected meanwhile
  it->second = false;
  const absl::StatusOr<VersionRecord> version = store_.VersionOfDigest(manifest.sha256);
  findings_.Error(absl::StrCat("chunk ", Short(chunk), " of ",
                               version.ok() ? version->version : Short(manifest.sha256), " ", fault),
                  kRestore);
}

void Examination::ExamineManifest(const ManifestRecord& manifest) {
  if (const absl::Status fits = CheckManifest(manifest); !fits.ok()) {
    findings_.Error(std::string(fits.message()), kRestore);
    return;
  }
  const absl::StatusOr<VersionRecord> version = store_.VersionOfDigest(manifest.sha256);
  if (!version.ok()) {
    findings_.Error(absl::StrCat("the manifest of model ", Short(manifest.sha256),
                                 " belongs to no version"),
                    kReport);
  }
}

void Examination::ExamineChunks() {
  std::vector<std::string> strangers;
  const absl::StatusOr<std::vector<ChunkStore::ChunkFile>> files = chunks_.List(&strangers);
  if (!files.ok()) {
    findings_.Error(std::string(files.status().message()), "look at the folder's permissions");
    return;
  }
  for (const ChunkStore::ChunkFile& file : *files) files_[file.sha256] = file.bytes;
  std::set<std::string> named;
  for (const ManifestRecord& manifest : manifests_) {
    if (!CheckManifest(manifest).ok()) continue;
    for (size_t i = 0; i < manifest.chunks.size(); ++i) ExamineChunk(manifest, i);
    named.insert(manifest.chunks.begin(), manifest.chunks.end());
  }
  const absl::Time lease_end = clock_.Now() - kChunkLease;
  for (const ChunkStore::ChunkFile& file : *files) {
    if (named.contains(file.sha256) || file.changed >= lease_end) continue;
    findings_.Warning(absl::StrCat("chunk ", Short(file.sha256), " belongs to no model"), kCollect);
  }
  for (const std::string& stranger : strangers) {
    findings_.Warning(absl::StrCat("chunks/", stranger, " is no chunk"), "remove it by hand");
  }
}

void Examination::ExamineNames() {
  std::vector<AliasRecord> aliases;
  Load(store_.Aliases(""), aliases, "aliases");
  for (const AliasRecord& alias : aliases) {
    const std::string name = absl::StrCat("alias ", alias.study, "@", alias.alias);
    if (!Exists(alias.version)) {
      findings_.Error(absl::StrCat(name, " is at ", alias.version, ", which is not there"),
                      "move it with `consilium model alias set`");
    }
  }
  std::vector<ReleaseRecord> releases;
  Load(store_.Releases(), releases, "releases");
  for (const ReleaseRecord& release : releases) {
    const absl::StatusOr<VersionRecord> version = store_.VersionOfDigest(release.model_sha256);
    if (!Exists(release.version) || !version.ok()) {
      findings_.Error(absl::StrCat("release ", release.name, " is of ", release.version,
                                   ", which is not there"),
                      kReport);
    } else if (version->weights_gone_us != 0) {
      findings_.Error(absl::StrCat("release ", release.name, ": its weights were removed"), kRestore);
    }
  }
}

void Examination::ExamineStudy(const StudyRecord& study) {
  const std::string name = absl::StrCat("study ", study.name);
  if (!study.latest_version.empty() && !Exists(study.latest_version)) {
    findings_.Error(absl::StrCat(name, ": its latest version ", study.latest_version,
                                 " is not there"),
                    kReport);
  }
  std::vector<RoundRecord> rounds;
  Load(store_.Rounds(study.name), rounds, absl::StrCat("rounds of ", study.name));
  const bool busy = study.stage == Stage::kRound || study.stage == Stage::kInitialising;
  const int64_t current = study.stage == Stage::kInitialising ? 0 : study.round;
  bool found = false;
  for (const RoundRecord& round : rounds) {
    found = found || round.number == current;
    if (!round.new_version.empty() && !Exists(round.new_version)) {
      findings_.Error(absl::StrCat(name, ", round ", round.number, ": made ", round.new_version,
                                   ", which is not there"),
                      kReport);
    }
    if (!IsOpen(round)) continue;
    if (!busy || round.number != current) {
      findings_.Error(absl::StrCat(name, ", round ", round.number,
                                   " is open, but the study is elsewhere"),
                      kReport);
    }
    staged_.insert(absl::StrCat(study.name, "/", round.number));
    const Staging staging(JoinPath(home_, "staging"));
    for (const ContributionRecord& part : round.contributions) {
      if (part.outcome != Outcome::kAccepted || part.upload_id.empty()) continue;
      if (PathExists(staging.Path(study.name, round.number, part.upload_id))) continue;
      const absl::StatusOr<RoundRecord> now = store_.Round(study.name, round.number);
      if (now.ok() && !IsOpen(*now)) continue;  // it closed while we looked
      findings_.Error(absl::StrCat(name, ", round ", round.number, ": the accepted update of ",
                                   part.site, " is not in staging"),
                      "the round will fail and be tried again; nothing else to do");
    }
  }
  if (busy && !found && store_.Round(study.name, current).status().code() ==
                            absl::StatusCode::kNotFound) {
    findings_.Error(absl::StrCat(name, " is in round ", current, ", which has no record"), kReport);
  }
}

void Examination::ExamineStaging() {
  std::error_code error;
  for (const auto& study : fs::directory_iterator(JoinPath(home_, "staging"), error)) {
    const std::string name = study.path().filename().string();
    if (name[0] == '.') continue;
    std::error_code inner;
    for (const auto& round : fs::directory_iterator(study.path(), inner)) {
      const std::string what = absl::StrCat(name, "/", round.path().filename().string());
      if (staged_.contains(what)) continue;
      struct stat info;  // a round may have just opened
      const bool old = ::stat(round.path().c_str(), &info) == 0 &&
                       absl::TimeFromTimespec(info.st_mtim) < clock_.Now() - kChunkLease;
      if (!old) continue;
      findings_.Warning(absl::StrCat("staging/", what, " is of no open round"),
                        "the next start of the coordinator removes it");
    }
  }
}

}  // namespace

Diagnosis ExamineRunning(const Store& store, const ChunkStore& chunks, const std::string& home,
                         DoctorMode mode, const Clock& clock) {
  Diagnosis diagnosis;
  Findings findings(diagnosis);
  Examination examination(store, chunks, home, mode, clock, findings);
  examination.Run();
  ExamineFiles(home, examination.largest_model(), clock, findings);
  return diagnosis;
}

Diagnosis ExamineHome(const std::string& home, DoctorMode mode, const Clock& clock) {
  StoreOptions options;
  options.path = JoinPath(home, "store");
  options.mode = StoreMode::kReadOnly;
  const ChunkStore chunks(JoinPath(home, "chunks"));
  const absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(options);
  if (store.ok()) return ExamineRunning(**store, chunks, home, mode, clock);
  Diagnosis diagnosis;
  Findings findings(diagnosis);
  findings.Error(std::string(store.status().message()), kRestore);
  ExamineFiles(home, 0, clock, findings);
  return diagnosis;
}

}  // namespace consilium::coordinator
