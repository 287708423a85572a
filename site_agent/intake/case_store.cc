#include "site_agent/intake/case_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/catalog.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
constexpr absl::string_view kStagePrefix = ".stage-";

// One call for a case's hundreds of files instead of an fsync for each.
absl::Status SyncFileSystem(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError("the store's folder cannot be opened");
  const bool good = ::syncfs(fd) == 0;
  ::close(fd);
  return good ? absl::OkStatus() : absl::UnavailableError("the store cannot be made durable");
}

}  // namespace

absl::StatusOr<CaseStore> CaseStore::Open(const std::string& home) {
  const std::string folder = StoreFolder(home);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  const int lock = ::open(JoinPath(folder, ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return absl::UnavailableError("the store's lock cannot be opened");
  CaseStore store(home, lock);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError("another ingest of this home is running");
  }
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (!absl::StartsWith(entries->path().filename().string(), kStagePrefix)) continue;
    std::error_code removal;
    fs::remove_all(entries->path(), removal);
    if (removal) return absl::UnavailableError("what an earlier ingest left cannot be removed");
  }
  if (error) return absl::UnavailableError("the store's folder cannot be read");
  return store;
}

CaseStore::CaseStore(CaseStore&& other) noexcept
    : home_(std::move(other.home_)), lock_(std::exchange(other.lock_, -1)) {}

CaseStore::~CaseStore() {
  if (lock_ >= 0) ::close(lock_);
}

std::string CaseStore::StagePath(absl::string_view case_id) const {
  return JoinPath(StoreFolder(home_), absl::StrCat(kStagePrefix, case_id));
}

bool CaseStore::Has(absl::string_view case_id) const {
  return PathExists(JoinPath(CaseFolder(home_, case_id), "case.json"));
}

absl::StatusOr<std::string> CaseStore::Stage(absl::string_view case_id) const {
  Abandon(case_id);
  const std::string stage = StagePath(case_id);
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(stage, "image")));
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(stage, "label")));
  return stage;
}

absl::Status CaseStore::Publish(absl::string_view case_id) const {
  const std::string stage = StagePath(case_id);
  const std::string folder = CaseFolder(home_, case_id);
  CSL_RETURN_IF_ERROR(SyncFileSystem(stage));
  // The exchange leaves the old case under the stage's name, where the next Open finds it.
  const unsigned flags = PathExists(folder) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, stage.c_str(), AT_FDCWD, folder.c_str(), flags) != 0) {
    return absl::UnavailableError("a case cannot be moved into the store");
  }
  CSL_RETURN_IF_ERROR(SyncDir(StoreFolder(home_)));
  Abandon(case_id);
  return absl::OkStatus();
}

absl::Status CaseStore::Remove(absl::string_view case_id) const {
  const std::string stage = StagePath(case_id);
  const std::string folder = CaseFolder(home_, case_id);
  Abandon(case_id);
  if (PathExists(folder) && ::rename(folder.c_str(), stage.c_str()) != 0) {
    return absl::UnavailableError("a case cannot be taken out of the store");
  }
  std::error_code error;
  fs::remove_all(stage, error);
  if (error) return absl::UnavailableError("a case cannot be removed from the store");
  return SyncDir(StoreFolder(home_));
}

void CaseStore::Abandon(absl::string_view case_id) const {
  std::error_code ignored;  // Open removes what stays behind
  fs::remove_all(StagePath(case_id), ignored);
}

}  // namespace consilium::agent
