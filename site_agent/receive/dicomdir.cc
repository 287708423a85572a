#include "site_agent/receive/dicomdir.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

constexpr size_t kComponentsMax = 8;  // PS3.10 8.2

// A component of a file ID: PS3.10 8.2 has capitals, digits and the underscore; media in use also
// have small letters, dots and hyphens.
bool IsComponent(const std::string& text) {
  if (text.empty() || text == "." || text == "..") return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '.' && c != '-') {
      return false;
    }
  }
  return true;
}

// The entry of that name; file systems of media show names in small letters too.
std::optional<std::string> Entry(const std::string& folder, const std::string& name) {
  for (const std::string& spelled : {name, absl::AsciiStrToLower(name)}) {
    std::string path = JoinPath(folder, spelled);
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(path, ignored);
    if (fs::is_regular_file(status) || fs::is_directory(status)) return path;
  }
  return std::nullopt;
}

std::optional<std::string> Locate(const std::string& root, const std::vector<std::string>& id) {
  if (id.empty() || id.size() > kComponentsMax) return std::nullopt;
  std::optional<std::string> path = root;
  for (const std::string& component : id) {
    if (!IsComponent(component)) return std::nullopt;
    path = Entry(*path, component);
    if (!path) return std::nullopt;
  }
  std::error_code ignored;
  return fs::is_regular_file(*path, ignored) ? path : std::nullopt;
}

absl::Status AddListed(const std::string& dicomdir, std::vector<std::string>& files) {
  CSL_ASSIGN_OR_RETURN(const imaging::DicomFile file, imaging::DicomFile::Open(dicomdir));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  const std::string folder = fs::path(dicomdir).parent_path().string();
  const std::string root = folder.empty() ? "." : folder;
  const size_t before = files.size();
  for (DcmItem* record : imaging::SequenceItems(*dataset, DCM_DirectoryRecordSequence)) {
    const auto path = Locate(root, imaging::Texts(*record, DCM_ReferencedFileID));
    if (path) files.push_back(*path);
  }
  if (files.size() > before) return absl::OkStatus();
  return absl::NotFoundError("none of the files that the DICOMDIR lists is there");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandDicomdirs(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (absl::EqualsIgnoreCase(BaseName(path), "DICOMDIR") && fs::is_regular_file(path, ignored)) {
      CSL_RETURN_IF_ERROR(AddListed(path, files));
    } else {
      files.push_back(path);
    }
  }
  return files;
}

}  // namespace consilium::agent
