#include "site_agent/round/masking/session_store.h"

#include <sys/stat.h>

#include <filesystem>

#include "gtest/gtest.h"
#include "site_agent/round/masking/test_round.h"

namespace consilium::agent {
namespace {

class SessionStoreTest : public testing::Test {
 protected:
  SessionStoreTest()
      : home_(*TempDir::Create("sessions")),
        key_(privacy::Ed25519Key::Generate()),
        store_(*SessionStore::Open(home_.path(), study_.now)) {}

  StoredSession Session(const std::string& of, int64_t round) const {
    secagg::SiteSession::Options options;
    options.site = "site-a";
    options.certificate_pem = "certificate";
    options.certificate_fingerprint = std::string(32, 'f');
    SiteTask task = study_.TrainTask("site-a");
    options.job = CheckMaskingTerms(task, kTestFederation)->job;
    options.loaded_model_digest = options.job.model_digest;
    auto session = secagg::SiteSession::Start(std::move(options), key_);
    EXPECT_TRUE(session.ok()) << session.status();
    SiteKeys keys = {session->announcement(), "binding"};
    return {of,   round, absl::StrCat(of, "/", round), "job", keys, {"site-a", "site-b"},
            true, "\5",  *std::move(session)};
  }
  std::string PathOf(const std::string& folder) const {
    return JoinPath(home_.path(), "secagg/" + folder + "/session");
  }

  const TestStudy study_;
  const TempDir home_;
  const privacy::Ed25519Key key_;
  const SessionStore store_;
};

TEST_F(SessionStoreTest, WhatIsSavedIsThereAfterARestartAndPrivate) {
  const StoredSession saved = Session("hippo", 3);
  ASSERT_TRUE(store_.Save(saved).ok());
  const auto loaded = SessionStore::Open(home_.path(), study_.now)->Load("hippo", 3);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->study, "hippo");
  EXPECT_EQ(loaded->round, 3);
  EXPECT_EQ(loaded->train_task_id, "hippo/3");
  EXPECT_EQ(loaded->job_sha256, "job");
  EXPECT_EQ(loaded->keys, saved.keys);
  EXPECT_EQ(loaded->roster, saved.roster);
  EXPECT_TRUE(loaded->masked);
  EXPECT_EQ(loaded->survivors, "\5");
  EXPECT_EQ(loaded->session.announcement(), saved.session.announcement());
  struct stat info = {};
  ASSERT_EQ(::stat(PathOf("hippo@3").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SessionStoreTest, OlderRoundsOfTheStudyGo) {
  for (const int64_t round : {1, 2, 3}) ASSERT_TRUE(store_.Save(Session("hippo", round)).ok());
  ASSERT_TRUE(store_.Save(Session("liver", 1)).ok());
  store_.RemoveBefore("hippo", 3);
  EXPECT_TRUE(absl::IsNotFound(store_.Load("hippo", 1).status()));
  EXPECT_TRUE(absl::IsNotFound(store_.Load("hippo", 2).status()));
  EXPECT_TRUE(store_.Load("hippo", 3).ok());
  EXPECT_TRUE(store_.Load("liver", 1).ok());
}

TEST_F(SessionStoreTest, TheSessionOfAnEndedTaskGoes) {
  ASSERT_TRUE(store_.Save(Session("hippo", 1)).ok());
  ASSERT_TRUE(store_.Save(Session("liver", 1)).ok());
  store_.RemoveOfTask("hippo/1");
  store_.RemoveOfTask("unknown");
  EXPECT_TRUE(absl::IsNotFound(store_.Load("hippo", 1).status()));
  EXPECT_TRUE(store_.Load("liver", 1).ok());
}

TEST_F(SessionStoreTest, ADamagedFileIsDataLoss) {
  ASSERT_TRUE(store_.Save(Session("hippo", 1)).ok());
  const std::string good = *ReadFile(PathOf("hippo@1"), 1 << 20);
  for (const size_t bytes : {size_t{0}, size_t{7}, good.size() / 2, good.size() - 1}) {
    ASSERT_TRUE(WriteFileAtomic(PathOf("hippo@1"), good.substr(0, bytes)).ok());
    EXPECT_TRUE(absl::IsDataLoss(store_.Load("hippo", 1).status())) << bytes;
  }
  ASSERT_TRUE(WriteFileAtomic(PathOf("hippo@1"), good + "x").ok());
  EXPECT_TRUE(absl::IsDataLoss(store_.Load("hippo", 1).status()));
}

TEST_F(SessionStoreTest, WhatIsLeftOverForLongGoesAtTheStart) {
  ASSERT_TRUE(store_.Save(Session("hippo", 1)).ok());
  ASSERT_TRUE(SessionStore::Open(home_.path(), study_.now + absl::Hours(24 * 30)).ok());
  EXPECT_TRUE(store_.Load("hippo", 1).ok());
  ASSERT_TRUE(SessionStore::Open(home_.path(), study_.now + absl::Hours(24 * 32)).ok());
  EXPECT_TRUE(absl::IsNotFound(store_.Load("hippo", 1).status()));
}

}  // namespace
}  // namespace consilium::agent
