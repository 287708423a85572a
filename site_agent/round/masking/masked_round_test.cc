// Whole rounds: sites that agree, mask, consent and reveal against a coordinator's session.
#include <cmath>
#include <filesystem>
#include <memory>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "privacy/secagg/key_schedule.h"
#include "proto/base/status.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/round/masking/test_round.h"
#include "site_agent/round/masking/unmask_task.h"
#include "site_agent/round/site_round.h"

namespace consilium::agent {
namespace {

const std::vector<std::string> kNames = {"site-a", "site-b", "site-c", "site-d"};

UpdateFacts FactsOf(size_t site) {
  UpdateFacts facts;
  facts.labelled_cases = 4 + static_cast<int64_t>(site);
  facts.unlabelled_cases = 2;
  facts.reported_cases = 10;
  facts.summary.steps = 20;
  facts.summary.mean_loss = 0.5 + 0.125 * static_cast<double>(site);
  return facts;
}

class MaskedRoundTest : public testing::Test {
 protected:
  MaskedRoundTest() : MaskedRoundTest(TestStudy::MaskedPlan()) {}
  explicit MaskedRoundTest(const wire::Plan& plan, uint64_t parameters = 1000) : study_(plan) {
    study_.parameters = parameters;
    round_ = std::make_unique<TestRound>(study_, kNames);
    for (const std::string& name : kNames) {
      sites_.push_back(std::make_unique<TestSite>(study_, name, round_.get()));
    }
  }
  TestSite& a() { return *sites_[0]; }

  // Everybody agrees; the first `delivering` mask and spool.
  void TrainAll(size_t delivering = kNames.size()) {
    std::vector<absl::Status> ended(sites_.size());
    {
      ThreadPool pool(static_cast<int>(sites_.size()));
      for (size_t i = 0; i < sites_.size(); ++i) {
        pool.Schedule([&, i] {
          ended[i] =
              i < delivering
                  ? sites_[i]->Train(TestUpdate(kNames[i], study_.parameters), FactsOf(i)).status()
                  : sites_[i]->AgreeOnly();
        });
      }
    }
    for (const absl::Status& status : ended) ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(
        round_->session()
            .FixSurvivors(std::vector<std::string>(kNames.begin(), kNames.begin() + delivering))
            .ok());
    survivors_ = round_->session().survivors().bytes();
  }
  SiteTask Task(TestSite& site, TaskKind kind) {
    return study_.UnmaskTask(site.name, kind, survivors_, round_->session().Consents());
  }
  secagg::Consent Consent(TestSite& site) {
    const auto finished = RunConsent(site.site(), Task(site, TaskKind::kConsent));
    EXPECT_TRUE(finished.ok()) << finished.status();
    if (!finished.ok()) return {};
    return std::get<ConsentResult>(finished->result).consent;
  }
  absl::Status Reveal(TestSite& site) {
    CSL_ASSIGN_OR_RETURN(const FinishedTask finished,
                         RunReveal(site.site(), Task(site, TaskKind::kReveal)));
    const secagg::ServerSession& session = round_->session();
    secagg::RevealMessage message;
    message.shares.resize(session.roster().size());
    for (const RevealedShare& share : std::get<RevealResult>(finished.result).shares) {
      CSL_ASSIGN_OR_RETURN(const size_t at, secagg::IndexOf(session.roster(), share.of));
      EXPECT_EQ(share.secret == RevealedShare::Secret::kSelfSeed, session.survivors().Has(at));
      message.shares[at] = share.share;
    }
    return round_->session().OnReveal(site.name, message);
  }
  void ConsentAndReveal(size_t survivors) {
    for (size_t i = 0; i < survivors; ++i) {
      ASSERT_TRUE(round_->session().OnConsent(Consent(*sites_[i])).ok());
    }
    for (size_t i = 0; i < survivors; ++i) {
      const absl::Status revealed = Reveal(*sites_[i]);
      ASSERT_TRUE(revealed.ok()) << revealed;
    }
  }
  secagg::Quantiser Quantiser() const {
    return *secagg::Quantiser::Create({study_.quantiser, study_.bits, kNames.size(),
                                       study_.parameters,
                                       secagg::RotationSeed(round_->session().session_id())});
  }

