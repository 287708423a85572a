#include "site_agent/receive/quarantine.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/receive/handing_over.h"
#include "site_agent/receive/newest_change.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIn = "in";
constexpr const char* kPatients = "patients";
constexpr const char* kTaking = "taking";
constexpr const char* kUnfinished = "unfinished";
constexpr absl::string_view kOpenMark = "of-";  // in an inbox, before a patient's pseudonym

uint64_t BytesBelow(const std::string& folder) {
  uint64_t bytes = 0;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  while (!error && entries != fs::recursive_directory_iterator()) {
    std::error_code ignored;
    if (entries->is_regular_file(ignored)) bytes += entries->file_size(ignored);
    entries.increment(error);
  }
  return bytes;
}

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) return absl::UnavailableError("the quarantine cannot be read");
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    if (error) return absl::UnavailableError("the quarantine cannot be read");
    names.push_back(entries->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

// Lives in anonymous shared memory: a fork shares it, the last process frees it.
struct Quarantine::Shared {
  std::atomic<uint64_t> used{0};  // of the disk, unfinished objects included
  std::atomic<uint64_t> unfinished[kInboxesMax] = {};
  std::atomic<bool> open[kInboxesMax] = {};
};

absl::StatusOr<Quarantine> Quarantine::Open(const std::string& home,
                                            const QuarantineLimits& limits) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared between processes");
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, LoadOrCreateSiteKey(home));
  CSL_ASSIGN_OR_RETURN(privacy::Deidentifier names,
                       privacy::Deidentifier::Create({.site_key = std::move(key)}));
  const std::string folder = JoinPath(home, "quarantine");
  for (const char* part : {kPatients, kTaking, kUnfinished}) {
    CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(folder, part)));
  }
  const int lock =
      ::open(JoinPath(folder, "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
  if (lock < 0) return absl::UnavailableError("the quarantine cannot be locked");
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return absl::FailedPreconditionError("another listen or pull of this home is running");
  }
  std::error_code error;
  fs::remove_all(JoinPath(folder, kIn), error);
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (error || memory == MAP_FAILED) {
    ::close(lock);
    return absl::UnavailableError("the quarantine cannot be prepared");
  }
  Quarantine quarantine(folder, limits, std::move(names), lock, new (memory) Shared);
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(folder, kIn)));
  quarantine.shared_->used =
      BytesBelow(JoinPath(folder, kPatients)) + BytesBelow(JoinPath(folder, kTaking));
  return quarantine;
}

Quarantine::Quarantine(std::string home, const QuarantineLimits& limits,
                       privacy::Deidentifier names, int lock, Shared* shared)
    : home_(std::move(home)),
      limits_(limits),
      names_(std::move(names)),
      lock_(lock),
      shared_(shared) {}

Quarantine::Quarantine(Quarantine&& other) noexcept
    : home_(std::move(other.home_)),
      limits_(other.limits_),
      names_(std::move(other.names_)),
      lock_(std::exchange(other.lock_, -1)),
      shared_(std::exchange(other.shared_, nullptr)) {}

Quarantine::~Quarantine() {
  if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
  if (lock_ >= 0) ::close(lock_);
}

std::string Quarantine::InboxFolder(int inbox) const {
  return JoinPath(JoinPath(home_, kIn), absl::StrCat(inbox));
}

absl::StatusOr<int> Quarantine::OpenInbox() {
  for (int inbox = 0; inbox < kInboxesMax; ++inbox) {
    if (shared_->open[inbox].exchange(true)) continue;
    if (const absl::Status made = MakeDirs(InboxFolder(inbox)); !made.ok()) {
      shared_->open[inbox] = false;
      return made;
    }
    return inbox;
  }
  return absl::ResourceExhaustedError("too many associations at a time");
}

void Quarantine::CloseInbox(int inbox) {
  std::error_code ignored;  // what stays is removed at the next start
  // What an association has brought settles from its end on.
  const absl::StatusOr<std::vector<std::string>> names = NamesIn(InboxFolder(inbox));
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    absl::string_view patient = name;
    if (!absl::ConsumePrefix(&patient, kOpenMark)) continue;
    const std::string folder = JoinPath(JoinPath(home_, kPatients), patient);
    (void)::utimensat(AT_FDCWD, folder.c_str(), nullptr, 0);  // gone: taken long ago
  }
  fs::remove_all(InboxFolder(inbox), ignored);
  shared_->used -= shared_->unfinished[inbox].exchange(0);
  shared_->open[inbox] = false;
}

absl::Status Quarantine::Reserve(int inbox, uint64_t bytes) {
  const uint64_t before = shared_->used.fetch_add(bytes);
  if (before + bytes > limits_.bytes_max) {
    shared_->used -= bytes;
    return absl::ResourceExhaustedError("the quarantine is full");
  }
  shared_->unfinished[inbox] += bytes;
  return absl::OkStatus();
}

void Quarantine::GiveBack(int inbox, uint64_t bytes) {
  shared_->unfinished[inbox] -= bytes;
  shared_->used -= bytes;
}

void Quarantine::Keep(int inbox, uint64_t bytes, uint64_t replaced) {
  shared_->unfinished[inbox] -= bytes;
  shared_->used -= replaced;
}

uint64_t Quarantine::bytes_used() const { return shared_->used; }

absl::Status Quarantine::MarkOpen(int inbox, const std::string& patient) {
  const std::string mark = JoinPath(InboxFolder(inbox), absl::StrCat(kOpenMark, patient));
  const int fd = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, kPrivateFile);
  if (fd < 0) return absl::UnavailableError("the quarantine's disk cannot be written");
  ::close(fd);
  return absl::OkStatus();
}

