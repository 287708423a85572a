// A masked round step by step: the real StudyRun and the real sessions of its sites, without chance.
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "tests/sim/sim_masking.h"
#include "tests/support/status_matchers.h"

namespace consilium::sim {
namespace {

using coordinator::AuditFacts;
using coordinator::MaskedRound;
using coordinator::Outcome;
using coordinator::RoundPhase;
using coordinator::SiteTask;
using coordinator::SiteView;
using coordinator::StudyRun;
using coordinator::TaskKind;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kParameters = 3;

class MaskedStudyTest : public ::testing::Test {
 protected:
  void Open(int64_t sites, const std::string& protection = "secure-aggregation",
            const std::string& aggregation = "") {
    const std::string yaml = absl::StrCat(
        "name: s\ntask: {labels: {1: A}}\n"
        "plan: {patch_xyz: [16, 16, 16], strides_xyz: [[1,1,1],[2,2,2]], features: [8,16], "
        "steps_per_round: 10, spacing_xyz_mm: [1, 1, 1]}\naggregation: {min_sites: ",
        sites, aggregation, "}\nrounds: {count: 2, deadline: 10m, quorum: 3}\nprotection: ",
        protection, "\n");
    absl::StatusOr<StudyRun> run = StudyRun::Create(yaml, "run", now_);
    ASSERT_TRUE(run.ok()) << run.status();
    run_ = *std::move(run);
    run_->NoteFederation("fed");
    for (int64_t i = 0; i < sites; ++i) {
      const std::string name = absl::StrCat("site", i < 10 ? "0" : "", i);
      SiteView view = {name, true, true, "approved"};
      view.capabilities = ~uint32_t{0};
      views_.push_back(view);
      sites_.emplace_back(name, leaks_);
      names_.push_back(name);
    }
    Turn([&](coordinator::Step& step) { return run_->OnControl("start", "", now_, step); });
    for (size_t i = 0; i < names_.size(); ++i) {
      coordinator::CohortRecord report;
      report.site = names_[i];
      report.cases = report.labelled_cases = 10 + static_cast<int64_t>(i);
      report.median_spacing_xyz_mm = {1, 1, 1};
      report.median_size_xyz = {40, 40, 40};
      Turn([&](coordinator::Step& step) {
        return run_->OnCohortReport(report, run_->TaskId(TaskKind::kPrepare, 0, report.site), now_,
                                    step);
      });
    }
    Tick();
    // The first weights.
    const std::string first = run_->round()->record().contributions.front().site;
    Accept(first);
    Turn([&](coordinator::Step& step) {
      return run_->OnModelReady({privacy::Sha256Hex("v0"), 1, kParameters, "layout"}, now_, step)
          .status();
    });
    Tick();
    ASSERT_TRUE(run_->masked().has_value()) << run_->waiting();
  }

  void Turn(const std::function<absl::Status(coordinator::Step&)>& event) {
    coordinator::Step step;
    last_ = TakeTurn(*run_, views_, now_, step,
                     [&](StudyRun&, coordinator::Step& out) { return event(out); });
    for (AuditFacts& facts : step.audit) audit_.push_back(std::move(facts));
    for (coordinator::AgreementRecord& record : step.agreements) stored_[record.site] = record;
  }
  void Tick() {
    Turn([](coordinator::Step&) { return absl::OkStatus(); });
  }

  void Accept(const std::string& site) {
    coordinator::VerifiedUpdate update;
    update.upload_id = absl::StrCat("up-", site);
    update.bytes = 1;
    update.labelled_cases = 1;
    Turn([&](coordinator::Step& step) {
      return run_->OnUpdateVerified(
          site, update, now_, step);
    });
  }