  struct Opened {
    secagg::LaneSums lanes;
    std::vector<float> means;
  };
  template <typename Word>
  Opened Open(size_t survivors) {
    const secagg::Quantiser quantiser = Quantiser();
    std::vector<Word> sum(quantiser.words());
    for (size_t i = 0; i < survivors; ++i) {
      const auto payload = OpenPayload(study_, *sites_[i]);
      EXPECT_TRUE(payload.ok()) << payload.status();
      EXPECT_EQ(payload->session_id, round_->session().session_id());
      for (size_t w = 0; w < sum.size(); ++w) {
        sum[w] = static_cast<Word>(sum[w] + payload->words[w]);
      }
    }
    const auto unmasker = round_->session().Unmask(nullptr);
    EXPECT_TRUE(unmasker.ok()) << unmasker.status();
    unmasker->Remove(0, absl::MakeSpan(sum));
    Opened opened;
    const auto lanes = quantiser.DecodeLanes(
        absl::MakeSpan(sum).subspan(quantiser.padded_parameters()), survivors);
    EXPECT_TRUE(lanes.ok()) << lanes.status();
    opened.lanes = *lanes;
    opened.means.resize(study_.parameters);
    EXPECT_TRUE(quantiser
                    .Decode(lanes->weight, 0,
                            absl::MakeSpan(sum).subspan(0, quantiser.padded_parameters()),
                            absl::MakeSpan(opened.means))
                    .ok());
    return opened;
  }
  // What the coordinator would have got from sealed updates.
  std::vector<double> ExactMeans(size_t survivors) const {
    std::vector<double> sum(study_.parameters);
    double weights = 0;
    for (size_t i = 0; i < survivors; ++i) {
      const double weight = 600 + 100 * static_cast<double>(i);  // of 1000, by the cases trained on
      const wire::TensorMap update = TestUpdate(kNames[i], study_.parameters);
      for (size_t p = 0; p < sum.size(); ++p) sum[p] += weight * update.values[p];
      weights += weight;
    }
    for (double& value : sum) value /= weights;
    return sum;
  }

