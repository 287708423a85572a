#include "coordinator/publish/elf_closure.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/publish/elf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::publish {
namespace {

namespace fs = std::filesystem;

// The files that ldd names, links followed, without the loader and the kernel's page.
std::set<std::string> LddFiles(const std::string& program) {
  std::string text;
  FILE* pipe = ::popen(("env -u LD_LIBRARY_PATH ldd " + program).c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    text.append(buffer.data(), count);
  }
  ::pclose(pipe);
  std::set<std::string> files;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, " => ");
    if (parts.size() != 2) continue;
    files.insert(fs::canonical(parts[1].substr(0, parts[1].find(" ("))).string());
  }
  return files;
}

std::set<std::string> ClosureFiles(const std::string& program) {
  const absl::StatusOr<ElfClosure> closure = FindElfClosure(program, SystemLibraryFolders());
  EXPECT_TRUE(closure.ok()) << closure.status();
  std::set<std::string> files;
  if (!closure.ok()) return files;
  for (const auto& library : closure->libraries) files.insert(library.second);
  return files;
}

std::string ThisProgram() { return fs::read_symlink("/proc/self/exe").string(); }

TEST(ElfClosureTest, IsWhatTheLoaderLoads) {
  for (const std::string& program : {std::string("/bin/true"), ThisProgram()}) {
    const std::set<std::string> expected = LddFiles(program);
    ASSERT_FALSE(expected.empty()) << program;
    EXPECT_EQ(ClosureFiles(program), expected) << program;
  }
}

TEST(ElfClosureTest, LargeLibrariesOfOthersToo) {
  for (const char* library :
       {"/usr/lib/x86_64-linux-gnu/libtorch_cpu.so", "/usr/lib/x86_64-linux-gnu/libdcmseg.so"}) {
    if (!PathExists(library)) continue;
    std::set<std::string> files = ClosureFiles(library);
    // A library names no loader, so its loader counts as one more library; ldd leaves it out.
    std::erase_if(files,
                  [](const std::string& file) { return absl::StrContains(file, "/ld-linux"); });
    EXPECT_EQ(files, LddFiles(library)) << library;
  }
}

TEST(ElfClosureTest, LoaderIsNamed) {
  const auto closure = FindElfClosure("/bin/true", SystemLibraryFolders());
  ASSERT_TRUE(closure.ok()) << closure.status();
  EXPECT_TRUE(absl::StrContains(closure->interpreter, "/ld-linux")) << closure->interpreter;
  EXPECT_TRUE(closure->libraries.contains("libc.so.6"));
}

TEST(ElfClosureTest, MissingLibraryIsNamedWithWhoNeedsIt) {
  const auto closure = FindElfClosure("/bin/true", {"/nowhere"});
  EXPECT_TRUE(absl::IsNotFound(closure.status()));
  EXPECT_THAT(std::string(closure.status().message()), ::testing::HasSubstr("libc.so.6"));
  EXPECT_THAT(std::string(closure.status().message()), ::testing::HasSubstr("true"));
}

class HostileElfTest : public ::testing::Test {
 protected:
  HostileElfTest()
      : dir_(*TempDir::Create("elf")),
        path_(JoinPath(dir_.path(), "x")),
        sound_(*ReadFile(fs::canonical("/bin/true").string(), 1 << 24)) {}
  absl::Status Read(absl::string_view bytes) {
    std::ofstream(path_, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return ReadElf(path_).status();
  }
  TempDir dir_;
  std::string path_;
  std::string sound_;
};

TEST_F(HostileElfTest, NotElf) {
  EXPECT_TRUE(absl::IsInvalidArgument(Read("")));
  EXPECT_TRUE(absl::IsInvalidArgument(Read("#!/bin/sh\n")));
  EXPECT_TRUE(absl::IsInvalidArgument(Read(std::string(4096, '\x7f'))));
  std::string other = sound_;
  other[4] = 1;  // 32 bit
  EXPECT_TRUE(absl::IsInvalidArgument(Read(other)));
}

TEST_F(HostileElfTest, EveryTruncationOfTheHeadersIsRefused) {
  for (size_t size = 0; size < 1000; size += 7) {
    EXPECT_TRUE(absl::IsInvalidArgument(Read(sound_.substr(0, size)))) << size;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Read(sound_.substr(0, sound_.size() / 2))));
  EXPECT_TRUE(Read(sound_).ok());
}

TEST_F(HostileElfTest, DamageNeverCrashes) {
  std::mt19937 random(20260101);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = sound_;
    const size_t reach = i % 2 == 0 ? 1024 : damaged.size();  // headers, then anywhere
    for (int j = 0; j < 8; ++j) damaged[random() % reach] = static_cast<char>(random());
    refused += !Read(damaged).ok();
  }
  EXPECT_GT(refused, 30);
}

TEST_F(HostileElfTest, ExtremeSegmentHeadersAreRefusedOrHarmless) {
  // e_phoff, then each 8-byte field of the segment headers, set to extreme values.
  for (const uint64_t value : {~uint64_t{0}, ~uint64_t{0} - 100, uint64_t{1} << 63, uint64_t{0}}) {
    for (size_t offset = 32; offset < 64 + 56 * 13; offset += 8) {
      std::string damaged = sound_;
      for (size_t k = 0; k < 8; ++k) damaged[offset + k] = static_cast<char>(value >> (8 * k));
      (void)Read(damaged);
    }
  }
  SUCCEED();
}

}  // namespace
}  // namespace consilium::publish
