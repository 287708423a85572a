#include "coordinator/store/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <limits>

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

class StoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() {
    auto store = Store::Open(JoinPath(temp_.path(), "store"));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  TempDir temp_ = TempDir::Create("store").value();
};

AuditFacts Facts(const std::string& action, int64_t round = -1) {
  AuditFacts facts;
  facts.actor = "admin";
  facts.role = "admin";
  facts.action = action;
  if (round >= 0) facts.round = round;
  return facts;
}

VersionRecord Version(int64_t number) {
  VersionRecord version;
  version.study = "hippo";
  version.number = number;
  version.version = absl::StrCat("hippo/", number);
  version.sha256 = privacy::Sha256Hex(version.version);
  return version;
}

TEST_F(StoreTest, RecordsSurviveReopeningAndAuditIndexesRunOn) {
  {
    auto store = Open();
    for (int64_t n = 0; n < 300; ++n) {
      Batch batch;
      batch.Put(Version(n));
      batch.Audit(Facts("round.commit", n));
      batch.Audit(Facts("other"));
      ASSERT_EQ(store->Commit(batch, kNow).value(), static_cast<uint64_t>(2 * n));
    }
  }
  auto store = Open();
  EXPECT_EQ(store->AuditSize(), 600u);
  const auto versions = store->Versions("hippo");
  ASSERT_TRUE(versions.ok());
  ASSERT_THAT(*versions, SizeIs(300));
  EXPECT_EQ((*versions)[256].number, 256) << "in the order of numbers, not of text";
  EXPECT_EQ((*versions)[7].audit_index, 14);
  EXPECT_EQ(store->VersionOfDigest(Version(9).sha256)->number, 9);
  EXPECT_TRUE(absl::IsNotFound(store->Version("hippo", 300).status()));
  EXPECT_TRUE(absl::IsNotFound(store->Version("hipp", 3).status()));
  AuditQuery query;
  query.action = "round.commit";
  query.round = 5;
  const auto lines = store->SearchAudit(query);
  ASSERT_TRUE(lines.ok());
  ASSERT_THAT(*lines, SizeIs(1));
  EXPECT_THAT(lines->front().json, HasSubstr("\"index\":10"));
  EXPECT_THAT(lines->front().json, HasSubstr("\"time_us\":1800000000000000,\"v\":2"));
}

TEST_F(StoreTest, KilledWriterLosesNothingAcknowledgedAndNoBatchIsHalf) {
  for (int run = 0; run < 3; ++run) {
    int acknowledged[2];
    ASSERT_EQ(::pipe(acknowledged), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = Store::Open(JoinPath(temp_.path(), "store"));
      if (!store.ok()) ::_exit(1);
      for (int64_t n = static_cast<int64_t>((*store)->AuditSize());; ++n) {
        Batch batch;
        batch.Put(Version(n));
        batch.Audit(Facts("round.commit", n));
        if (!(*store)->Commit(batch, kNow).ok()) ::_exit(1);
        if (::write(acknowledged[1], &n, sizeof(n)) != sizeof(n)) ::_exit(1);
      }
    }
    ::close(acknowledged[1]);
    int64_t last = -1;
    for (int i = 0; i < 20 + 7 * run; ++i) {
      ASSERT_EQ(::read(acknowledged[0], &last, sizeof(last)), ssize_t{sizeof(last)});
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    for (int64_t n; ::read(acknowledged[0], &n, sizeof(n)) == ssize_t{sizeof(n)};) last = n;
    ::close(acknowledged[0]);

    auto store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_GT(static_cast<int64_t>(store->AuditSize()), last);
    EXPECT_THAT(*store->Versions("hippo"), SizeIs(store->AuditSize()));
  }
}

TEST_F(StoreTest, DamagedLogIsRefusedInsteadOfShortened) {
  {
    auto store = Open();
    for (int64_t n = 0; n < 50; ++n) {
      Batch batch;
      batch.Put(Version(n));
      batch.Audit(Facts("round.commit", n));
      ASSERT_TRUE(store->Commit(batch, kNow).ok());
    }
  }
  bool damaged = false;
  for (const auto& entry :
       std::filesystem::directory_iterator(JoinPath(temp_.path(), "store"))) {
    if (entry.path().extension() != ".log" || entry.file_size() < 2000) continue;
    auto file = File::Open(entry.path().string(), File::Mode::kReadWriteCreate);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->WriteAt(entry.file_size() / 2, "XXXX").ok());
    damaged = true;
  }
  ASSERT_TRUE(damaged);
  EXPECT_TRUE(absl::IsDataLoss(Store::Open(JoinPath(temp_.path(), "store")).status()));
}

TEST_F(StoreTest, SecondOpenerIsTurnedAway) {
  auto store = Open();
  EXPECT_TRUE(absl::IsUnavailable(Store::Open(JoinPath(temp_.path(), "store")).status()));
}

TEST(RecordsTest, UnknownKeysStatesAndTypesAreDataLoss) {
  SiteRecord site;
  site.name = "north";
  site.state = SiteState::kApproved;
  const std::string text = Encode(site);
  EXPECT_EQ(Decode<SiteRecord>(text)->state, SiteState::kApproved);
  for (const auto& [from, to] : {std::pair{"approved", "blessed"}, std::pair{"\"name\"", "\"nome\""},
                                 std::pair{"\"north\"", "7"}, std::pair{"{", "{\"x\":1,"}}) {
    std::string broken = text;
    broken.replace(broken.find(from), std::string(from).size(), to);
    EXPECT_TRUE(absl::IsDataLoss(Decode<SiteRecord>(broken).status())) << broken;
  }
  EXPECT_TRUE(absl::IsDataLoss(Decode<SiteRecord>("").status()));
}

TEST(RecordsTest, DiceThatDoesNotExistSurvives) {
  EvaluationRecord evaluation;
  evaluation.sites.push_back({.site = "a",
                              .role = "trainer",
                              .task_id = "t",
                              .state = ReportState::kReported,
                              .cases_max = 1,
                              .mean_dice = {0.5, std::nan("")},
                              .cases = {{"p", {0.5, std::nan("")}}}});
  const auto back = Decode<EvaluationRecord>(Encode(evaluation));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(std::isnan(back->sites[0].cases[0].dice[1]));
}

TEST(RecordsTest, NumbersThatDoNotExistNeverMakeAStudyUnreadable) {
  StudyRecord study;
  CohortRecord cohort;
  cohort.site = "north";
  cohort.median_spacing_xyz_mm = {std::numeric_limits<double>::quiet_NaN(), 1,
                                  std::numeric_limits<double>::infinity()};
  study.cohort = {cohort};
  const auto back = Decode<StudyRecord>(Encode(study));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(std::isnan(back->cohort[0].median_spacing_xyz_mm[0]));
  EXPECT_EQ(back->cohort[0].median_spacing_xyz_mm[1], 1);
}

}  // namespace
}  // namespace consilium::coordinator
