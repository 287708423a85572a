#include "privacy/secagg/consent_ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/codec.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

constexpr char kFileName[] = "consents";
constexpr size_t kTextBytes = 2 * kDigestBytes;
constexpr size_t kRecordBytes = kTextBytes + 4;

std::string KeyOf(const Job& job) {
  return privacy::Sha256(
      absl::StrCat(Prefixed(job.job), BigEndian64(job.round), Prefixed(job.model_digest)));
}

std::string AgreedOf(absl::string_view session_id, absl::string_view survivors) {
  return privacy::Sha256(absl::StrCat(Prefixed(session_id), Prefixed(survivors)));
}

std::string RecordOf(absl::string_view key, absl::string_view agreed) {
  std::string record = absl::StrCat(key, agreed);
  char crc[4];
  StoreLe32(Crc32c(record), crc);
  record.append(crc, sizeof(crc));
  return record;
}

bool Intact(absl::string_view record) {
  return Crc32c(record.substr(0, kTextBytes)) == LoadLe32(record.data() + kTextBytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileConsentLedger>> FileConsentLedger::Open(
    const std::string& folder) {
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  const std::string path = JoinPath(folder, kFileName);
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate));
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  absl::flat_hash_map<std::string, std::string> agreed;
  uint64_t bytes = 0;
  for (; bytes + kRecordBytes <= text.size(); bytes += kRecordBytes) {
    const absl::string_view record = absl::string_view(text).substr(bytes, kRecordBytes);
    if (!Intact(record)) {
      // A write that a crash cut short may have its length already, but nothing follows it.
      if (bytes + 2 * kRecordBytes <= text.size()) {
        return absl::DataLossError(absl::StrCat("the consents' file is damaged at byte ", bytes));
      }
      break;
    }
    agreed.emplace(record.substr(0, kDigestBytes), record.substr(kDigestBytes, kDigestBytes));
  }
  CSL_RETURN_IF_ERROR(file.Truncate(bytes));
  CSL_RETURN_IF_ERROR(file.Sync());
  CSL_RETURN_IF_ERROR(SyncDir(folder));
  return std::unique_ptr<FileConsentLedger>(
      new FileConsentLedger(std::move(file), bytes, std::move(agreed)));
}

absl::Status FileConsentLedger::Record(const Job& job, absl::string_view session_id,
                                       absl::string_view survivors) {
  const std::string key = KeyOf(job);
  const std::string agreed = AgreedOf(session_id, survivors);
  const absl::MutexLock lock(&mutex_);
  if (const auto known = agreed_.find(key); known != agreed_.end()) {
    if (known->second == agreed) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("round ", job.round, ": other survivors were consented to before"));
  }
  if (bytes_ + kRecordBytes > kFileBytesMax) {
    return absl::ResourceExhaustedError("the consents' file is full");
  }
  CSL_RETURN_IF_ERROR(file_.WriteAt(bytes_, RecordOf(key, agreed)));
  CSL_RETURN_IF_ERROR(file_.Sync());
  bytes_ += kRecordBytes;
  agreed_.emplace(key, agreed);
  return absl::OkStatus();
}

}  // namespace consilium::secagg
