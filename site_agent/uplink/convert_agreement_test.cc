// What a hostile coordinator may put into the messages of secure aggregation.
#include <functional>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "site_agent/uplink/convert.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

wire::Plan MaskedPlan() {
  wire::Plan plan;
  plan.study = "hippo";
  plan.labels = {{1, "Anterior", ""}};
  plan.protection.kind = "secure-aggregation";
  return plan;
}

void SetPlan(v1::Task& task, const wire::Plan& plan) {
  task.set_plan_json(wire::PlanToJson(plan));
  task.set_plan_sha256(privacy::Sha256Hex(task.plan_json()));
}

v1::Task TrainTask() {
  v1::Task task;
  task.set_task_id("hippo/1/train/site-a");
  task.set_kind(v1::Task::TRAIN);
  task.set_study("hippo");
  task.set_round(1);
  SetPlan(task, MaskedPlan());
  task.mutable_model()->set_version("hippo/0");
  task.mutable_model()->set_sha256(std::string(64, 'a'));
  task.mutable_model()->set_bytes(1000);
  task.set_sealing_public_key(std::string(32, 'k'));
  task.set_role("trainer");
  v1::MaskingTerms& terms = *task.mutable_masking();
  terms.set_job("fed/hippo");
  terms.set_bits(32);
  terms.set_words(1002);
  terms.set_min_cohort(3);
  terms.set_quantiser("clip=1;D=5000;lanes=2");
  terms.set_weight_unit_milli(1000);
  terms.set_weight_max(12);
  return task;
}

v1::Task RevealTask() {
  v1::Task task = TrainTask();
  task.set_task_id("hippo/1/reveal/site-a");
  task.set_kind(v1::Task::REVEAL);
  task.clear_masking();
  task.clear_model();
  task.clear_sealing_public_key();
  v1::Unmasking& terms = *task.mutable_unmasking();
  terms.set_train_task_id("hippo/1/train/site-a");
  terms.set_survivors("\7");
  v1::Consent& consent = *terms.add_consents();
  consent.set_site("site-b");
  consent.set_survivors("\7");
  consent.set_signature(std::string(64, 's'));
  return task;
}

TEST(MaskingFromMessageTest, GoodTasksAreTaken) {
  const auto train = TaskFromMessage(TrainTask());
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->masking,
            (MaskingTerms{"fed/hippo", 32, 1002, 3, "clip=1;D=5000;lanes=2", 1000, 12}));
  EXPECT_FALSE(train->unmasking.has_value());
  const auto reveal = TaskFromMessage(RevealTask());
  ASSERT_TRUE(reveal.ok()) << reveal.status();
  EXPECT_EQ(reveal->kind, TaskKind::kReveal);
  EXPECT_EQ(
      reveal->unmasking,
      (UnmaskingTerms{"hippo/1/train/site-a", "\7", {{"site-b", "\7", std::string(64, 's')}}}));
  v1::Task consent = RevealTask();
  consent.set_kind(v1::Task::CONSENT);
  consent.mutable_unmasking()->clear_consents();
  EXPECT_TRUE(TaskFromMessage(consent).ok()) << TaskFromMessage(consent).status();
}

TEST(MaskingFromMessageTest, AControlVariateIsAModelOfTraining) {
  v1::Task task = TrainTask();
  *task.mutable_control() = task.model();
  ASSERT_TRUE(TaskFromMessage(task).ok());
  EXPECT_EQ(TaskFromMessage(task)->control->bytes, 1000u);
  task.mutable_control()->set_sha256("../x");
  EXPECT_TRUE(absl::IsInvalidArgument(TaskFromMessage(task).status()));
}

