#include "site_agent/round/masking/key_agreement.h"

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "site_agent/round/masking/test_round.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {
namespace {

const std::vector<std::string> kNames = {"site-a", "site-b", "site-c", "site-d"};

class KeyAgreementTest : public testing::Test {
 protected:
  KeyAgreementTest() : KeyAgreementTest(TestStudy::MaskedPlan()) {}
  explicit KeyAgreementTest(const wire::Plan& plan) : study_(plan), round_(study_, kNames) {
    for (const std::string& name : kNames) {
      sites_.push_back(std::make_unique<TestSite>(study_, name, &round_));
    }
  }
  TestSite& a() { return *sites_[0]; }

  // Site a refuses what the coordinator says to it alone.
  void ExpectRefused(const std::string& why) {
    const std::vector<absl::Status> ended = AgreeAll(sites_);
    EXPECT_TRUE(absl::IsFailedPrecondition(ended[0])) << ended[0];
    EXPECT_TRUE(absl::StrContains(DeclineReason(ended[0]), why)) << DeclineReason(ended[0]);
    ASSERT_FALSE(a().events.empty());
    EXPECT_EQ(a().events.back().action, "secagg.refuse");
    EXPECT_EQ(a().events.back().outcome, "refused");
    EXPECT_TRUE(absl::IsNotFound(a().site().sessions.Load(kTestStudy, 1).status()));
  }
  void Tamper(AgreementStage stage, std::function<void(AgreementReply&)> change) {
    round_.tamper = [=](const std::string& site, AgreementReply& reply) {
      if (site == "site-a" && reply.stage == stage) change(reply);
    };
  }

