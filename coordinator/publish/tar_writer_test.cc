#include "coordinator/publish/tar_writer.h"

#include <array>
#include <cstdio>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::publish {
namespace {

using ::testing::HasSubstr;

std::string Archive(const TarTree& tree) {
  std::string bytes;
  const absl::Status status = WriteTar(tree, [&bytes](absl::string_view piece) {
    bytes.append(piece.data(), piece.size());
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

std::string Output(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    text.append(buffer.data(), count);
  }
  EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << text;
  return text;
}

class TarWriterTest : public ::testing::Test {
 protected:
  TarWriterTest() : dir_(*TempDir::Create("tar")) {}
  std::string Write(const std::string& name, absl::string_view content) {
    const std::string path = JoinPath(dir_.path(), name);
    std::ofstream(path) << content;
    return path;
  }
  TempDir dir_;
};

TEST_F(TarWriterTest, GnuTarReadsIt) {
  TarTree tree;
  tree.AddFile("etc/passwd", "root\n");
  tree.AddFileFrom("app/lib/libx.so.1", Write("x", std::string(1500, 'x')), 0755);
  tree.AddLink("app/data/output", "output_data");
  tree.AddFolder("tmp", 01777);
  const std::string path = Write("a.tar", Archive(tree));
  const std::string listing = Output("TZ=UTC tar --numeric-owner -tvf " + path);
  EXPECT_THAT(listing, HasSubstr("-rw-r--r-- 0/0               5 1970-01-01 00:00 etc/passwd"));
  EXPECT_THAT(listing,
              HasSubstr("-rwxr-xr-x 0/0            1500 1970-01-01 00:00 app/lib/libx.so.1"));
  EXPECT_THAT(listing, HasSubstr("app/data/output -> output_data"));
  EXPECT_THAT(listing, HasSubstr("drwxrwxrwt 0/0               0 1970-01-01 00:00 tmp/"));
  EXPECT_THAT(listing, HasSubstr("drwxr-xr-x 0/0               0 1970-01-01 00:00 app/lib/"));
  EXPECT_EQ(Output("tar -xOf " + path + " app/lib/libx.so.1"), std::string(1500, 'x'));
}

TEST_F(TarWriterTest, LongPathsAndLinksGetAPaxHeader) {
  TarTree tree;
  const std::string name = "a/" + std::string(120, 'n');
  const std::string folder = "b/" + std::string(99, 'f');
  const std::string target = std::string(150, 't');
  tree.AddFile(name, "content");
  tree.AddFolder(folder);
  tree.AddLink("c", target);
  const std::string listing = Output("tar -tvf " + Write("a.tar", Archive(tree)));
  EXPECT_THAT(listing, HasSubstr(name));
  EXPECT_THAT(listing, HasSubstr(folder + "/"));
  EXPECT_THAT(listing, HasSubstr("c -> " + target));
}

TEST_F(TarWriterTest, OrderOfAddingDoesNotMatterAndParentsComeOnce) {
  TarTree one;
  one.AddFile("b/y", "2");
  one.AddFolder("b", 0700);
  one.AddFile("a", "1");
  TarTree two;
  two.AddFile("a", "1");
  two.AddFolder("b", 0700);
  two.AddFile("b/y", "2");
  EXPECT_EQ(Archive(one), Archive(two));
  EXPECT_EQ(one.entries().size(), 3u);
  EXPECT_EQ(Archive(one).size() % 512, 0u);
}

TEST_F(TarWriterTest, MissingSourceAndFailingSinkAreErrors) {
  TarTree tree;
  tree.AddFileFrom("x", JoinPath(dir_.path(), "absent"));
  EXPECT_TRUE(absl::IsNotFound(WriteTar(tree, [](absl::string_view) { return absl::OkStatus(); })));
  TarTree small;
  small.AddFile("x", "1");
  EXPECT_TRUE(absl::IsResourceExhausted(
      WriteTar(small, [](absl::string_view) { return absl::ResourceExhaustedError("full"); })));
}

}  // namespace
}  // namespace consilium::publish
