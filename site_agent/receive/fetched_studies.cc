#include "site_agent/receive/fetched_studies.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kRememberedBytesMax = uint64_t{64} << 20;

}  // namespace

absl::StatusOr<FetchedStudies> FetchedStudies::Load(const std::string& home) {
  FetchedStudies out;
  out.path_ = JoinPath(JoinPath(home, "quarantine"), "fetched");
  if (!PathExists(out.path_)) return out;
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(out.path_, kRememberedBytesMax));
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    out.studies_.insert(std::string(line));
  }
  return out;
}

absl::Status FetchedStudies::Add(const std::string& study) {
  studies_.insert(study);
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path_, File::Mode::kReadWriteCreate));
  CSL_ASSIGN_OR_RETURN(const uint64_t end, file.Bytes());
  CSL_RETURN_IF_ERROR(file.WriteAt(end, absl::StrCat(study, "\n")));
  return file.Sync();
}

}  // namespace consilium::agent
