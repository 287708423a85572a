// NoteSigner's key file.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/transparency/note.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint64_t kKeyFileBytesMax = 4096;

absl::StatusOr<Ed25519Key> ReadKey(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        BaseName(path), " may be read by others than its owner; make it private (chmod 600), or, "
        "if it may have been read, remove it: a new key is made"));
  }
  CSL_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kKeyFileBytesMax));
  const SecretBytes secret(pem);
  std::fill(pem.begin(), pem.end(), '\0');
  absl::StatusOr<Ed25519Key> key = Ed25519Key::FromPem(secret);
  if (!key.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        BaseName(path), " is not an Ed25519 key (PKCS#8 PEM); restore it from a backup, or remove "
        "it to have a new key made, which the others then have to be told of"));
  }
  return key;
}

}  // namespace

absl::StatusOr<NoteSigner> NoteSigner::OpenFile(const std::string& path, absl::string_view name,
                                                uint8_t algorithm) {
  if (PathExists(path)) {
    CSL_ASSIGN_OR_RETURN(Ed25519Key key, ReadKey(path));
    return Create(name, algorithm, std::move(key));
  }
  CSL_ASSIGN_OR_RETURN(NoteSigner signer, Generate(name, algorithm));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(path, signer.key_.ToPem().view(), kPrivateFile));
  return signer;
}

}  // namespace consilium::privacy