  TestStudy study_;
  TestRound round_;
  std::vector<std::unique_ptr<TestSite>> sites_;
};

TEST_F(KeyAgreementTest, FourSitesAgree) {
  for (const absl::Status& ended : AgreeAll(sites_)) EXPECT_TRUE(ended.ok()) << ended;
  std::string session_id;
  for (const auto& site : sites_) {
    const auto stored = site->site().sessions.Load(kTestStudy, 1);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(stored->session.phase(), secagg::SiteSession::Phase::kMasking);
    EXPECT_EQ(stored->session.session_id(), round_.session().session_id());
    EXPECT_EQ(stored->roster, kNames);
    EXPECT_TRUE(site->events.empty());
  }
}

TEST_F(KeyAgreementTest, ASiteThatNeverSharesIsNotWaitedFor) {
  round_.sharing.erase("site-d");
  sites_[3]->before_agree = [&, asked = 0]() mutable {
    return ++asked > 1 ? absl::UnavailableError("gone") : absl::OkStatus();
  };
  sites_.back()->stop = false;
  std::vector<absl::Status> ended(3);
  {
    ThreadPool pool(4);
    pool.Schedule([&] { (void)sites_[3]->AgreeOnly(); });
    absl::Mutex mutex;
    int left = 3;
    for (size_t i = 0; i < 3; ++i) {
      pool.Schedule([&, i] {
        ended[i] = sites_[i]->AgreeOnly();
        absl::MutexLock lock(&mutex);
        if (--left == 0) sites_[3]->stop = true;
      });
    }
  }
  for (const absl::Status& status : ended) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(round_.session().sharing().Count(), 3u);
}

// Dies at its n-th question, before or after the coordinator heard it, and goes on with the same
// keys.
TEST_F(KeyAgreementTest, ARestartAtAnyStepGoesOnWithTheSameKeys) {
  for (const bool heard : {false, true}) {
    for (const int dies_at : {1, 2, 3, 5}) {
      SCOPED_TRACE(absl::StrCat(heard ? "heard " : "unheard ", dies_at));
      TestRound round(study_, kNames);
      std::vector<std::unique_ptr<TestSite>> sites;
      for (const std::string& name : kNames) {
        sites.push_back(std::make_unique<TestSite>(study_, name, &round));
      }
      TestSite& first = *sites[0];
      int asked = 0;
      if (heard) {
        round.tamper = [&](const std::string& site, AgreementReply& reply) {
          // The answer is lost with the process.
          if (site == "site-a" && ++asked == dies_at) {
            first.stop = true;
            reply = AgreementReply();
          }
        };
      } else {
        first.before_agree = [&] {
          if (++asked != dies_at) return absl::OkStatus();
          first.stop = true;
          return absl::UnavailableError("dying");
        };
      }
      std::vector<absl::Status> ended(sites.size());
      {
        ThreadPool pool(static_cast<int>(sites.size()));
        for (size_t i = 0; i < sites.size(); ++i) {
          pool.Schedule([&, i] {
            ended[i] = sites[i]->AgreeOnly();
            if (i != 0 || !absl::IsCancelled(ended[i])) return;
            first.Restart();
            first.stop = false;
            ended[i] = first.AgreeOnly();
          });
        }
      }
      for (const absl::Status& status : ended) EXPECT_TRUE(status.ok()) << status;
      const auto stored = first.site().sessions.Load(kTestStudy, 1);
      ASSERT_TRUE(stored.ok());
      EXPECT_EQ(stored->session.session_id(), round.session().session_id());
    }
  }
}

TEST_F(KeyAgreementTest, AnAgreedSessionIsReadyAtOnceAfterARestart) {
  for (const absl::Status& ended : AgreeAll(sites_)) ASSERT_TRUE(ended.ok()) << ended;
  a().Restart();
  a().before_agree = [] { return absl::InternalError("nobody is asked"); };
  EXPECT_TRUE(a().AgreeOnly().ok());
}

TEST_F(KeyAgreementTest, ACoordinatorThatIsNotReachedIsAskedAgain) {
  a().before_agree = [asked = 0]() mutable {
    return ++asked % 2 == 1 ? absl::UnavailableError("away") : absl::OkStatus();
  };
  for (const absl::Status& ended : AgreeAll(sites_)) EXPECT_TRUE(ended.ok()) << ended;
}

TEST_F(KeyAgreementTest, ACoordinatorThatHasMovedOnEndsItAndTheKeysStay) {
  a().before_agree = [] { return absl::FailedPreconditionError("round 1 is over"); };
  EXPECT_TRUE(absl::IsAborted(a().AgreeOnly()));
  EXPECT_TRUE(a().site().sessions.Load(kTestStudy, 1).ok());
  EXPECT_TRUE(a().events.empty());
}

TEST_F(KeyAgreementTest, ASiteThatIsOutDeclinesAndForgetsItsKeys) {
  Tamper(AgreementStage::kReady, [](AgreementReply& reply) {
    reply = {.stage = AgreementStage::kOut, .reason = "too late"};
  });
  const std::vector<absl::Status> ended = AgreeAll(sites_);
  EXPECT_TRUE(absl::IsFailedPrecondition(ended[0])) << ended[0];
  EXPECT_EQ(DeclineReason(ended[0]), "secure aggregation: not part of this round's sum");
  EXPECT_TRUE(absl::IsNotFound(a().site().sessions.Load(kTestStudy, 1).status()));
}

TEST_F(KeyAgreementTest, KeysThatWereReplacedEndIt) {
  a().before_agree = [] { return absl::AlreadyExistsError("other keys"); };
  const absl::Status ended = a().AgreeOnly();
  EXPECT_TRUE(absl::IsFailedPrecondition(ended)) << ended;
  EXPECT_EQ(DeclineReason(ended), "secure aggregation: the key agreement cannot go on");
}

TEST_F(KeyAgreementTest, ATaskThatIsGivenUpEndsTheWait) {
  a().before_agree = [this] {
    a().stop = true;
    return absl::OkStatus();
  };
  EXPECT_TRUE(absl::IsCancelled(a().AgreeOnly()));
}

TEST_F(KeyAgreementTest, AnOlderRoundsKeysGoWhenANewOneStarts) {
  for (const absl::Status& ended : AgreeAll(sites_)) ASSERT_TRUE(ended.ok()) << ended;
  a().task.round = 2;
  a().task.task_id = "hippo/2/train/site-a";
  a().before_agree = [this] {
    a().stop = true;
    return absl::UnavailableError("enough");
  };
  EXPECT_TRUE(absl::IsCancelled(a().AgreeOnly()));
  EXPECT_TRUE(absl::IsNotFound(a().site().sessions.Load(kTestStudy, 1).status()));
  EXPECT_TRUE(a().site().sessions.Load(kTestStudy, 2).ok());
}

TEST_F(KeyAgreementTest, TermsThatAreNotThePlansAreRefusedBeforeAKeyIsTold) {
  bool told = false;
  a().before_agree = [&] {
    told = true;
    return absl::OkStatus();
  };
  a().task.masking->bits = 16;
  const absl::Status ended = a().AgreeOnly();
  EXPECT_TRUE(absl::IsFailedPrecondition(ended)) << ended;
  EXPECT_EQ(DeclineReason(ended),
            "secure aggregation: the number of bits is not what the plan says");
  EXPECT_FALSE(told);
}

TEST_F(KeyAgreementTest, ARosterWithoutTheSiteIsRefused) {
  Tamper(AgreementStage::kShares,
         [](AgreementReply& reply) { reply.roster.erase(reply.roster.begin()); });
  ExpectRefused("secure aggregation");
}

TEST_F(KeyAgreementTest, AnotherThresholdIsRefused) {
  Tamper(AgreementStage::kShares, [](AgreementReply& reply) { reply.threshold = 2; });
  ExpectRefused("secure aggregation");
}

TEST_F(KeyAgreementTest, ForgedPeersAreRefused) {
  // Keys of the coordinator's own making, in the place of site b's, under a root of its own.
  TestStudy impostor;
  TestRound their_round(impostor, kNames);
  TestSite fake(impostor, "site-b", &their_round);
  SiteKeys forged;
  fake.before_agree = [&] {
    fake.stop = true;
    return absl::UnavailableError("enough");
  };
  (void)fake.AgreeOnly();
  forged = fake.site().sessions.Load(kTestStudy, 1)->keys;
  Tamper(AgreementStage::kShares, [&](AgreementReply& reply) { reply.roster[1] = forged; });
  ExpectRefused("site-b");
}

TEST_F(KeyAgreementTest, AProtocolKeyThatTheCertificateDoesNotVouchForIsRefused) {
  Tamper(AgreementStage::kShares, [](AgreementReply& reply) {
    reply.roster[2].protocol_key_signature = reply.roster[3].protocol_key_signature;
  });
  ExpectRefused("peer site-c");
}

TEST_F(KeyAgreementTest, APeerThatTheSiteDoesNotAcceptIsRefused) {
  MaskingSite picky = a().site();
  picky.accept_peer = [](const secagg::KeyAnnouncement& peer) {
    return peer.site == "site-d" ? absl::PermissionDeniedError("peers.deny: site-d")
                                 : absl::OkStatus();
  };
  absl::Status ended;
  {
    ThreadPool pool(4);
    for (size_t i = 1; i < sites_.size(); ++i) {
      pool.Schedule([&, i] { (void)sites_[i]->AgreeOnly(); });
    }
    TaskMonitor monitor(a().task, a(), a().stop, Clock::System());
    const auto agreement = KeyAgreement::Start(picky, a(), a().task, monitor,
                                               {absl::Milliseconds(2), absl::Milliseconds(10)});
    ASSERT_TRUE(agreement.ok()) << agreement.status();
    ended = (*agreement)->AwaitReady();
    for (const auto& site : sites_) site->stop = true;
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(ended)) << ended;
  EXPECT_TRUE(absl::StrContains(DeclineReason(ended), "peers.deny: site-d"));
}

TEST_F(KeyAgreementTest, ARosterThatChangesAfterTheSharesIsRefused) {
  int seen = 0;
  Tamper(AgreementStage::kShares, [&](AgreementReply& reply) {
    if (++seen > 1) reply.roster.pop_back();
  });
  // The others' shares are late, so that the roster is told to site a again.
  for (size_t i = 1; i < sites_.size(); ++i) {
    sites_[i]->before_agree = [&, asked = 0]() mutable {
      return seen < 2 && ++asked > 1 ? absl::UnavailableError("slow") : absl::OkStatus();
    };
  }
  ExpectRefused("secure aggregation");
}

TEST_F(KeyAgreementTest, BoxesThatAreNotThoseOfTheSharingSitesAreRefused) {
  Tamper(AgreementStage::kReady, [](AgreementReply& reply) { reply.boxes.pop_back(); });
  ExpectRefused("the boxes are not those");
}

TEST_F(KeyAgreementTest, FewerSharesThanTheThresholdAreRefused) {
  Tamper(AgreementStage::kReady, [](AgreementReply& reply) {
    reply.boxes.resize(1);
    reply.sharing = {"site-a", "site-b"};
  });
  ExpectRefused("secure aggregation");
}

TEST_F(KeyAgreementTest, ASwappedBoxIsRefused) {
  Tamper(AgreementStage::kReady,
         [](AgreementReply& reply) { std::swap(reply.boxes[0].box, reply.boxes[1].box); });
  ExpectRefused("site-b");
}

TEST_F(KeyAgreementTest, SharesBeforeTheRosterAreRefused) {
  Tamper(AgreementStage::kShares, [](AgreementReply& reply) {
    reply = {.stage = AgreementStage::kReady};
    reply.sharing = {"site-a"};
  });
  ExpectRefused("secure aggregation");
}

class GroupAgreementTest : public KeyAgreementTest {
 protected:
  static wire::Plan Grouped() {
    wire::Plan plan = TestStudy::MaskedPlan();
    plan.protection.group = 2;
    return plan;
  }
  GroupAgreementTest() : KeyAgreementTest(Grouped()) {}
};

TEST_F(GroupAgreementTest, ARosterLargerThanAGroupIsRefused) {
  round_.tamper = [](const std::string& site, AgreementReply& reply) {
    if (site != "site-a") reply = AgreementReply();  // site a sees it first
  };
  ExpectRefused("groups of 2");
}

}  // namespace
}  // namespace consilium::agent