  TestStudy study_;
  std::unique_ptr<TestRound> round_;
  std::vector<std::unique_ptr<TestSite>> sites_;
  std::string survivors_;
};

TEST_F(MaskedRoundTest, TheSumIsTheWeightedMeanOfTheSites) {
  TrainAll();
  ConsentAndReveal(4);
  const Opened opened = Open<uint32_t>(4);
  EXPECT_EQ(opened.lanes.weight, 600u + 700 + 800 + 900);
  // labelled_cases, loss, saturated, steps
  EXPECT_EQ(opened.lanes.metrics, (std::vector<double>{4 + 5 + 6 + 7, 2.75, 0, 80}));
  const std::vector<double> exact = ExactMeans(4);
  const double bound = Quantiser().ErrorBound(opened.lanes.weight, 4) + 1e-7;
  for (size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(opened.means[i], exact[i], bound) << i;
}

TEST_F(MaskedRoundTest, TheSumIsRightWhereASiteDropsOutAfterItsShares) {
  TrainAll(3);
  ConsentAndReveal(3);
  const Opened opened = Open<uint32_t>(3);
  EXPECT_EQ(opened.lanes.weight, 600u + 700 + 800);
  const std::vector<double> exact = ExactMeans(3);
  const double bound = Quantiser().ErrorBound(opened.lanes.weight, 3) + 1e-7;
  for (size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(opened.means[i], exact[i], bound) << i;
}

TEST_F(MaskedRoundTest, NothingOfAMaskedUpdateIsToldBesideIt) {
  TrainAll();
  for (const auto& site : sites_) {
    const auto spooled = site->spool().Load(site->task.task_id);
    ASSERT_TRUE(spooled.ok());
    const auto& offer = std::get<UpdateOffer>(spooled->result);
    EXPECT_EQ(offer.labelled_cases, 0);
    EXPECT_EQ(offer.unlabelled_cases, 0);
    EXPECT_EQ(offer.summary, TrainingSummary());
    EXPECT_EQ(offer.base_model_sha256, site->task.model.sha256);
    EXPECT_EQ(*FileBytes(site->spool().UpdatePath(site->task.task_id)), offer.bytes);
  }
  // A monitor of a masked task never tells a loss.
  {
    TaskMonitor monitor(a().task, a(), a().stop, Clock::System());
    monitor.Report(TaskPhase::kTrain, 1, 1, 0.75);
  }
  absl::MutexLock lock(&a().mutex);
  ASSERT_FALSE(a().progress.empty());
  for (const TaskProgress& report : a().progress) EXPECT_EQ(report.loss, 0);
}

TEST_F(MaskedRoundTest, ALostPayloadIsNeverMaskedAgain) {
  TrainAll();
  a().spool().Remove(a().task.task_id);
  a().Restart();
  const auto again = a().Train(TestUpdate("other", study_.parameters), FactsOf(0));
  EXPECT_TRUE(absl::IsFailedPrecondition(again.status())) << again.status();
  EXPECT_TRUE(absl::StrContains(DeclineReason(again.status()), "is lost"));
  EXPECT_EQ(a().events.back().action, "secagg.refuse");
  EXPECT_FALSE(PathExists(a().spool().UpdatePath(a().task.task_id)));
  // It still opens the sum of the others and its own that was delivered.
  ConsentAndReveal(4);
}

TEST_F(MaskedRoundTest, AModelOfAnotherSizeIsRefusedBeforeAnythingIsMasked) {
  std::vector<absl::Status> ended(sites_.size());
  {
    ThreadPool pool(4);
    for (size_t i = 0; i < sites_.size(); ++i) {
      pool.Schedule([&, i] {
        ended[i] =
            sites_[i]->Train(TestUpdate(kNames[i], study_.parameters + 1), FactsOf(i)).status();
      });
    }
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(ended[0])) << ended[0];
  EXPECT_TRUE(absl::StrContains(DeclineReason(ended[0]), "words"));
  EXPECT_FALSE(a().site().sessions.Load(kTestStudy, 1)->masked);
}

TEST_F(MaskedRoundTest, ASiteThatWasNotAskedForItsConsentRevealsAllTheSame) {
  TrainAll();
  for (size_t i = 1; i < sites_.size(); ++i) {
    ASSERT_TRUE(round_->session().OnConsent(Consent(*sites_[i])).ok());
  }
  EXPECT_TRUE(Reveal(a()).ok());
  // And agreed with that.
  SiteTask other = Task(a(), TaskKind::kConsent);
  other.unmasking->survivors = "\x07";
  EXPECT_TRUE(absl::IsFailedPrecondition(RunConsent(a().site(), other).status()));
}

TEST_F(MaskedRoundTest, ConsentAndRevealAreTheSameAgainAfterARestart) {
  TrainAll();
  const secagg::Consent consent = Consent(a());
  a().Restart();
  EXPECT_EQ(Consent(a()), consent);
  for (const auto& site : sites_) {
    ASSERT_TRUE(round_->session().OnConsent(Consent(*site)).ok());
  }
  EXPECT_TRUE(Reveal(a()).ok());
  a().Restart();
  EXPECT_TRUE(Reveal(a()).ok());
}

TEST_F(MaskedRoundTest, ASecondSurvivorSetIsRefusedWhateverIsRestored) {
  TrainAll();
  const std::string path = a().At("secagg/hippo@1/session");
  const std::string before = *ReadFile(path, 1 << 20);
  const secagg::Consent consent = Consent(a());
  SiteTask other = Task(a(), TaskKind::kConsent);
  other.unmasking->survivors = "\x07";  // without site d
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto refused = RunConsent(a().site(), other);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << attempt << refused.status();
    EXPECT_EQ(a().events.back().action, "secagg.refuse");
    a().Restart();
    // Lastly the session is as it was before the consent: the ledger remembers.
    if (attempt == 1) {
      ASSERT_TRUE(WriteFileAtomic(path, before, kPrivateFile).ok());
    }
  }
  EXPECT_EQ(Consent(a()), consent);
}

TEST_F(MaskedRoundTest, SurvivorSetsThatBetraySomebodyAreRefused) {
  TrainAll();
  // Without this site; too few; beyond the roster; none.
  for (const std::string survivors : {"\x0e", "\x03", "\x1f", ""}) {
    SiteTask task = Task(a(), TaskKind::kConsent);
    task.unmasking->survivors = survivors;
    EXPECT_TRUE(absl::IsFailedPrecondition(RunConsent(a().site(), task).status()));
  }
  EXPECT_EQ(Consent(a()).survivors, survivors_);
}

TEST_F(MaskedRoundTest, NothingIsRevealedWithoutEnoughGenuineConsents) {
  TrainAll();
  std::vector<secagg::Consent> consents;
  for (const auto& site : sites_) consents.push_back(Consent(*site));
  const auto reveal = [&](std::vector<secagg::Consent> shown) {
    return RunReveal(a().site(),
                     study_.UnmaskTask("site-a", TaskKind::kReveal, survivors_, std::move(shown)))
        .status();
  };
  EXPECT_TRUE(absl::IsFailedPrecondition(reveal({})));
  EXPECT_TRUE(absl::IsFailedPrecondition(reveal({consents[0], consents[1]})));
  EXPECT_TRUE(absl::IsFailedPrecondition(reveal({consents[0], consents[1], consents[1]})));
  std::vector<secagg::Consent> forged = consents;
  forged[2].signature = forged[1].signature;
  EXPECT_TRUE(absl::IsFailedPrecondition(reveal(forged)));
  EXPECT_TRUE(reveal(consents).ok());
}

TEST_F(MaskedRoundTest, OnlyAnUpdateOfThisSiteIsOpened) {
  SiteTask early = study_.UnmaskTask("site-a", TaskKind::kConsent, "\x0f");
  EXPECT_TRUE(absl::IsFailedPrecondition(RunConsent(a().site(), early).status()));
  TrainAll(3);
  SiteTask other = Task(a(), TaskKind::kConsent);
  other.unmasking->train_task_id = "hippo/0/train/site-a";
  EXPECT_TRUE(absl::IsFailedPrecondition(RunConsent(a().site(), other).status()));
  // Site d agreed on masks and masked nothing.
  EXPECT_TRUE(absl::IsFailedPrecondition(
      RunConsent(sites_[3]->site(), Task(*sites_[3], TaskKind::kConsent)).status()));
  a().site().sessions.RemoveOfTask(a().task.task_id);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(RunConsent(a().site(), Task(a(), TaskKind::kConsent)).status()));
}

wire::Plan NoisyPlan() {
  wire::Plan plan = TestStudy::MaskedPlan();
  plan.protection.clip = 64;  // room for the noise
  plan.privacy = {"site", 8, 1e-2, 1, 8, 4};
  return plan;
}

class NoisyRoundTest : public MaskedRoundTest {
 protected:
  NoisyRoundTest() : MaskedRoundTest(NoisyPlan(), 20'000) {}
};

TEST_F(NoisyRoundTest, TheSumIsThatOfClippedUpdatesAndEverybodysNoiseAndNothingElse) {
  TrainAll();
  ConsentAndReveal(4);
  const Opened opened = Open<uint32_t>(4);
  EXPECT_EQ(opened.lanes.weight, 4u);
  EXPECT_EQ(opened.lanes.metrics, (std::vector<double>{0, 0, 0, 0})) << "no lane has noise";
  std::vector<double> noise(opened.means.begin(), opened.means.end());
  for (const std::string& name : kNames) {
    wire::TensorMap update = TestUpdate(name, study_.parameters);
    ASSERT_LT(BoundNorm(update, 1), 1) << "longer than the clip";
    for (size_t i = 0; i < noise.size(); ++i) noise[i] -= update.values[i] / 4;
  }
  double squares = 0;
  for (const double value : noise) squares += value * value;
  // Calibrated for the three whose shares open a sum; four took part.
  const double expected = 4.0 * std::sqrt(4.0 / 3) / 4;
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(noise.size())), expected, expected * 0.03);
}

TEST_F(NoisyRoundTest, ASiteThatIsToCountForMoreThanOthersRefuses) {
  a().task.masking->weight_max = 2;
  std::vector<absl::Status> ended(sites_.size());
  {
    ThreadPool pool(static_cast<int>(sites_.size()));
    for (size_t i = 0; i < sites_.size(); ++i) {
      pool.Schedule([&, i] {
        ended[i] =
            sites_[i]->Train(TestUpdate(kNames[i], study_.parameters), FactsOf(i)).status();
      });
    }
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(ended[0])) << ended[0];
  EXPECT_TRUE(absl::StrContains(DeclineReason(ended[0]), "count alike")) << ended[0];
  EXPECT_FALSE(PathExists(a().spool().UpdatePath(a().task.task_id)));
  EXPECT_TRUE(ended[1].ok()) << ended[1];
}

TEST(BoundNormTest, AControlVariateBehindTheWeightsIsLeftAlone) {
  wire::TensorMap update;
  update.layout.tensors = {{"w", {2}}, {"control.w", {2}}};
  update.values = {3, 4, 30, 40};
  EXPECT_DOUBLE_EQ(BoundNorm(update, 2.5), 0.5);
  EXPECT_EQ(update.values, (std::vector<float>{1.5, 2, 30, 40}));
}

TEST(BoundNormTest, ALongUpdateIsScaledDownAndAShortOneIsNot) {
  wire::TensorMap update;
  update.values = {3, 4};
  EXPECT_EQ(BoundNorm(update, 0), 1);
  EXPECT_EQ(BoundNorm(update, 5), 1);
  EXPECT_EQ(update.values, (std::vector<float>{3, 4}));
  EXPECT_DOUBLE_EQ(BoundNorm(update, 2.5), 0.5);
  EXPECT_EQ(update.values, (std::vector<float>{1.5, 2}));
}

// Values beyond the clip bound and a norm bound, over several windows and threads.
class LargeRoundTest : public MaskedRoundTest {
 protected:
  static wire::Plan Plan() {
    wire::Plan plan = TestStudy::MaskedPlan();
    plan.protection.clip = 0.1;
    return plan;
  }
  LargeRoundTest() : MaskedRoundTest(Plan(), (uint64_t{2} << 20) + 70'001) {}
};

TEST_F(LargeRoundTest, ClippedValuesAreCountedAndTheRestIsRight) {
  TrainAll();
  ConsentAndReveal(4);
  const Opened opened = Open<uint32_t>(4);
  std::vector<double> exact(study_.parameters);
  double clipped_share = 0;
  double weights = 0;
  for (size_t i = 0; i < sites_.size(); ++i) {
    const double weight = 600 + 100 * static_cast<double>(i);
    const wire::TensorMap update = TestUpdate(kNames[i], study_.parameters);
    uint64_t clipped = 0;
    for (size_t p = 0; p < exact.size(); ++p) {
      const double value = std::clamp<double>(update.values[p], -0.1, 0.1);
      exact[p] += weight * value;
      clipped += value != update.values[p] ? 1 : 0;
    }
    clipped_share += static_cast<double>(clipped) / static_cast<double>(exact.size());
    weights += weight;
  }
  EXPECT_NEAR(opened.lanes.metrics[2], clipped_share, 1e-4);
  EXPECT_GT(clipped_share, 1);
  const double bound = Quantiser().ErrorBound(opened.lanes.weight, 4) + 1e-7;
  for (size_t i = 0; i < exact.size(); ++i) {
    ASSERT_NEAR(opened.means[i], exact[i] / weights, bound) << i;
  }
}

class ShortWordsTest : public MaskedRoundTest {
 protected:
  static wire::Plan Plan() {
    wire::Plan plan = TestStudy::MaskedPlan();
    plan.protection.bits = 16;
    plan.protection.clip = 1;
    return plan;
  }
  ShortWordsTest() : MaskedRoundTest(Plan(), 70'000) {}
};

TEST_F(ShortWordsTest, SixteenBitsGiveTheMeanWithinTheirError) {
  TrainAll(3);
  ConsentAndReveal(3);
  const Opened opened = Open<uint16_t>(3);
  EXPECT_EQ(opened.lanes.weight, 600u + 700 + 800);
  const std::vector<double> exact = ExactMeans(3);
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(opened.means[i] - exact[i], 2);
    norm += std::pow(exact[i], 2);
  }
  EXPECT_LT(std::sqrt(error / norm), 0.01);
  EXPECT_EQ(study_.TrainTask("site-a").masking->words, study_.quantiser.Words(study_.parameters));
}

}  // namespace
}  // namespace consilium::agent
