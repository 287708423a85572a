#include "site_agent/round/masking/session_store.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secagg/codec.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kMagic = "CSLSITE1";
constexpr const char* kSessionName = "session";
constexpr uint64_t kSessionBytesMax = 1024 * 1024;  // 255 sites take about 150 KB
constexpr size_t kTextBytesMax = 1024;

struct SessionFolder {
  fs::path path;
  std::string study;
  int64_t round = 0;
};

std::vector<SessionFolder> FoldersIn(const std::string& folder) {
  std::vector<SessionFolder> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const size_t at = name.find('@');  // which no study's name has
    int64_t round = 0;
    if (at == std::string::npos || !absl::SimpleAtoi(name.substr(at + 1), &round)) continue;
    found.push_back({entry.path(), name.substr(0, at), round});
  }
  return found;
}

void Wipe(const fs::path& folder) {
  const std::string path = (folder / kSessionName).string();
  if (const auto bytes = FileBytes(path); bytes.ok() && *bytes <= kSessionBytesMax) {
    auto file = File::Open(path, File::Mode::kReadWriteCreate);
    if (file.ok()) {
      (void)file->WriteAt(0, std::string(*bytes, '\0'));  // it goes all the same
      (void)file->Sync();
    }
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

void WriteKeys(const SiteKeys& keys, secagg::SecretWriter& out) {
  const secagg::KeyAnnouncement& own = keys.announcement;
  for (const std::string* field :
       {&own.site, &own.certificate_pem, &own.certificate_fingerprint, &own.identity_key,
        &own.mask_key, &own.box_key, &own.signature, &keys.protocol_key_signature}) {
    out.Prefixed(*field);
  }
}

SiteKeys ReadKeys(secagg::Reader& in) {
  SiteKeys keys;
  secagg::KeyAnnouncement& own = keys.announcement;
  for (std::string* field :
       {&own.site, &own.certificate_pem, &own.certificate_fingerprint, &own.identity_key,
        &own.mask_key, &own.box_key, &own.signature, &keys.protocol_key_signature}) {
    *field = std::string(in.Prefixed(secagg::kCertificateBytesMax));
  }
  return keys;
}

privacy::SecretBytes Encode(const StoredSession& stored) {
  secagg::SecretWriter out;
  out.Fixed(kMagic);
  out.Prefixed(stored.study);
  out.U64(static_cast<uint64_t>(stored.round));
  out.Prefixed(stored.train_task_id);
  out.Prefixed(stored.job_sha256);
  WriteKeys(stored.keys, out);
  out.U32(static_cast<uint32_t>(stored.roster.size()));
  for (const std::string& site : stored.roster) out.Prefixed(site);
  out.U8(stored.masked ? 1 : 0);
  out.Prefixed(stored.survivors);
  out.Prefixed(stored.session.Serialize().view());
  return std::move(out).Finish();
}

absl::StatusOr<StoredSession> Decode(absl::string_view bytes) {
  secagg::Reader in(bytes);
  if (in.Fixed(kMagic.size()) != kMagic) return absl::DataLossError("another form");
  std::string study(in.Prefixed(kTextBytesMax));
  const auto round = static_cast<int64_t>(in.U64());
  std::string task_id(in.Prefixed(kTextBytesMax));
  std::string job_sha256(in.Prefixed(kTextBytesMax));
  SiteKeys keys = ReadKeys(in);
  std::vector<std::string> roster(in.Count(secagg::kSitesMax));
  for (std::string& site : roster) site = std::string(in.Prefixed(secagg::kSiteBytesMax));
  const bool masked = in.U8() != 0;
  std::string survivors(in.Prefixed(kTextBytesMax));
  const absl::string_view session = in.Prefixed(kSessionBytesMax);
  CSL_RETURN_IF_ERROR(in.Finish());
  CSL_ASSIGN_OR_RETURN(secagg::SiteSession restored, secagg::SiteSession::Restore(session));
  return StoredSession{
      std::move(study),  round,  std::move(task_id),   std::move(job_sha256), std::move(keys),
      std::move(roster), masked, std::move(survivors), std::move(restored)};
}

absl::StatusOr<StoredSession> ReadSession(const fs::path& folder) {
  CSL_ASSIGN_OR_RETURN(std::string bytes,
                       ReadFile((folder / kSessionName).string(), kSessionBytesMax));
  const privacy::SecretBytes secret(bytes);
  std::fill(bytes.begin(), bytes.end(), '\0');
  absl::StatusOr<StoredSession> stored = Decode(secret.view());
  if (!stored.ok()) return absl::DataLossError("a session's file is damaged");
  return stored;
}

}  // namespace

absl::StatusOr<SessionStore> SessionStore::Open(const std::string& home, absl::Time now) {
  SessionStore store(JoinPath(home, "secagg"));
  CSL_RETURN_IF_ERROR(MakeDirs(store.folder_));
  for (const SessionFolder& item : FoldersIn(store.folder_)) {
    std::error_code error;
    const auto saved = fs::last_write_time(item.path, error);
    if (error) continue;
    const auto age = std::chrono::file_clock::from_sys(absl::ToChronoTime(now)) - saved;
    if (absl::FromChrono(age) > kKeptMax) Wipe(item.path);
  }
  return store;
}

std::string SessionStore::FolderOf(const std::string& study, int64_t round) const {
  return JoinPath(folder_, absl::StrCat(study, "@", round));
}

absl::StatusOr<StoredSession> SessionStore::Load(const std::string& study, int64_t round) const {
  return ReadSession(FolderOf(study, round));
}

absl::Status SessionStore::Save(const StoredSession& stored) const {
  const std::string folder = FolderOf(stored.study, stored.round);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(folder, kSessionName), Encode(stored).view(), kPrivateFile));
  return SyncDir(folder_);
}

void SessionStore::Remove(const std::string& study, int64_t round) const {
  Wipe(FolderOf(study, round));
}

void SessionStore::RemoveBefore(const std::string& study, int64_t round) const {
  for (const SessionFolder& item : FoldersIn(folder_)) {
    if (item.study == study && item.round < round) Wipe(item.path);
  }
}

bool SessionStore::RemoveOfTask(const std::string& train_task_id) const {
  bool removed = false;
  for (const SessionFolder& item : FoldersIn(folder_)) {
    const auto stored = ReadSession(item.path);
    if (!stored.ok() || stored->train_task_id != train_task_id) continue;
    Wipe(item.path);
    removed = true;
  }
  return removed;
}

}  // namespace consilium::agent