  // Each named site says what it has, and hears.
  void Agree(const std::vector<size_t>& who) {
    for (const size_t i : who) {
      const std::optional<SiteTask> task = run_->TaskFor(names_[i], now_);
      if (!task || task->kind != TaskKind::kTrain) continue;
      tasks_[i] = *task;
      const auto said = sites_[i].Say(*task);
      ASSERT_TRUE(said.ok()) << said.status();
      Turn([&](coordinator::Step& step) {
        return run_->OnAgreeKeys(
            names_[i], task->task_id, *said,
            [](const coordinator::SiteKeys&) { return absl::OkStatus(); }, step);
      });
      const auto answer = run_->AgreementFor(names_[i], task->task_id);
      ASSERT_TRUE(answer.ok()) << answer.status();
      if (answer->stage == MaskedRound::Stage::kOut) continue;
      const absl::StatusOr<bool> ready = sites_[i].Hear(*task, *answer);
      ASSERT_TRUE(ready.ok()) << ready.status();
    }
  }
  std::vector<size_t> All() const {
    std::vector<size_t> all(names_.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    return all;
  }
  void AgreeAll() {
    for (int i = 0; i < 4; ++i) Agree(All());  // keys, roster and shares, boxes
  }
  void Deliver(size_t i) {
    const float first = i == 0 ? 0.0f : 1.0f;
    const absl::StatusOr<Words> words = sites_[i].Mask(tasks_[i], {first, 0.5f, -0.25f});
    ASSERT_TRUE(words.ok()) << words.status();
    words_[names_[i]] = *words;
    Accept(names_[i]);
  }
  // What the sites are asked for the unmasking, until nobody is asked any more.
  void Unmask() {
    for (int turn = 0; turn < 4; ++turn) {
      for (size_t i = 0; i < names_.size(); ++i) {
        const std::optional<SiteTask> task = run_->TaskFor(names_[i], now_);
        if (!task || !task->unmasking) continue;
        if (task->kind == TaskKind::kConsent) {
          const auto consent = sites_[i].Consent(*task);
          ASSERT_TRUE(consent.ok()) << consent.status();
          Turn([&](coordinator::Step& step) {
            return run_->OnConsent(names_[i], task->task_id, *consent, step);
          });
        } else {
          auto reveal = sites_[i].Reveal(*task);
          ASSERT_TRUE(reveal.ok()) << reveal.status();
          if (liars_.contains(i)) {
            for (std::string& share : reveal->shares) {
              if (!share.empty()) share[0] = static_cast<char>(share[0] ^ 1);
            }
          }
          Turn([&](coordinator::Step& step) {
            return run_->OnReveal(names_[i], task->task_id, *reveal, now_, step);
          });
        }
        ASSERT_TRUE(last_.ok()) << last_;
      }
    }
  }
  // The weighted mean of the group's sites' first values, as unmasked.
  double FirstMean(const coordinator::MaskedSum& sum) {
    std::vector<uint32_t> words(sum.quantiser.words(), 0);
    for (const std::string& site : sum.sites) {
      for (size_t i = 0; i < words.size(); ++i) words[i] += words_.at(site)[i];
    }
    sum.unmasker.Remove(0, absl::MakeSpan(words));
    const absl::Span<const uint32_t> all(words);
    const size_t lanes = sum.quantiser.padded_parameters();
    const auto decoded = sum.quantiser.DecodeLanes(all.subspan(lanes), sum.sites.size());
    EXPECT_TRUE(decoded.ok()) << decoded.status();
    std::vector<float> mean(kParameters);
    EXPECT_TRUE(
        sum.quantiser.Decode(decoded->weight, 0, all.first(lanes), absl::MakeSpan(mean)).ok());
    return mean[0];
  }
  // As the cases weigh: site i has 10 + i of them, and 0 as its first value if it is the first, else 1.
  double ExpectedFirst(const std::vector<std::string>& sites) const {
    double sum = 0, weight = 0;
    for (size_t i = 0; i < names_.size(); ++i) {
      if (std::find(sites.begin(), sites.end(), names_[i]) == sites.end()) continue;
      sum += (10.0 + static_cast<double>(i)) * std::min(1.0, static_cast<double>(i));
      weight += 10.0 + static_cast<double>(i);
    }
    return sum / weight;
  }
  bool Audited(absl::string_view action, absl::string_view site = "") const {
    return std::any_of(audit_.begin(), audit_.end(), [&](const AuditFacts& facts) {
      return facts.action == action && (site.empty() || facts.site == site);
    });
  }

  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  std::optional<StudyRun> run_;
  std::vector<SiteView> views_;
  Leaks leaks_;
  std::deque<SimMasking> sites_;
  std::vector<std::string> names_;
  std::map<size_t, SiteTask> tasks_;
  std::map<std::string, std::vector<uint32_t>> words_;
  std::map<std::string, coordinator::AgreementRecord> stored_;
  std::set<size_t> liars_;
  std::vector<AuditFacts> audit_;
  absl::Status last_;
};

TEST_F(MaskedStudyTest, ASumOfAllSites) {
  Open(4);
  AgreeAll();
  for (const size_t i : All()) Deliver(i);
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kUnmasking);
  Unmask();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  const auto sums = run_->masked()->Unmask(nullptr);
  ASSERT_TRUE(sums.ok()) << sums.status();
  ASSERT_THAT(*sums, SizeIs(1));
  EXPECT_NEAR(FirstMean(sums->front()), ExpectedFirst(names_), 1e-5);
  EXPECT_TRUE(Audited("masking.consent", "site00"));
  EXPECT_TRUE(Audited("round.unmask"));
}

TEST_F(MaskedStudyTest, OneOfFourDropsOutBetweenSharingAndDelivery) {
  Open(4);
  AgreeAll();
  for (const size_t i : {0u, 1u, 3u}) Deliver(i);
  EXPECT_TRUE(run_->round()->open());
  now_ += absl::Minutes(11);
  Tick();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kUnmasking);
  Unmask();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  const auto sums = run_->masked()->Unmask(nullptr);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_NEAR(FirstMean(sums->front()), ExpectedFirst({"site00", "site01", "site03"}), 1e-5);
}

TEST_F(MaskedStudyTest, TwoOfFourAreTooFew) {
  Open(4);
  AgreeAll();
  Deliver(0);
  Deliver(1);
  now_ += absl::Minutes(11);
  Tick();
  EXPECT_TRUE(Audited("round.fail"));
  EXPECT_FALSE(Audited("round.unmask"));
}

TEST_F(MaskedStudyTest, ASiteThatSendsNoKeysIsLeftOutAndTheOthersGoOn) {
  Open(4);
  Agree({0, 1, 3});
  now_ += absl::Minutes(3);  // a quarter of the deadline
  Tick();
  EXPECT_EQ(run_->round()->Find("site02")->outcome, Outcome::kMissing);
  for (int i = 0; i < 3; ++i) Agree({0, 1, 3});
  for (const size_t i : {0u, 1u, 3u}) Deliver(i);
  Unmask();
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
}

TEST_F(MaskedStudyTest, AWrongShareIsNamedAndDoesNotSpoilTheSum) {
  Open(5);
  liars_ = {1};
  AgreeAll();
  for (const size_t i : All()) Deliver(i);
  Unmask();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  EXPECT_TRUE(Audited("masking.wrong_share", "site01"));
  EXPECT_FALSE(Audited("masking.wrong_share", "site02"));
  const auto sums = run_->masked()->Unmask(nullptr);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_NEAR(FirstMean(sums->front()), ExpectedFirst(names_), 1e-5);
}

TEST_F(MaskedStudyTest, ASiteThatRefusesToConsentIsNotAskedAgain) {
  Open(4);
  AgreeAll();
  for (const size_t i : All()) Deliver(i);
  const std::optional<SiteTask> task = run_->TaskFor("site02", now_);
  ASSERT_TRUE(task && task->kind == TaskKind::kConsent);
  Turn([&](coordinator::Step& step) {
    return run_->OnDeclined("site02", task->task_id, "site policy", now_, step);
  });
  ASSERT_TRUE(last_.ok()) << last_;
  const std::optional<SiteTask> next = run_->TaskFor("site02", now_);
  EXPECT_FALSE(next && next->kind == TaskKind::kConsent);
  Unmask();
  EXPECT_EQ(run_->round()->phase(), RoundPhase::kAggregating) << "three of four are enough";
}

TEST_F(MaskedStudyTest, ARevokedSurvivorEndsTheRound) {
  Open(4);
  AgreeAll();
  for (const size_t i : All()) Deliver(i);
  views_[1].approved = false;
  views_[1].state = Name(coordinator::SiteState::kRevoked);
  Tick();
  const auto failed =
      std::find_if(audit_.begin(), audit_.end(),
                   [](const AuditFacts& facts) { return facts.action == "round.fail"; });
  ASSERT_NE(failed, audit_.end());
  EXPECT_THAT(failed->reason, HasSubstr("nothing can be taken out"));
}

TEST_F(MaskedStudyTest, UnmaskingHasAnEnd) {
  Open(4);
  AgreeAll();
  for (const size_t i : All()) Deliver(i);
  now_ += absl::Minutes(11);
  Tick();
  EXPECT_TRUE(Audited("round.fail"));
}

TEST_F(MaskedStudyTest, TheRecordsGiveTheSameRoundBackInEachPhase) {
  Open(4);
  const auto restart = [&] {
    std::vector<coordinator::AgreementRecord> agreements;
    for (const auto& [site, record] : stored_) agreements.push_back(record);
    absl::StatusOr<StudyRun> again = StudyRun::FromRecords(
        run_->record(), run_->round()->record(), std::nullopt, std::move(agreements));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->masked()->record(), run_->masked()->record());
    run_ = *std::move(again);
    run_->NoteFederation("fed");
    Tick();
  };
  restart();
  Agree({0, 1});
  restart();
  AgreeAll();
  restart();
  for (const size_t i : All()) Deliver(i);
  restart();
  Unmask();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  restart();
  EXPECT_TRUE(run_->masked()->Unmask(nullptr).ok());
}

