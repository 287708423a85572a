#include "coordinator/publish/oci_layout.h"

#include <filesystem>
#include <fstream>

#include "coordinator/publish/inference_image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"

namespace consilium::publish {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string Read(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, uint64_t{1} << 30);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

std::map<std::string, std::string> Files(const std::string& dir) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), dir).string()] = Read(entry.path().string());
    }
  }
  return files;
}

class OciLayoutTest : public ::testing::Test {
 protected:
  OciLayoutTest() : dir_(*TempDir::Create("oci")), target_(JoinPath(dir_.path(), "image")) {
    std::ofstream(Path("model")) << "weights";
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  // /bin/true stands for consilium-infer: a program with a loader and a library.
  Image SomeImage() const {
    absl::StatusOr<Image> image =
        MakeInferenceImage({.program = "/bin/true",
                            .model_path = Path("model"),
                            .record_json = "{}\n",
                            .created = absl::FromUnixSeconds(1'700'000'000),
                            .annotations = {{"consilium.release", "h-3"}},
                            .dictionaries = {}});
    EXPECT_TRUE(image.ok()) << image.status();
    return *std::move(image);
  }

  absl::StatusOr<WrittenImage> Write(const std::string& dir) {
    return WriteOciLayout(SomeImage(), "h-3", dir, [](uint64_t) {});
  }

  TempDir dir_;
  std::string target_;
};

TEST_F(OciLayoutTest, SameImageSameBytes) {
  ASSERT_TRUE(Write(target_).ok());
  ASSERT_TRUE(Write(Path("again")).ok());
  EXPECT_EQ(Files(target_), Files(Path("again")));
}

TEST_F(OciLayoutTest, EveryDigestAndSizeHolds) {
  const auto written = Write(target_);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto blob = [this](const Json& descriptor) {
    const std::string digest = descriptor["digest"].get<std::string>().substr(7);
    const std::string bytes = Read(target_ + "/blobs/sha256/" + digest);
    EXPECT_EQ(privacy::Sha256Hex(bytes), digest);
    EXPECT_EQ(bytes.size(), descriptor["size"].get<uint64_t>());
    return bytes;
  };
  const Json index = Json::parse(Read(target_ + "/index.json"));
  EXPECT_EQ(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "h-3");
  EXPECT_EQ(index["manifests"][0]["digest"], "sha256:" + written->manifest_sha256);
  const Json manifest = Json::parse(blob(index["manifests"][0]));
  const Json config = Json::parse(blob(manifest["config"]));
  ASSERT_EQ(manifest["layers"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    blob(manifest["layers"][i]);
    EXPECT_EQ(config["rootfs"]["diff_ids"][i], manifest["layers"][i]["digest"]);
    EXPECT_EQ(manifest["layers"][i]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
  }
  EXPECT_EQ(manifest["annotations"]["consilium.release"], "h-3");
  EXPECT_EQ(config["created"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(config["config"]["User"], "65532");
  EXPECT_EQ(config["config"]["Entrypoint"], Json::array({"/app/bin/consilium-infer"}));
}

TEST_F(OciLayoutTest, AnotherModelChangesOnlyTheLastLayer) {
  const auto first = Write(target_);
  ASSERT_TRUE(first.ok());
  std::ofstream(Path("model")) << "other weights";
  const auto second = Write(Path("second"));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(first->layers[0].sha256, second->layers[0].sha256);
  EXPECT_EQ(first->layers[1].sha256, second->layers[1].sha256);
  EXPECT_NE(first->layers[2].sha256, second->layers[2].sha256);
}

TEST_F(OciLayoutTest, SameImageAgainIsAlreadyThere) {
  ASSERT_TRUE(Write(target_).ok());
  const auto again = Write(target_ + "/");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->already_there);
  EXPECT_FALSE(PathExists(target_ + ".partial"));
}

TEST_F(OciLayoutTest, AFullFolderIsLeftAlone) {
  ASSERT_TRUE(MakeDirs(target_).ok());
  std::ofstream(target_ + "/letter.txt") << "dear";
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(target_).status()));
  EXPECT_EQ(Files(target_).size(), 1u);
  ASSERT_TRUE(Write(Path("one")).ok());
  const auto before = Files(Path("one"));
  std::ofstream(Path("model")) << "other weights";
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(Path("one")).status()));
  EXPECT_EQ(Files(Path("one")), before);
}

TEST_F(OciLayoutTest, ADamagedBlobIsNotTheSameImage) {
  const auto written = Write(target_);
  ASSERT_TRUE(written.ok());
  std::ofstream(target_ + "/blobs/sha256/" + written->layers[2].sha256) << "damage";
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(target_).status()));
}

TEST_F(OciLayoutTest, FailureLeavesNothing) {
  Image image = SomeImage();
  image.layers.back().tree.AddFileFrom("app/model/absent", Path("absent"));
  EXPECT_TRUE(absl::IsNotFound(WriteOciLayout(image, "t", target_, [](uint64_t) {}).status()));
  EXPECT_FALSE(PathExists(target_));
  EXPECT_FALSE(PathExists(target_ + ".partial"));
}

TEST_F(OciLayoutTest, LeftoversOfACutOffRunAreCleared) {
  ASSERT_TRUE(MakeDirs(target_ + ".partial/blobs/sha256").ok());
  std::ofstream(target_ + ".partial/blobs/sha256/unnamed") << "half";
  EXPECT_TRUE(Write(target_).ok());
  EXPECT_FALSE(PathExists(target_ + "/blobs/sha256/unnamed"));
  ASSERT_TRUE(MakeDirs(Path("b.partial")).ok());
  std::ofstream(Path("b.partial/letter.txt")) << "dear";
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(Path("b")).status()));
  EXPECT_TRUE(PathExists(Path("b.partial/letter.txt")));
}

TEST_F(OciLayoutTest, TagsAreChecked) {
  EXPECT_TRUE(CheckTag("hippocampus-3").ok());
  for (const char* wrong : {"", ".x", "-x", "a:b", "a/b", "a b"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckTag(wrong))) << wrong;
  }
  EXPECT_FALSE(CheckTag(std::string(129, 'a')).ok());
}

}  // namespace
}  // namespace consilium::publish
