#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "coordinator/home.h"
#include "coordinator/upkeep/backup.h"
#include "coordinator/upkeep/doctor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

AuditFacts Facts(const std::string& action, const std::string& version = "") {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = action;
  facts.study = "hippo";
  facts.version = version;
  return facts;
}

class UpkeepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CoordinatorOptions options;
    options.federation = "test-federation";
    ASSERT_TRUE(InitHome(home_, options).ok());
    Open();
    StudyRecord study;
    study.name = "hippo";
    study.state = StudyState::kFinished;
    Batch batch;
    batch.Put(study);
    batch.Audit(Facts("study.create"));
    ASSERT_TRUE(store_->Commit(batch, Clock::System().Now()).ok());
    AddVersion(0);
    AddVersion(1);
  }
  void Open() {
    auto store = Store::Open(JoinPath(home_, "store"));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    models_ = std::make_unique<ModelStore>(*store_, JoinPath(home_, "chunks"));
    ASSERT_TRUE(models_->Prepare(JoinPath(home_, "models"), Clock::System().Now()).ok());
    registry_ = std::make_unique<ModelRegistry>(*store_, *models_, Clock::System(), 0);
  }
  void Close() {
    registry_.reset();
    models_.reset();
    store_.reset();
  }
  std::string Weights(int64_t number) {
    std::string bytes(kChunkFileBytes + 1000, 'w');  // the same first chunk in all
    bytes.back() = static_cast<char>(number);
    return bytes;
  }
  VersionRecord AddVersion(int64_t number) {
    ChunkWriter writer = models_->NewWriter();
    EXPECT_TRUE(writer.Append(Weights(number)).ok());
    const ManifestRecord manifest = writer.Finish().value();
    VersionRecord version;
    version.study = "hippo";
    version.number = number;
    version.version = absl::StrCat("hippo/", number);
    version.sha256 = manifest.sha256;
    version.bytes = manifest.bytes;
    if (number > 0) version.parents = {absl::StrCat("hippo/", number - 1)};
    Batch batch;
    batch.Put(version);
    batch.Put(manifest);
    batch.Put(AliasRecord{"hippo", "latest", version.version});
    batch.Audit(Facts("round.commit", version.version));
    EXPECT_TRUE(store_->Commit(batch, Clock::System().Now()).ok());
    return version;
  }
  std::string ChunkOf(int64_t number, size_t index) {
    return models_->chunks().ChunkPath(
        store_->Manifest(privacy::Sha256Hex(Weights(number)))->chunks[index]);
  }
  void Flip(const std::string& path) {
    auto file = File::Open(path, File::Mode::kReadWriteCreate);
    ASSERT_TRUE(file->WriteAt(500, "X").ok());
  }
  Diagnosis Examine(DoctorMode mode = DoctorMode::kFull) {
    return ExamineRunning(*store_, models_->chunks(), home_, mode, Clock::System());
  }
  static std::vector<std::string> Errors(const Diagnosis& diagnosis) {
    std::vector<std::string> errors;
    for (const HomeFinding& finding : diagnosis.findings) {
      if (finding.severity == Severity::kError) errors.push_back(finding.what);
    }
    return errors;
  }
  absl::StatusOr<BackupReport> Backup() {
    return CreateBackup({*store_, *models_, *registry_, home_}, backups_, "ann", Clock::System());
  }

  TempDir temp_ = TempDir::Create("upkeep").value();
  const std::string home_ = JoinPath(temp_.path(), "home");
  const std::string backups_ = JoinPath(temp_.path(), "backups");
  const std::string restored_ = JoinPath(temp_.path(), "restored");
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelStore> models_;
  std::unique_ptr<ModelRegistry> registry_;
};

TEST_F(UpkeepTest, SoundHomeHasNoErrorRunningOrNot) {
  EXPECT_THAT(Errors(Examine()), IsEmpty());
  EXPECT_EQ(Examine().chunks, 3u);
  EXPECT_EQ(Examine(DoctorMode::kQuick).chunks, 0u);
  Close();
  EXPECT_THAT(Errors(ExamineHome(home_, DoctorMode::kFull, Clock::System())), IsEmpty());
}

TEST_F(UpkeepTest, DamagedMissingAndForeignChunksAreNamed) {
  Flip(ChunkOf(0, 1));
  EXPECT_THAT(Errors(Examine(DoctorMode::kQuick)), IsEmpty()) << "quick reads no chunk";
  EXPECT_THAT(Errors(Examine()),
              ::testing::ElementsAre(::testing::AllOf(HasSubstr("hippo/0"), HasSubstr("damaged"))));
  fs::remove(ChunkOf(1, 1));
  EXPECT_THAT(Errors(Examine(DoctorMode::kQuick)), Contains(HasSubstr("missing")));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home_, "chunks/readme"), "x").ok());
  const Diagnosis diagnosis = Examine();
  EXPECT_THAT(diagnosis.findings, Contains(::testing::Field(&HomeFinding::what,
                                                            HasSubstr("chunks/readme"))));
}

