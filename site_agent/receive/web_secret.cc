#include "site_agent/receive/web_secret.h"

#include <sys/stat.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kFileBytesMax = 8192;
constexpr size_t kTokenBytesMin = 16;

absl::StatusOr<std::string> ReadLine(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(BaseName(path), ": others may read this secret; chmod 600"));
  }
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  return std::string(absl::StripAsciiWhitespace(text.substr(0, text.find('\n'))));
}

}  // namespace

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(std::string token, ReadLine(path));
  bool good = token.size() >= kTokenBytesMin;
  for (const char c : token) good = good && absl::ascii_isgraph(static_cast<unsigned char>(c));
  if (good) return token;
  return absl::InvalidArgumentError(
      absl::StrCat(BaseName(path), ": must be one line of at least 16 characters without blanks"));
}

absl::StatusOr<std::string> AuthorizationOf(const WebCredentials& credentials) {
  if (credentials.kind == WebCredentials::Kind::kToken) {
    CSL_ASSIGN_OR_RETURN(const std::string token, ReadToken(credentials.file));
    return absl::StrCat("Bearer ", token);
  }
  CSL_ASSIGN_OR_RETURN(const std::string login, ReadLine(credentials.file));
  if (!absl::StrContains(login, ':')) {
    return absl::InvalidArgumentError(
        absl::StrCat(BaseName(credentials.file), ": must be one line, USER:PASSWORD"));
  }
  return absl::StrCat("Basic ", absl::Base64Escape(login));
}

}  // namespace consilium::agent