TEST(MaskingFromMessageTest, WhatDoesNotHoldTogetherIsRefused) {
  const std::vector<std::function<void(v1::Task&)>> train_faults = {
      [](v1::Task& t) { t.clear_masking(); },  // no way back to sealed updates
      [](v1::Task& t) {
        wire::Plan sealed = MaskedPlan();
        sealed.protection = wire::PlanProtection();
        SetPlan(t, sealed);
      },
      [](v1::Task& t) { t.mutable_masking()->clear_job(); },
      [](v1::Task& t) { t.mutable_masking()->set_job(std::string(257, 'x')); },
      [](v1::Task& t) { t.mutable_masking()->set_quantiser("a b"); },
      [](v1::Task& t) { t.mutable_masking()->set_quantiser(std::string(1025, 'x')); },
      [](v1::Task& t) { t.mutable_unmasking()->set_survivors("\7"); },
  };
  for (size_t i = 0; i < train_faults.size(); ++i) {
    v1::Task task = TrainTask();
    train_faults[i](task);
    EXPECT_TRUE(absl::IsInvalidArgument(TaskFromMessage(task).status())) << i;
  }
  const std::vector<std::function<void(v1::Task&)>> reveal_faults = {
      [](v1::Task& t) { t.clear_unmasking(); },
      [](v1::Task& t) { t.set_round(0); },
      [](v1::Task& t) { *t.mutable_masking() = TrainTask().masking(); },
      [](v1::Task& t) { t.set_kind(v1::Task::CONSENT); },  // with consents
      [](v1::Task& t) { t.set_kind(v1::Task::EVALUATE); },
      [](v1::Task& t) { t.mutable_unmasking()->clear_survivors(); },
      [](v1::Task& t) { t.mutable_unmasking()->set_survivors(std::string(33, '\1')); },
      [](v1::Task& t) { t.mutable_unmasking()->set_train_task_id("a\nb"); },
      [](v1::Task& t) { t.mutable_unmasking()->mutable_consents(0)->set_site("Site B"); },
      [](v1::Task& t) { t.mutable_unmasking()->mutable_consents(0)->set_signature("s"); },
      [](v1::Task& t) {
        t.mutable_unmasking()->mutable_consents(0)->set_survivors(std::string(33, '\1'));
      },
      [](v1::Task& t) {
        for (int i = 0; i < 255; ++i) {
          *t.mutable_unmasking()->add_consents() = t.unmasking().consents(0);
        }
      },
  };
  for (size_t i = 0; i < reveal_faults.size(); ++i) {
    v1::Task task = RevealTask();
    reveal_faults[i](task);
    EXPECT_TRUE(absl::IsInvalidArgument(TaskFromMessage(task).status())) << i;
  }
}

class AgreementFromMessageTest : public testing::Test {
 protected:
  AgreementFromMessageTest()
      : certificate_(federation_.Tls(privacy::Role::kSite, "site-b").certificate_pem) {}

  v1::AgreeKeysReply Shares() const {
    v1::AgreeKeysReply reply;
    reply.set_stage(v1::AgreeKeysReply::SHARES);
    reply.set_threshold(3);
    v1::SiteKeys& keys = *reply.add_roster();
    keys.set_site("site-b");
    keys.set_certificate_pem(certificate_);
    keys.set_protocol_key(std::string(32, 'p'));
    keys.set_protocol_key_signature(std::string(70, 'e'));
    keys.set_mask_key(std::string(32, 'm'));
    keys.set_box_key(std::string(32, 'b'));
    keys.set_signature(std::string(64, 's'));
    return reply;
  }
  static v1::AgreeKeysReply Ready() {
    v1::AgreeKeysReply reply;
    reply.set_stage(v1::AgreeKeysReply::READY);
    v1::ShareBox& box = *reply.add_boxes();
    box.set_from("site-b");
    box.set_to("site-a");
    box.set_box(std::string(secagg::kBoxBytes, 'x'));
    reply.add_sharing("site-a");
    reply.add_sharing("site-b");
    return reply;
  }

  const TestFederation federation_;
  const std::string certificate_;
};

TEST_F(AgreementFromMessageTest, EachStageGivesItsFields) {
  const auto shares = AgreementFromMessage(Shares());
  ASSERT_TRUE(shares.ok()) << shares.status();
  EXPECT_EQ(shares->stage, AgreementStage::kShares);
  EXPECT_EQ(shares->threshold, 3u);
  ASSERT_EQ(shares->roster.size(), 1u);
  EXPECT_EQ(HexEncode(shares->roster[0].announcement.certificate_fingerprint),
            *privacy::CertificateSha256Hex(certificate_));
  EXPECT_EQ(shares->roster[0].announcement.identity_key, std::string(32, 'p'));
  const auto ready = AgreementFromMessage(Ready());
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->sharing, (std::vector<std::string>{"site-a", "site-b"}));
  v1::AgreeKeysReply out;
  out.set_stage(v1::AgreeKeysReply::OUT);
  out.set_reason("late\n" + std::string(1000, 'x'));
  EXPECT_EQ(AgreementFromMessage(out)->reason, "late " + std::string(495, 'x'));
  v1::AgreeKeysReply keys;
  keys.set_stage(v1::AgreeKeysReply::KEYS);
  EXPECT_EQ(AgreementFromMessage(keys)->stage, AgreementStage::kKeys);
}

