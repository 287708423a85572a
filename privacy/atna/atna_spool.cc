#include "privacy/atna/atna_spool.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "privacy/atna/audit_message.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDroppedFile = "dropped";
constexpr const char* kSuffix = ".msg";
constexpr size_t kStampDigits = 20;
constexpr uint64_t kFrameBytesMax = kAtnaMessageBytesMax + 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<AtnaSpool>> AtnaSpool::Open(const std::string& folder,
                                                           size_t messages_max) {
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  std::unique_ptr<AtnaSpool> spool(new AtnaSpool(folder, messages_max));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names, spool->List());
  absl::MutexLock lock(&spool->mutex_);
  spool->count_ = names.size();
  if (!names.empty() &&
      !absl::SimpleAtoi(names.back().substr(0, kStampDigits), &spool->last_ns_)) {
    return absl::DataLossError("the spool of audit messages holds a file that is not its own");
  }
  const absl::StatusOr<std::string> dropped = ReadFile(JoinPath(folder, kDroppedFile), 64);
  if (dropped.ok() && !absl::SimpleAtoi(*dropped, &spool->dropped_)) spool->dropped_ = 1;
  return spool;
}

absl::StatusOr<std::vector<std::string>> AtnaSpool::List() const {
  std::vector<std::string> names;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      std::string name = entry.path().filename().string();
      if (absl::EndsWith(name, kSuffix)) names.push_back(std::move(name));
    }
  } catch (const fs::filesystem_error& error) {
    return absl::UnavailableError(
        absl::StrCat("the spool of audit messages: ", error.code().message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A count that cannot be kept is a count too low by one start; the log has the rest.
void AtnaSpool::CountDropped() {
  ++dropped_;
  (void)WriteFileAtomic(JoinPath(folder_, kDroppedFile), absl::StrCat(dropped_), kPrivateFile);
}

absl::Status AtnaSpool::Append(absl::string_view frame, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  if (count_ >= messages_max_) {
    CountDropped();
    return absl::ResourceExhaustedError(absl::StrCat(
        "the spool holds ", count_, " audit messages; the repository has to be reached again"));
  }
  // By time, but never backwards: a clock that was set back must not turn the order round.
  last_ns_ = std::max(last_ns_ + 1, absl::ToUnixNanos(now));
  const std::string name = absl::StrFormat("%020d-%d%s", last_ns_, ::getpid(), kSuffix);
  const absl::Status written = WriteFileAtomic(JoinPath(folder_, name), frame, kPrivateFile);
  if (!written.ok()) {
    CountDropped();
    return absl::ResourceExhaustedError(
        absl::StrCat("an audit message could not be spooled: ", written.message()));
  }
  ++count_;
  return absl::OkStatus();
}

uint64_t AtnaSpool::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

absl::Status AtnaSpool::ClearDropped() {
  absl::MutexLock lock(&mutex_);
  dropped_ = 0;
  return WriteFileAtomic(JoinPath(folder_, kDroppedFile), "0", kPrivateFile);
}

absl::StatusOr<std::vector<std::string>> AtnaSpool::Oldest(size_t count_max) const {
  CSL_ASSIGN_OR_RETURN(std::vector<std::string> names, List());
  if (names.size() > count_max) names.resize(count_max);
  return names;
}

absl::StatusOr<std::string> AtnaSpool::Read(const std::string& name) const {
  absl::StatusOr<std::string> frame = ReadFile(JoinPath(folder_, name), kFrameBytesMax);
  if (!frame.ok()) return absl::DataLossError("a spooled audit message cannot be read");
  return frame;
}

void AtnaSpool::Remove(const std::string& name) {
  std::error_code ignored;
  fs::remove(JoinPath(folder_, name), ignored);
  absl::MutexLock lock(&mutex_);
  if (count_ > 0) --count_;
}

}  // namespace consilium::privacy
