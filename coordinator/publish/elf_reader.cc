#include "coordinator/publish/elf_reader.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

constexpr size_t kSegmentsMax = 256;
constexpr size_t kDynamicEntriesMax = 16 * 1024;
constexpr size_t kNeededMax = 2048;
constexpr size_t kStringBytesMax = 16 * 1024;

absl::Status Broken(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a sound ELF file: ", what));
}

class Reader {
 public:
  Reader(const File& file, uint64_t bytes) : file_(file), bytes_(bytes) {}

  absl::StatusOr<ElfFacts> Read() {
    CSL_RETURN_IF_ERROR(ReadHeader());
    CSL_RETURN_IF_ERROR(ReadSegments());
    CSL_RETURN_IF_ERROR(ReadInterpreter());
    CSL_RETURN_IF_ERROR(ReadDynamic());
    return std::move(facts_);
  }

 private:
  bool Fits(uint64_t offset, uint64_t size) const {
    return offset <= bytes_ && size <= bytes_ - offset;
  }

  template <typename T>
  absl::Status ReadArray(uint64_t offset, size_t count, std::vector<T>& out,
                         absl::string_view what) {
    if (!Fits(offset, count * sizeof(T))) return Broken(absl::StrCat(what, " beyond the end"));
    out.resize(count);
    if (count == 0) return absl::OkStatus();
    return file_.ReadAt(offset, reinterpret_cast<char*>(out.data()), count * sizeof(T));
  }

  absl::Status ReadHeader() {
    if (!Fits(0, sizeof(header_))) return Broken("shorter than its header");
    CSL_RETURN_IF_ERROR(file_.ReadAt(0, reinterpret_cast<char*>(&header_), sizeof(header_)));
    if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) return Broken("no ELF magic");
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB) {
      return Broken("not 64-bit little-endian");
    }
    if (header_.e_type != ET_EXEC && header_.e_type != ET_DYN) {
      return Broken("neither a program nor a library");
    }
    facts_.machine = header_.e_machine;
    return absl::OkStatus();
  }

  absl::Status ReadSegments() {
    if (header_.e_phnum == 0) return absl::OkStatus();
    if (header_.e_phentsize != sizeof(Elf64_Phdr)) return Broken("odd segment headers");
    if (header_.e_phnum > kSegmentsMax) return Broken("too many segments");
    return ReadArray(header_.e_phoff, header_.e_phnum, segments_, "segment headers");
  }

  const Elf64_Phdr* Segment(uint32_t type) const {
    const auto it = std::find_if(segments_.begin(), segments_.end(),
                                 [type](const Elf64_Phdr& s) { return s.p_type == type; });
    return it == segments_.end() ? nullptr : &*it;
  }

  // The text at `offset` up to its NUL, which must come within `limit` bytes.
  absl::StatusOr<std::string> Text(uint64_t offset, uint64_t limit, absl::string_view what) {
    if (offset >= bytes_) return Broken(absl::StrCat(what, " beyond the end"));
    std::vector<char> buffer;
    const uint64_t size = std::min({limit, bytes_ - offset, uint64_t{kStringBytesMax}});
    CSL_RETURN_IF_ERROR(ReadArray(offset, static_cast<size_t>(size), buffer, what));
    const auto end = std::find(buffer.begin(), buffer.end(), '\0');
    if (end == buffer.end()) return Broken(absl::StrCat(what, " without an end"));
    return std::string(buffer.begin(), end);
  }

  absl::Status ReadInterpreter() {
    const Elf64_Phdr* segment = Segment(PT_INTERP);
    if (segment == nullptr) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(facts_.interpreter,
                         Text(segment->p_offset, segment->p_filesz, "interpreter"));
    const std::filesystem::path path = facts_.interpreter;
    if (!path.is_absolute() || !path.has_filename() || path != path.lexically_normal()) {
      return Broken("interpreter is not a plain absolute path");
    }
    return absl::OkStatus();
  }

  // Where the byte at `address` of the loaded image lies in the file.
  absl::StatusOr<uint64_t> OffsetOf(uint64_t address) const {
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_LOAD || address < segment.p_vaddr) continue;
      const uint64_t into = address - segment.p_vaddr;
      if (into >= segment.p_filesz || segment.p_offset > bytes_) continue;
      if (into > bytes_ - segment.p_offset) continue;
      return segment.p_offset + into;
    }
    return Broken("string table is not in the file");
  }

  absl::Status ReadDynamic() {
    const Elf64_Phdr* segment = Segment(PT_DYNAMIC);
    if (segment == nullptr) return absl::OkStatus();
    const uint64_t count = segment->p_filesz / sizeof(Elf64_Dyn);
    if (count > kDynamicEntriesMax) return Broken("too many dynamic entries");
    std::vector<Elf64_Dyn> entries;
    CSL_RETURN_IF_ERROR(
        ReadArray(segment->p_offset, static_cast<size_t>(count), entries, "dynamic section"));
    const auto end = std::find_if(entries.begin(), entries.end(),
                                  [](const Elf64_Dyn& e) { return e.d_tag == DT_NULL; });
    entries.erase(end, entries.end());
    uint64_t strings_address = 0;
    uint64_t strings_bytes = 0;
    for (const Elf64_Dyn& entry : entries) {
      if (entry.d_tag == DT_STRTAB) strings_address = entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRSZ) strings_bytes = entry.d_un.d_val;
    }
    if (strings_bytes == 0)
      return absl::OkStatus();  // nothing is named: static position-independent
    CSL_ASSIGN_OR_RETURN(const uint64_t strings, OffsetOf(strings_address));
    if (!Fits(strings, strings_bytes)) return Broken("string table beyond the end");
    for (const Elf64_Dyn& entry : entries) {
      CSL_RETURN_IF_ERROR(TakeEntry(entry, strings, strings_bytes));
    }
    return absl::OkStatus();
  }

  absl::Status TakeEntry(const Elf64_Dyn& entry, uint64_t strings, uint64_t strings_bytes) {
    const auto tag = entry.d_tag;
    if (tag != DT_NEEDED && tag != DT_RPATH && tag != DT_RUNPATH) return absl::OkStatus();
    const uint64_t at = entry.d_un.d_val;
    if (at >= strings_bytes) return Broken("a name beyond the string table");
    CSL_ASSIGN_OR_RETURN(std::string text, Text(strings + at, strings_bytes - at, "a name"));
    if (tag == DT_RPATH) facts_.rpath = std::move(text);
    if (tag == DT_RUNPATH) facts_.runpath = std::move(text);
    if (tag == DT_NEEDED) {
      if (facts_.needed.size() == kNeededMax) return Broken("too many needed libraries");
      facts_.needed.push_back(std::move(text));
    }
    return absl::OkStatus();
  }

  const File& file_;
  const uint64_t bytes_;
  Elf64_Ehdr header_ = {};
  std::vector<Elf64_Phdr> segments_;
  ElfFacts facts_;
};

}  // namespace

absl::StatusOr<ElfFacts> ReadElf(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  absl::StatusOr<ElfFacts> facts = Reader(file, bytes).Read();
  if (!facts.ok()) return Annotate(facts.status(), BaseName(path));
  return facts;
}

}  // namespace consilium::publish