TEST_F(MaskedStudyTest, GroupsAreOpenedApart) {
  Open(12, "{kind: secure-aggregation, group: 4}", ", rule: median");
  AgreeAll();
  EXPECT_THAT(run_->masked()->record().rosters, SizeIs(3));
  for (const size_t i : All()) Deliver(i);
  Unmask();
  ASSERT_EQ(run_->round()->phase(), RoundPhase::kAggregating);
  const auto sums = run_->masked()->Unmask(nullptr);
  ASSERT_TRUE(sums.ok()) << sums.status();
  ASSERT_THAT(*sums, SizeIs(3));
  for (const coordinator::MaskedSum& sum : *sums) {
    double expected = 0, weight = 0;
    for (size_t i = 0; i < names_.size(); ++i) {
      if (!std::binary_search(sum.sites.begin(), sum.sites.end(), names_[i])) continue;
      expected += (10.0 + static_cast<double>(i)) * std::min(1.0, static_cast<double>(i));
      weight += 10.0 + static_cast<double>(i);
    }
    EXPECT_NEAR(FirstMean(sum), expected / weight, 1e-5);
  }
}

TEST_F(MaskedStudyTest, AMedianOfTooFewGroupsForItsHostileSitesIsNotMade) {
  Open(20, "{kind: secure-aggregation, group: 4}", ", rule: median, hostile: 2");
  ASSERT_THAT(run_->masked()->record().rosters, SizeIs(5));
  AgreeAll();
  // Two sites of one group never deliver, so that group is left out; four are too few for f = 2.
  const std::vector<std::string> group = run_->masked()->record().rosters[0].sites;
  for (const size_t i : All()) {
    if (names_[i] != group[0] && names_[i] != group[1]) Deliver(i);
  }
  now_ += absl::Minutes(11);
  Tick();
  const auto failed =
      std::find_if(audit_.begin(), audit_.end(),
                   [](const AuditFacts& facts) { return facts.action == "round.fail"; });
  ASSERT_NE(failed, audit_.end());
  EXPECT_THAT(failed->reason, HasSubstr("4 groups of sites are left where the median needs 5"));
}

TEST_F(MaskedStudyTest, AnUpdateBeforeItsKeysAreAgreedIsNotTaken) {
  Open(4);
  Agree(All());
  Accept("site00");
  EXPECT_TRUE(absl::IsFailedPrecondition(last_)) << last_;
}

}  // namespace
}  // namespace consilium::sim