bool Quarantine::IsOpen(const std::string& patient) const {
  for (int inbox = 0; inbox < kInboxesMax; ++inbox) {
    if (shared_->open[inbox] &&
        PathExists(JoinPath(InboxFolder(inbox), absl::StrCat(kOpenMark, patient)))) {
      return true;
    }
  }
  return false;
}

bool Quarantine::IsUnfinished(const std::string& patient) const {
  const auto studies = NamesIn(JoinPath(JoinPath(home_, kPatients), patient));
  if (!studies.ok()) return false;
  return std::any_of(studies->begin(), studies->end(), [&](const std::string& study) {
    return PathExists(JoinPath(JoinPath(home_, kUnfinished), study));
  });
}

bool Quarantine::IsSettled(const std::string& patient, absl::Time before) const {
  const absl::Time newest = NewestChange(JoinPath(JoinPath(home_, kPatients), patient));
  if (newest >= before || IsUnfinished(patient)) return false;
  return newest < before - kOpenHold || !IsOpen(patient);
}

absl::StatusOr<std::vector<std::string>> Quarantine::Settled(absl::Time before) const {
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> names, NamesIn(JoinPath(home_, kPatients)));
  std::erase_if(names, [&](const std::string& name) { return !IsSettled(name, before); });
  return names;
}

absl::StatusOr<std::vector<std::string>> Quarantine::PatientsOf(
    const std::string& study_uid) const {
  const std::string folder = JoinPath(home_, kPatients);
  const std::string study = Pseudonym("study", study_uid);
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> names, NamesIn(folder));
  std::erase_if(names, [&](const std::string& name) {
    return !PathExists(JoinPath(JoinPath(folder, name), study));
  });
  return names;
}

absl::StatusOr<std::set<std::string>> Quarantine::InstancesOf(const std::string& study_uid) const {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> patients, PatientsOf(study_uid));
  const std::string study = Pseudonym("study", study_uid);
  std::set<std::string> instances;
  for (const std::string& patient : patients) {
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                         NamesIn(JoinPath(JoinPath(JoinPath(home_, kPatients), patient), study)));
    for (const std::string& name : names) instances.insert(fs::path(name).stem().string());
  }
  return instances;
}

absl::StatusOr<std::vector<std::string>> Quarantine::Begun() const {
  return NamesIn(JoinPath(home_, kTaking));
}

std::string Quarantine::TakingFolder(const std::string& patient) const {
  return JoinPath(JoinPath(home_, kTaking), patient);
}

absl::StatusOr<std::string> Quarantine::BeginTaking(const std::string& patient, absl::Time before) {
  const std::string to = TakingFolder(patient);
  if (PathExists(to)) return to;
  const HandingOver handing_over(lock_);
  if (!IsSettled(patient, before)) {
    return absl::AbortedError("something of the patient is coming just now");
  }
  std::error_code error;
  fs::rename(JoinPath(JoinPath(home_, kPatients), patient), to, error);
  if (error) return absl::UnavailableError("a patient's objects cannot be set apart");
  return to;
}

absl::Status Quarantine::FinishTaking(const std::string& patient) {
  return Remove(TakingFolder(patient));
}

absl::Status Quarantine::DropPatient(const std::string& patient) {
  CSL_RETURN_IF_ERROR(Remove(JoinPath(JoinPath(home_, kPatients), patient)));
  return Remove(TakingFolder(patient));
}

absl::Status Quarantine::DropStudy(const std::string& study_uid) {
  return DropStudyNamed(Pseudonym("study", study_uid));
}

absl::Status Quarantine::DropStudyNamed(const std::string& study) {
  const std::string patients = JoinPath(home_, kPatients);
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(patients));
  for (const std::string& name : names) {
    CSL_RETURN_IF_ERROR(Remove(JoinPath(JoinPath(patients, name), study)));
  }
  return Remove(JoinPath(JoinPath(home_, kUnfinished), study));
}

absl::Status Quarantine::DropUnfinished(absl::Time before) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> studies,
                       NamesIn(JoinPath(home_, kUnfinished)));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> patients,
                       NamesIn(JoinPath(home_, kPatients)));
  for (const std::string& study : studies) {
    absl::Time newest = NewestChange(JoinPath(JoinPath(home_, kUnfinished), study));
    for (const std::string& patient : patients) {
      newest = std::max(
          newest, NewestChange(JoinPath(JoinPath(JoinPath(home_, kPatients), patient), study)));
    }
    if (newest < before) CSL_RETURN_IF_ERROR(DropStudyNamed(study));
  }
  return absl::OkStatus();
}

absl::Status Quarantine::Remove(const std::string& folder) {
  const uint64_t bytes = BytesBelow(folder);
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return absl::UnavailableError("objects in the quarantine cannot be removed");
  shared_->used -= bytes;
  return absl::OkStatus();
}

absl::Status MarkUnfinished(const std::string& home, const std::string& study) {
  const std::string folder = JoinPath(JoinPath(home, "quarantine"), kUnfinished);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  return WriteFileAtomic(JoinPath(folder, study), "", kPrivateFile);
}

absl::Status MarkFinished(const std::string& home, const std::string& study) {
  std::error_code error;
  fs::remove(JoinPath(JoinPath(JoinPath(home, "quarantine"), kUnfinished), study), error);
  return error ? absl::UnavailableError("the quarantine's disk cannot be written")
               : absl::OkStatus();
}

}  // namespace consilium::agent
