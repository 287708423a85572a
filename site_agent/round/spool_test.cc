#include "site_agent/round/spool.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

FinishedTask Update(const std::string& id, const std::string& bytes) {
  UpdateOffer offer;
  offer.base_model_sha256 = std::string(64, 'a');
  offer.layout_sha256 = std::string(64, 'b');
  offer.bytes = bytes.size();
  offer.sha256 = privacy::Sha256Hex(bytes);
  offer.labelled_cases = 3;
  offer.summary = {20, 1.5, 0.25, 0.125, 0.5, 0.75, 0.03};
  return {{id, TaskKind::kTrain, "hippo", 2}, offer};
}

void Put(Spool& spool, const FinishedTask& task, const std::string& bytes) {
  ASSERT_TRUE(spool.BeginWork(task.key.task_id).ok());
  ASSERT_TRUE(WriteFileAtomic(spool.UpdatePath(task.key.task_id), bytes).ok());
  ASSERT_TRUE(spool.Keep(task).ok());
}

TEST(SpoolTest, UpdateSurvivesARestart) {
  const TempDir home = *TempDir::Create("spool");
  const FinishedTask task = Update("hippo/2/site-a", "sealed bytes");
  {
    auto spool = Spool::Open(home.path());
    ASSERT_TRUE(spool.ok()) << spool.status();
    Put(*spool, task, "sealed bytes");
  }
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok()) << spool.status();
  const auto list = spool->List();
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ(list->front().key, task.key);
  EXPECT_EQ(std::get<UpdateOffer>(list->front().result), std::get<UpdateOffer>(task.result));
  EXPECT_EQ(*ReadFile(spool->UpdatePath(task.key.task_id), 100), "sealed bytes");
}

TEST(SpoolTest, ConsentsAndRevealedSharesSurviveARestart) {
  const TempDir home = *TempDir::Create("spool");
  const FinishedTask consent = {{"consent", TaskKind::kConsent, "hippo", 2},
                                ConsentResult{{"site-a", "\7", std::string(64, '\xff')}}};
  const FinishedTask reveal = {
      {"reveal", TaskKind::kReveal, "hippo", 2},
      RevealResult{{{"site-a", RevealedShare::Secret::kSelfSeed, std::string(32, '\0')},
                    {"site-b", RevealedShare::Secret::kMaskKey, std::string(32, '\x80')}}}};
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  ASSERT_TRUE(spool->Keep(consent).ok());
  ASSERT_TRUE(spool->Keep(reveal).ok());
  spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  const auto first = spool->Load("consent");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(std::get<ConsentResult>(first->result), std::get<ConsentResult>(consent.result));
  const auto second = spool->Load("reveal");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->key, reveal.key);
  EXPECT_EQ(std::get<RevealResult>(second->result), std::get<RevealResult>(reveal.result));
}

TEST(SpoolTest, CutWorkIsRemovedAtTheNextStart) {
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  ASSERT_TRUE(spool->BeginWork("half").ok());
  ASSERT_TRUE(WriteFileAtomic(spool->UpdatePath("half"), "half").ok());
  spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  EXPECT_TRUE(spool->List()->empty());
  EXPECT_FALSE(PathExists(spool->UpdatePath("half")));
}

TEST(SpoolTest, UpdateWithOtherBytesThanItsDigestIsRemoved) {
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  Put(*spool, Update("t", "sealed bytes"), "sealed bytez");
  spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  EXPECT_TRUE(spool->List()->empty());
}

TEST(SpoolTest, ResultThatCannotBeReadAtTheMomentStays) {
  namespace fs = std::filesystem;
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  for (const char* id : {"a", "b"}) Put(*spool, Update(id, "x"), "x");
  const fs::path update = spool->UpdatePath("a");
  const fs::path result = fs::path(spool->UpdatePath("b")).parent_path() / "result.json";
  for (const fs::path& path : {update, result}) {
    fs::rename(path, path.string() + ".away");
    fs::create_symlink(path, path);  // a link to itself cannot be opened, not even by root
  }
  spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok()) << spool.status();
  const auto list = spool->List();
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ(list->front().key.task_id, "a");
  for (const fs::path& path : {update, result}) fs::rename(path.string() + ".away", path);
  spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  EXPECT_EQ(spool->List()->size(), 2u);
}

TEST(SpoolTest, OldestComesFirst) {
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  namespace fs = std::filesystem;
  for (const char* id : {"second", "first"}) Put(*spool, Update(id, "x"), "x");
  const fs::path result = fs::path(spool->UpdatePath("first")).parent_path() / "result.json";
  fs::last_write_time(result, fs::last_write_time(result) - std::chrono::hours(1));
  const auto list = spool->List();
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[0].key.task_id, "first");
}

TEST(SpoolTest, TaskIdCannotLeaveTheFolder) {
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  const std::string path = spool->UpdatePath("../../etc/passwd");
  EXPECT_EQ(path.find(".."), std::string::npos);
  EXPECT_EQ(path.rfind(JoinPath(home.path(), "spool/"), 0), 0u);
}

TEST(SpoolTest, RemovedResultIsGone) {
  const TempDir home = *TempDir::Create("spool");
  auto spool = Spool::Open(home.path());
  ASSERT_TRUE(spool.ok());
  Put(*spool, Update("t", "x"), "x");
  spool->Remove("t");
  EXPECT_TRUE(absl::IsNotFound(spool->Load("t").status()));
  spool->Remove("t");  // again: nothing happens
}

TEST(FinishedTaskTest, EvaluationKeepsUndefinedDice) {
  EvaluationResult result;
  result.cases.push_back({"0123456789ab", {0.5, std::numeric_limits<double>::quiet_NaN()}});
  const auto read = FinishedTaskFromJson(
      FinishedTaskToJson({{"t", TaskKind::kEvaluate, "hippo", 1}, result}));
  ASSERT_TRUE(read.ok()) << read.status();
  const auto& cases = std::get<EvaluationResult>(read->result).cases;
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].case_pseudonym, "0123456789ab");
  EXPECT_EQ(cases[0].dice[0], 0.5);
  EXPECT_TRUE(std::isnan(cases[0].dice[1]));
}

TEST(FinishedTaskTest, CohortRoundTrips) {
  CohortSummary cohort{10, 4, 1, {1, 1, 2.5}, {200, 210, 30}, {{"modality", 2}}};
  const auto read =
      FinishedTaskFromJson(FinishedTaskToJson({{"t", TaskKind::kPrepare, "hippo", 0}, cohort}));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(std::get<CohortSummary>(read->result), cohort);
}

TEST(FinishedTaskTest, RubbishIsRefused) {
  for (const char* bad :
       {"", "{}", "[]", "null", "{\"task_id\":1}",
        R"({"task_id":"t","study":"s","round":1,"kind":"dance","result":{}})",
        R"({"task_id":"t","study":"s","round":1,"kind":"train","result":[]})",
        R"({"task_id":"t","study":"s","round":1,"kind":"evaluate","result":[{"case":"c"}]})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(FinishedTaskFromJson(bad).status())) << bad;
  }
}

}  // namespace
}  // namespace consilium::agent