TEST_F(UpkeepTest, RecordsThatDoNotFitEachOtherAreNamed) {
  VersionRecord version;
  version.study = "hippo";
  version.number = 7;
  version.version = "hippo/7";
  version.sha256 = privacy::Sha256Hex("no such model");
  version.parents = {"hippo/5"};
  RoundRecord round;
  round.study = "hippo";
  round.number = 3;
  ManifestRecord manifest;
  manifest.sha256 = privacy::Sha256Hex("orphan");
  manifest.bytes = 1;
  manifest.chunks = {privacy::Sha256Hex("orphan")};
  Batch batch;
  batch.Put(version);
  batch.Put(round);
  batch.Put(manifest);
  batch.Put(AliasRecord{"hippo", "candidate", "hippo/9"});
  batch.Put(ReleaseRecord{"hippo-8", "hippo/8", privacy::Sha256Hex("x"), 0, "ann", {}});
  batch.Audit(Facts("round.commit", "hippo/6"));
  ASSERT_TRUE(store_->Commit(batch, Clock::System().Now()).ok());
  const std::vector<std::string> errors = Errors(Examine());
  EXPECT_THAT(errors, Contains(HasSubstr("does not name it")));
  EXPECT_THAT(errors, Contains(HasSubstr("parent hippo/5")));
  EXPECT_THAT(errors, Contains(HasSubstr("no manifest")));
  EXPECT_THAT(errors, Contains(HasSubstr("belongs to no version")));
  EXPECT_THAT(errors, Contains(HasSubstr("hippo@candidate")));
  EXPECT_THAT(errors, Contains(HasSubstr("hippo-8")));
  EXPECT_THAT(errors, Contains(HasSubstr("round 3 is open")));
}

TEST_F(UpkeepTest, OpenKeysExpiredCertificatesAndAStoreThatDoesNotOpenAreNamed) {
  ASSERT_EQ(::chmod(JoinPath(home_, "sealing.key").c_str(), 0644), 0);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home_, "server.key"),
                              privacy::GenerateKeyPem()->view(), kPrivateFile)
                  .ok());
  EXPECT_THAT(Errors(Examine()), Contains(HasSubstr("server.crt is not for server.key")));
  fs::remove(JoinPath(home_, "server.key"));
  std::vector<std::string> errors = Errors(Examine());
  EXPECT_THAT(errors, Contains(HasSubstr("sealing.key can be read")));
  EXPECT_THAT(errors, Contains(HasSubstr("server.key is missing")));
  Close();
  fs::remove(JoinPath(home_, "store/CURRENT"));
  EXPECT_TRUE(ExamineHome(home_, DoctorMode::kQuick, Clock::System()).has_error());
}

TEST_F(UpkeepTest, BackupIsRestoredToAHomeThatGoesOn) {
  const auto report = Backup();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->chunks, 3u);
  EXPECT_EQ(report->chunks_copied, 3u);
  AddVersion(2);  // not in the backup
  Close();
  const auto restored = RestoreBackup(backups_, restored_);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->name, report->name);
  struct stat info;
  ASSERT_EQ(::stat(JoinPath(restored_, "server.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_THAT(Errors(ExamineHome(restored_, DoctorMode::kFull, Clock::System())), IsEmpty());
  auto store = Store::Open(JoinPath(restored_, "store"));
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_THAT(*(*store)->Versions("hippo"), SizeIs(2));
  ModelStore models(**store, JoinPath(restored_, "chunks"));
  const auto reader = models.Open(privacy::Sha256Hex(Weights(1)));
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::string bytes(reader->bytes(), '\0');
  ASSERT_TRUE(reader->ReadAt(0, bytes.data(), bytes.size()).ok());
  EXPECT_EQ(bytes, Weights(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(RestoreBackup(backups_, restored_).status()));
}

TEST_F(UpkeepTest, SecondBackupCopiesOnlyNewChunks) {
  ASSERT_TRUE(Backup().ok());
  AddVersion(2);
  const auto report = Backup();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->chunks, 4u);
  EXPECT_EQ(report->chunks_copied, 1u);
  const auto restored = RestoreBackup(backups_, restored_);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->name, report->name) << "the newest";
}

TEST_F(UpkeepTest, DamageMakesABackupFailAndLeavesNoneBehind) {
  Flip(ChunkOf(1, 1));
  EXPECT_TRUE(absl::IsDataLoss(Backup().status()));
  for (const auto& entry : fs::directory_iterator(backups_)) {
    EXPECT_EQ(entry.path().filename(), "chunks");
  }
  EXPECT_TRUE(absl::IsInvalidArgument(RestoreBackup(backups_, restored_).status()));
}

TEST_F(UpkeepTest, DamagedBackupIsNotRestored) {
  ASSERT_TRUE(Backup().ok());
  fs::path victim;
  for (const auto& entry : fs::recursive_directory_iterator(JoinPath(backups_, "chunks"))) {
    if (entry.is_regular_file()) victim = entry.path();
  }
  Flip(victim.string());
  EXPECT_TRUE(absl::IsDataLoss(RestoreBackup(backups_, restored_).status()));
  EXPECT_FALSE(PathExists(restored_));
  for (const auto& entry : fs::directory_iterator(temp_.path())) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("restored")));
  }
}

TEST_F(UpkeepTest, FolderInTheHomeOrRelativeIsRefused) {
  for (const std::string& folder : {JoinPath(home_, "backup"), home_, std::string("backup")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        CreateBackup({*store_, *models_, *registry_, home_}, folder, "ann", Clock::System())
            .status()))
        << folder;
  }
}

}  // namespace
}  // namespace consilium::coordinator
