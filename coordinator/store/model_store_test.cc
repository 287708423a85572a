#include "coordinator/store/model_store.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// A home of before chunks: versions, and their weights as whole files.
class MigrationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeDirs(old_).ok());
    auto store = Store::Open(JoinPath(temp_.path(), "store"));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::string Weights(int64_t number) {
    std::string bytes(kChunkFileBytes + 7, '\0');
    bytes[0] = static_cast<char>(number);
    return bytes;
  }
  std::string Path(int64_t number) {
    return JoinPath(old_, absl::StrCat(privacy::Sha256Hex(Weights(number)), ".safetensors"));
  }
  void AddOld(int64_t number) {
    VersionRecord version;
    version.study = "hippo";
    version.number = number;
    version.version = absl::StrCat("hippo/", number);
    version.sha256 = privacy::Sha256Hex(Weights(number));
    Batch batch;
    batch.Put(version);
    AuditFacts facts;
    facts.action = "round.commit";
    batch.Audit(facts);
    ASSERT_TRUE(store_->Commit(batch, kNow).ok());
    ASSERT_TRUE(WriteFileAtomic(Path(number), Weights(number)).ok());
  }
  std::string Read(int64_t number) {
    const auto reader = models_->Open(privacy::Sha256Hex(Weights(number)));
    if (!reader.ok()) return std::string(reader.status().message());
    std::string bytes(reader->bytes(), '\0');
    EXPECT_TRUE(reader->ReadAt(0, bytes.data(), bytes.size()).ok());
    return bytes;
  }
  void Start() {
    models_ = std::make_unique<ModelStore>(*store_, JoinPath(temp_.path(), "chunks"));
    const absl::Status status = models_->Prepare(old_, kNow);
    ASSERT_TRUE(status.ok()) << status;
  }
  size_t Migrations() {
    AuditQuery query;
    query.action = "model.migrate";
    return store_->SearchAudit(query)->size();
  }

  TempDir temp_ = TempDir::Create("models").value();
  const std::string old_ = JoinPath(temp_.path(), "models");
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelStore> models_;
};

TEST_F(MigrationTest, OldFilesBecomeChunksOnceAndTheFolderGoes) {
  AddOld(0);
  AddOld(1);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(old_, "hippo-2.incoming"), "half").ok());
  Start();
  EXPECT_EQ(Read(0), Weights(0));
  EXPECT_EQ(Read(1), Weights(1));
  EXPECT_FALSE(PathExists(old_));
  EXPECT_EQ(Migrations(), 2u);
  Start();
  EXPECT_EQ(Migrations(), 2u);
  EXPECT_EQ(Read(1), Weights(1));
}

TEST_F(MigrationTest, ACrashAtAnyStageOnlyRepeatsWork) {
  AddOld(0);
  const std::string path = Path(0);
  // Killed after the chunks, before the manifest.
  {
    ChunkStore chunks(JoinPath(temp_.path(), "chunks"));
    ASSERT_TRUE(chunks.Prepare().ok());
    ChunkWriter writer = chunks.NewWriter();
    ASSERT_TRUE(writer.Append(Weights(0)).ok());
    ASSERT_TRUE(writer.Finish().ok());
  }
  Start();
  EXPECT_EQ(Read(0), Weights(0));
  // Killed after the manifest, before the file was removed.
  ASSERT_TRUE(MakeDirs(old_).ok());
  ASSERT_TRUE(WriteFileAtomic(path, Weights(0)).ok());
  Start();
  EXPECT_FALSE(PathExists(path));
  EXPECT_EQ(Migrations(), 1u);
  EXPECT_EQ(Read(0), Weights(0));
}

TEST_F(MigrationTest, DamagedOldFileStaysAndTheRestIsTakenIn) {
  AddOld(0);
  AddOld(1);
  ASSERT_TRUE(WriteFileAtomic(Path(0), "rotten").ok());
  Start();
  EXPECT_TRUE(PathExists(Path(0)));
  EXPECT_EQ(Read(1), Weights(1));
  EXPECT_THAT(Read(0), HasSubstr("hippo/0"));
}

TEST_F(MigrationTest, WeightsThatAreNotThereAreToldApart) {
  Start();
  EXPECT_TRUE(absl::IsInvalidArgument(models_->Open("../../etc/passwd").status()));
  EXPECT_TRUE(absl::IsNotFound(models_->Open(std::string(64, 'a')).status()));
}

}  // namespace
}  // namespace consilium::coordinator
