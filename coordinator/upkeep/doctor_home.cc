#include "coordinator/upkeep/doctor_home.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/expiry.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr uint64_t kFreeBytesMin = uint64_t{1} << 30;
constexpr uint64_t kModelsOfRoom = 4;  // the new version, staged updates, slack

enum class Need { kRequired, kOptional };

void ExamineKey(const std::string& home, const char* name, Need need, Findings& findings) {
  struct stat info;
  if (::stat(JoinPath(home, name).c_str(), &info) != 0) {
    if (need == Need::kRequired) {
      findings.Error(absl::StrCat(name, " is missing"), "restore it from a backup");
    }
    return;
  }
  if ((info.st_mode & 077) != 0) {
    findings.Error(absl::StrCat(name, " can be read by others than its owner"),
                   absl::StrCat("chmod 600 ", name, ", and think about who may have read it"));
  }
}

void ExamineCertificate(const std::string& home, const char* name, absl::Time now,
                        Findings& findings) {
  const absl::StatusOr<std::string> pem = ReadFile(JoinPath(home, name), kPemBytesMax);
  if (!pem.ok()) {
    findings.Error(absl::StrCat(name, " does not read"), "restore it from a backup");
    return;
  }
  const absl::StatusOr<absl::Time> end = privacy::CertificateNotAfter(*pem);
  if (!end.ok()) {
    findings.Error(absl::StrCat(name, " is no certificate"), "restore it from a backup");
  } else if (*end <= now) {
    findings.Error(absl::StrCat(name, " has expired"), "issue a new one: `consilium renew`");
  } else if (*end - now < privacy::kExpirySoon) {
    findings.Warning(absl::StrCat(name, " expires in ", absl::ToInt64Hours(*end - now) / 24,
                                  " days"),
                     "issue a new one before: `consilium renew`");
  }
}

// A coordinator that runs goes on with the old pair, but would not start with this one.
void ExamineServerPair(const std::string& home, Findings& findings) {
  const absl::StatusOr<std::string> pem = ReadFile(JoinPath(home, "server.crt"), kPemBytesMax);
  const absl::StatusOr<std::string> key = ReadFile(JoinPath(home, "server.key"), kPemBytesMax);
  if (!pem.ok() || !key.ok()) return;  // said already
  if (!privacy::CheckCertificateKey(*pem, privacy::SecretBytes(*key)).ok()) {
    findings.Error("server.crt is not for server.key",
                   "put the key back that it is for, or run `consilium renew`");
  }
}

void ExamineSpace(const std::string& home, uint64_t largest_model, Findings& findings) {
  struct statvfs info;
  if (::statvfs(home.c_str(), &info) != 0) return;
  const uint64_t free = uint64_t{info.f_bavail} * info.f_frsize;
  if (free < std::max(kFreeBytesMin, kModelsOfRoom * largest_model)) {
    findings.Warning(absl::StrCat("only ", free >> 20, " MiB of the home's disk are free"),
                     "make room, or set retention_versions and run `consilium model gc`");
  }
}

}  // namespace

void ExamineFiles(const std::string& home, uint64_t largest_model, const Clock& clock,
                  Findings& findings) {
  ExamineKey(home, "server.key", Need::kRequired, findings);
  ExamineKey(home, "sealing.key", Need::kRequired, findings);
  ExamineKey(home, "audit.key", Need::kOptional, findings);  // homes of before it get one at start
  ExamineKey(home, "ca/ca.key", Need::kOptional, findings);  // may be offline
  ExamineKey(home, "admin/client.key", Need::kOptional, findings);
  ExamineCertificate(home, "ca/ca.crt", clock.Now(), findings);
  ExamineCertificate(home, "server.crt", clock.Now(), findings);
  ExamineServerPair(home, findings);
  if (PathExists(JoinPath(home, "admin/client.crt"))) {
    ExamineCertificate(home, "admin/client.crt", clock.Now(), findings);
  }
  ExamineSpace(home, largest_model, findings);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(JoinPath(home, "models"), error)) {
    findings.Warning(absl::StrCat("models/", entry.path().filename().string(),
                                  " was not taken over into chunks"),
                     "it is damaged or of no version: restore the version from a backup, or remove "
                     "the file");
  }
}

}  // namespace consilium::coordinator
