#include "coordinator/publish/service_image.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::publish {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::Not;

// /bin/true and /bin/ls stand for our programs; ls needs a library more.
ServiceImageOptions Options(ServiceKind kind) {
  return {.kind = kind,
          .program = "/bin/true",
          .second_program = "/bin/ls",
          .created = absl::UnixEpoch(),
          .annotations = {{"org.opencontainers.image.version", "1"}}};
}

TEST(ServiceImageTest, TheCoordinatorBringsItsAdministrator) {
  const auto image = MakeServiceImage(Options(ServiceKind::kCoordinator));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->user, "65532");
  EXPECT_THAT(image->entrypoint,
              ElementsAre("/app/bin/consilium-coordinator", "--home", "/var/lib/consilium"));
  EXPECT_TRUE(image->command.empty());
  ASSERT_EQ(image->layers.size(), 2u);
  const auto& runtime = image->layers[0].tree.entries();
  EXPECT_THAT(runtime, Contains(Key("app/lib/libc.so.6")));
  EXPECT_THAT(runtime, Contains(Key("app/lib/libselinux.so.1")));  // of ls alone
  EXPECT_THAT(runtime, Not(Contains(Key("app/data/input_data"))));
  const auto& application = image->layers[1].tree.entries();
  ASSERT_EQ(application.size(), 4u);  // two programs, two folders
  EXPECT_EQ(application.at("app/bin/consilium-coordinator").source, "/bin/true");
  EXPECT_EQ(application.at("app/bin/consilium").source, "/bin/ls");
  EXPECT_EQ(application.at("app/bin/consilium").mode, 0755u);
}

TEST(ServiceImageTest, TheAgentBringsWhatItHandsOverTo) {
  const auto image = MakeServiceImage(Options(ServiceKind::kAgent));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT(image->entrypoint,
              ElementsAre("/app/bin/consilium-agent", "run", "--home", "/var/lib/consilium"));
  const auto& application = image->layers[1].tree.entries();
  ASSERT_EQ(application.size(), 4u);  // two programs, two folders
  EXPECT_EQ(application.at("app/bin/consilium-agent").source, "/bin/true");
  EXPECT_EQ(application.at("app/bin/consilium-agent-full").source, "/bin/ls");
}

TEST(ServiceImageTest, OnlyTheHomeAndTmpCanBeWritten) {
  const auto image = MakeServiceImage(Options(ServiceKind::kAgent));
  ASSERT_TRUE(image.ok()) << image.status();
  std::vector<std::string> open;
  for (const ImageLayer& layer : image->layers) {
    for (const auto& [path, entry] : layer.tree.entries()) {
      if (entry.kind != TarEntry::Kind::kLink && (entry.mode & 0022) != 0) open.push_back(path);
    }
  }
  EXPECT_THAT(open, ElementsAre("tmp", "var/lib/consilium"));
  EXPECT_EQ(image->layers[0].tree.entries().at("var/lib/consilium").mode, 01777u);
}

TEST(ServiceImageTest, SameProgramsSameBytes) {
  const auto dir = TempDir::Create("service");
  ASSERT_TRUE(dir.ok());
  std::vector<std::string> digests;
  for (const char* name : {"a", "b"}) {
    const auto image = MakeServiceImage(Options(ServiceKind::kCoordinator));
    ASSERT_TRUE(image.ok()) << image.status();
    const auto written = WriteOciLayout(*image, "t", JoinPath(dir->path(), name), [](uint64_t) {});
    ASSERT_TRUE(written.ok()) << written.status();
    digests.push_back(written->manifest_sha256);
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST(ServiceImageTest, MissingProgramsAreNamed) {
  ServiceImageOptions options = Options(ServiceKind::kCoordinator);
  options.second_program.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(MakeServiceImage(options).status()));
  options.second_program = "/bin/no-such-program";
  EXPECT_TRUE(absl::IsNotFound(MakeServiceImage(options).status()));
}

}  // namespace
}  // namespace consilium::publish
