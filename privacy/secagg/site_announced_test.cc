#include "privacy/secagg/site_announced.h"

#include "gtest/gtest.h"
#include "privacy/secagg/test_round.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

std::vector<KeyAnnouncement> RosterOf(const TestRound& round) {
  std::vector<KeyAnnouncement> roster;
  for (const SiteSession& site : round.sites) roster.push_back(site.announcement());
  return roster;
}

TEST(SiteAnnouncedTest, AnnouncesFreshSignedKeys) {
  const TestRound round(3);
  const auto first = SiteAnnounced::Create(round.SiteOptions(0), round.identities[0]);
  const auto second = SiteAnnounced::Create(round.SiteOptions(0), round.identities[0]);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(CheckAnnouncement(round.job, first->announcement()).ok());
  EXPECT_NE(first->announcement().mask_key, second->announcement().mask_key);
  EXPECT_NE(first->announcement().box_key, second->announcement().box_key);
  Job other = round.job;
  other.round += 1;
  EXPECT_EQ(CheckAnnouncement(other, first->announcement()).code(), Code::kPermissionDenied);
}

TEST(SiteAnnouncedTest, JobBeyondItsLimitsIsRefused) {
  const TestRound round(3);
  std::vector<Job> jobs(7, round.job);
  jobs[0].job = "";
  jobs[1].model_digest = "short";
  jobs[2].bits = 24;
  jobs[3].words = 2;
  jobs[4].min_cohort = 2;
  jobs[5].quantiser = "clip=0.05;D=354;lanes=3";
  jobs[6].words = kWordsMax + 1;
  for (const Job& job : jobs) {
    SiteAnnounced::Options options = round.SiteOptions(0);
    options.job = job;
    options.loaded_model_digest = job.model_digest;
    EXPECT_EQ(CodeOf(SiteAnnounced::Create(options, round.identities[0])), Code::kInvalidArgument);
  }
}

TEST(SiteAnnouncedTest, RosterOfTwoIsRefused) {
  const TestRound round(3);
  const auto site = SiteAnnounced::Create(round.SiteOptions(0), round.identities[0]);
  const std::vector<KeyAnnouncement> two = {site->announcement(), round.sites[1].announcement()};
  EXPECT_EQ(CodeOf(site->OnRoster({.job = round.job, .threshold = 2}, two, Genuine)),
            Code::kInvalidArgument);
}

TEST(SiteAnnouncedTest, RosterOutOfOrderOrWithASiteTwiceIsRefused) {
  TestRound round(4);
  const std::vector<KeyAnnouncement> honest = RosterOf(round);
  std::vector<KeyAnnouncement> swapped = honest;
  std::swap(swapped[1], swapped[2]);
  std::vector<KeyAnnouncement> twice = honest;
  twice[2] = twice[1];
  for (const auto& roster : {swapped, twice}) {
    EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine)),
              Code::kInvalidArgument);
  }
}

TEST(SiteAnnouncedTest, RosterWithoutThisSiteOrWithOtherKeysOfItIsRefused) {
  TestRound round(4);
  const TestRound stranger(4);
  std::vector<KeyAnnouncement> roster = RosterOf(round);
  roster[0] = stranger.sites[0].announcement();
  EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine)),
            Code::kInvalidArgument);
  roster = RosterOf(round);
  roster.erase(roster.begin());
  EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine)),
            Code::kInvalidArgument);
}

TEST(SiteAnnouncedTest, PeerWithABadSignatureIsRefused) {
  TestRound round(4);
  std::vector<KeyAnnouncement> roster = RosterOf(round);
  roster[3].signature[0] ^= 1;
  EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine)),
            Code::kPermissionDenied);
}

TEST(SiteAnnouncedTest, VerifierSeesEveryPeerAndNotTheSiteItself) {
  TestRound round(4);
  std::vector<std::string> seen;
  const auto note = [&seen](const KeyAnnouncement& keys) {
    seen.push_back(keys.certificate_pem);
    return absl::OkStatus();
  };
  ASSERT_TRUE(
      round.sites[1].OnRoster({.job = round.job, .threshold = 3}, RosterOf(round), note).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"certificate of site-000", "certificate of site-002",
                                            "certificate of site-003"}));
}

}  // namespace
}  // namespace consilium::secagg