TEST_F(AgreementFromMessageTest, WhatIsBeyondItsBoundsIsRefused) {
  using Reply = v1::AgreeKeysReply;
  const std::vector<std::function<void(Reply&)>> faults = {
      [](Reply& r) { r.mutable_roster(0)->set_site("../b"); },
      [](Reply& r) { r.mutable_roster(0)->set_certificate_pem("rubbish"); },
      [](Reply& r) { r.mutable_roster(0)->mutable_certificate_pem()->append(16'384, '\n'); },
      [](Reply& r) { r.mutable_roster(0)->set_protocol_key("p"); },
      [](Reply& r) { r.mutable_roster(0)->clear_protocol_key_signature(); },
      [](Reply& r) { r.mutable_roster(0)->set_protocol_key_signature(std::string(73, 'e')); },
      [](Reply& r) { r.mutable_roster(0)->set_mask_key(std::string(33, 'm')); },
      [](Reply& r) { r.mutable_roster(0)->clear_box_key(); },
      [](Reply& r) { r.mutable_roster(0)->set_signature(std::string(63, 's')); },
      [](Reply& r) {
        for (int i = 0; i < 255; ++i) *r.add_roster() = r.roster(0);
      },
      [](Reply& r) { r.set_stage(Reply::STAGE_UNSPECIFIED); },
      [](Reply& r) { r.set_stage(static_cast<Reply::Stage>(99)); },
      [](Reply& r) {
        r = Ready();
        r.mutable_boxes(0)->set_box("short");
      },
      [](Reply& r) {
        r = Ready();
        r.mutable_boxes(0)->set_from("");
      },
      [](Reply& r) {
        r = Ready();
        r.add_sharing("site-b");
      },
      [](Reply& r) {
        r = Ready();
        for (int i = 0; i < 255; ++i) *r.add_boxes() = r.boxes(0);
      },
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    Reply reply = Shares();
    faults[i](reply);
    EXPECT_TRUE(absl::IsInvalidArgument(AgreementFromMessage(reply).status())) << i;
  }
}

TEST_F(AgreementFromMessageTest, WhatTheSiteSaysCarriesEveryField) {
  const SiteKeys keys = AgreementFromMessage(Shares())->roster[0];
  const v1::AgreeKeysRequest bare = ToMessage("t", keys, nullptr);
  EXPECT_EQ(bare.task_id(), "t");
  EXPECT_FALSE(bare.has_shares());
  EXPECT_EQ(bare.keys().SerializeAsString(), Shares().roster(0).SerializeAsString());
  const SiteShares shares = {std::string(32, 'c'), {{"site-a", std::string(81, 'x')}}};
  const v1::AgreeKeysRequest full = ToMessage("t", keys, &shares);
  EXPECT_EQ(full.shares().commitment(), shares.commitment);
  ASSERT_EQ(full.shares().boxes_size(), 1);
  EXPECT_EQ(full.shares().boxes(0).from(), "site-b");
  EXPECT_EQ(full.shares().boxes(0).to(), "site-a");
  const v1::ConsentReport consent =
      ToMessage("t", ConsentResult{{"site-b", "\7", std::string(64, 's')}});
  EXPECT_EQ(consent.consent().survivors(), "\7");
  const v1::RevealReport reveal = ToMessage(
      "t", RevealResult{{{"site-a", RevealedShare::Secret::kMaskKey, std::string(32, 'k')}}});
  EXPECT_TRUE(reveal.shares(0).mask_key());
  EXPECT_EQ(reveal.shares(0).of(), "site-a");
}

}  // namespace
}  // namespace consilium::agent
