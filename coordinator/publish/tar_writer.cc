#include "coordinator/publish/tar_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

constexpr size_t kBlockBytes = 512;
constexpr size_t kPieceBytes = 1024 * 1024;
constexpr size_t kNameBytes = 100;
constexpr uint64_t kUstarBytesMax = uint64_t{8} << 30;  // 11 octal digits

struct UstarHeader {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char major[8];
  char minor[8];
  char prefix[155];
  char padding[12];
};
static_assert(sizeof(UstarHeader) == kBlockBytes);

template <size_t N>
void PutText(char (&field)[N], absl::string_view text) {
  std::memcpy(field, text.data(), std::min(N, text.size()));
}

template <size_t N>
void PutOctal(char (&field)[N], uint64_t value) {
  PutText(field, absl::StrFormat("%0*o", static_cast<int>(N - 1), value));
}

std::string Header(absl::string_view path, absl::string_view link, mode_t mode, uint64_t size,
                   char type) {
  UstarHeader header = {};
  PutText(header.name, path);
  PutOctal(header.mode, mode);
  PutOctal(header.uid, 0);
  PutOctal(header.gid, 0);
  PutOctal(header.size, size < kUstarBytesMax ? size : 0);
  PutOctal(header.mtime, 0);
  header.type = type;
  PutText(header.link, link);
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
  PutOctal(header.major, 0);
  PutOctal(header.minor, 0);
  std::memset(header.checksum, ' ', sizeof(header.checksum));
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlockBytes; ++i) sum += bytes[i];
  std::memcpy(header.checksum, absl::StrFormat("%06o", sum).c_str(), 7);  // six digits, NUL, space
  return std::string(reinterpret_cast<const char*>(&header), kBlockBytes);
}

std::string Padding(uint64_t size) {
  return std::string((kBlockBytes - size % kBlockBytes) % kBlockBytes, '\0');
}

// "LENGTH key=value\n", where LENGTH counts itself.
std::string PaxRecord(absl::string_view key, absl::string_view value) {
  const std::string rest = absl::StrCat(" ", key, "=", value, "\n");
  size_t length = rest.size() + 1;
  while (absl::StrCat(length).size() + rest.size() != length) ++length;
  return absl::StrCat(length, rest);
}

// The header of an entry, after a pax header where it needs one.
std::string Headers(const std::string& path, const TarEntry& entry, uint64_t size) {
  const bool folder = entry.kind == TarEntry::Kind::kFolder;
  const std::string name = folder ? absl::StrCat(path, "/") : path;
  std::string pax;
  if (name.size() > kNameBytes) pax += PaxRecord("path", name);
  if (entry.target.size() > kNameBytes) pax += PaxRecord("linkpath", entry.target);
  if (size >= kUstarBytesMax) pax += PaxRecord("size", absl::StrCat(size));
  std::string headers;
  if (!pax.empty()) {
    headers = absl::StrCat(Header("pax", "", 0644, pax.size(), 'x'), pax, Padding(pax.size()));
  }
  const char type = folder ? '5' : entry.kind == TarEntry::Kind::kLink ? '2' : '0';
  return headers + Header(absl::string_view(name).substr(0, kNameBytes),
                          absl::string_view(entry.target).substr(0, kNameBytes), entry.mode, size,
                          type);
}

absl::Status WriteSource(const File& file, uint64_t size, const TarSink& sink) {
  std::vector<char> piece(static_cast<size_t>(std::min<uint64_t>(size, kPieceBytes)));
  for (uint64_t offset = 0; offset < size;) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(size - offset, piece.size()));
    CSL_RETURN_IF_ERROR(file.ReadAt(offset, piece.data(), count));
    CSL_RETURN_IF_ERROR(sink(absl::string_view(piece.data(), count)));
    offset += count;
  }
  return absl::OkStatus();
}

absl::Status WriteEntry(const std::string& path, const TarEntry& entry, const TarSink& sink) {
  if (entry.source.empty()) {
    CSL_RETURN_IF_ERROR(sink(Headers(path, entry, entry.content.size())));
    if (entry.content.empty()) return absl::OkStatus();
    return sink(absl::StrCat(entry.content, Padding(entry.content.size())));
  }
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(entry.source, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t size, file.Bytes());
  CSL_RETURN_IF_ERROR(sink(Headers(path, entry, size)));
  const absl::Status status = WriteSource(file, size, sink);
  if (absl::IsOutOfRange(status)) {
    return absl::UnavailableError(
        absl::StrCat(BaseName(entry.source), " changed while it was read"));
  }
  CSL_RETURN_IF_ERROR(status);
  const std::string padding = Padding(size);
  return padding.empty() ? absl::OkStatus() : sink(padding);
}

bool IsSoundPath(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.back() == '/') return false;
  return !absl::StrContains(absl::StrCat("/", path, "/"), "/../") &&
         !absl::StrContains(absl::StrCat("/", path, "/"), "/./") && !absl::StrContains(path, "//");
}

}  // namespace

void TarTree::AddFile(const std::string& path, std::string content, mode_t mode) {
  Add(path, {TarEntry::Kind::kFile, mode, std::move(content), "", ""});
}

void TarTree::AddFileFrom(const std::string& path, std::string source, mode_t mode) {
  Add(path, {TarEntry::Kind::kFile, mode, "", std::move(source), ""});
}

void TarTree::AddFolder(const std::string& path, mode_t mode) {
  Add(path, {TarEntry::Kind::kFolder, mode, "", "", ""});
}

void TarTree::AddLink(const std::string& path, std::string target) {
  Add(path, {TarEntry::Kind::kLink, 0777, "", "", std::move(target)});
}

void TarTree::Add(const std::string& path, TarEntry entry) {
  CSL_CHECK(IsSoundPath(path));
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    entries_.try_emplace(path.substr(0, slash),
                         TarEntry{TarEntry::Kind::kFolder, 0755, "", "", ""});
  }
  entries_.insert_or_assign(path, std::move(entry));
}

absl::Status WriteTar(const TarTree& tree, const TarSink& sink) {
  for (const auto& [path, entry] : tree.entries()) {
    CSL_RETURN_IF_ERROR(WriteEntry(path, entry, sink));
  }
  return sink(std::string(2 * kBlockBytes, '\0'));
}

}  // namespace consilium::publish
