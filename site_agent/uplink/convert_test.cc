#include "site_agent/uplink/convert.h"

#include <functional>

#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"

namespace consilium::agent {
namespace {

wire::Plan SomePlan() {
  wire::Plan plan;
  plan.study = "hippo";
  plan.labels = {{1, "Anterior", ""}};
  return plan;
}

v1::Task GoodTask() {
  v1::Task task;
  task.set_task_id("hippo/1/train/site-a");
  task.set_kind(v1::Task::TRAIN);
  task.set_study("hippo");
  task.set_round(1);
  task.set_plan_json(wire::PlanToJson(SomePlan()));
  task.set_plan_sha256(privacy::Sha256Hex(task.plan_json()));
  task.mutable_model()->set_version("hippo/0");
  task.mutable_model()->set_sha256(std::string(64, 'a'));
  task.mutable_model()->set_bytes(1000);
  task.set_sealing_public_key(std::string(32, 'k'));
  task.set_deadline_seconds(600);
  task.set_role("trainer");
  return task;
}

TEST(TaskFromMessageTest, GoodTaskIsTaken) {
  const auto task = TaskFromMessage(GoodTask());
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->kind, TaskKind::kTrain);
  EXPECT_EQ(task->plan, SomePlan());
  EXPECT_EQ(task->model.bytes, 1000u);
  EXPECT_EQ(task->deadline, absl::Minutes(10));
  EXPECT_EQ(task->role, SiteRole::kTrainer);
}

TEST(TaskFromMessageTest, NoDeadlineIsForEver) {
  v1::Task message = GoodTask();
  message.set_deadline_seconds(0);
  EXPECT_EQ(TaskFromMessage(message)->deadline, absl::InfiniteDuration());
}

TEST(TaskFromMessageTest, PrepareNeedsNoModelAndNoKey) {
  v1::Task message = GoodTask();
  message.set_kind(v1::Task::PREPARE);
  message.set_round(0);
  message.clear_model();
  message.clear_sealing_public_key();
  EXPECT_TRUE(TaskFromMessage(message).ok()) << TaskFromMessage(message).status();
}

TEST(TaskFromMessageTest, WhatDoesNotHoldTogetherIsRefused) {
  const std::vector<std::function<void(v1::Task&)>> faults = {
      [](v1::Task& t) { t.clear_task_id(); },
      [](v1::Task& t) { t.set_task_id(std::string(201, 'x')); },
      [](v1::Task& t) { t.set_task_id("a\nb"); },
      [](v1::Task& t) { t.set_kind(v1::Task::KIND_UNSPECIFIED); },
      [](v1::Task& t) { t.set_kind(static_cast<v1::Task::Kind>(99)); },
      [](v1::Task& t) { t.set_study("../hippo"); },
      [](v1::Task& t) { t.set_round(0); },
      [](v1::Task& t) { t.set_round(-3); },
      [](v1::Task& t) { t.set_plan_json("{}"); },
      [](v1::Task& t) { t.set_plan_sha256(std::string(64, '0')); },
      [](v1::Task& t) {
        t.set_plan_json("{\"study\":1}");
        t.set_plan_sha256(privacy::Sha256Hex(t.plan_json()));
      },
      [](v1::Task& t) { t.clear_model(); },
      [](v1::Task& t) { t.mutable_model()->set_sha256(std::string(64, 'A')); },
      [](v1::Task& t) { t.mutable_model()->set_sha256("../../etc"); },
      [](v1::Task& t) { t.mutable_model()->set_bytes(0); },
      [](v1::Task& t) { t.mutable_model()->set_bytes(kModelBytesMax + 1); },
      [](v1::Task& t) { t.set_sealing_public_key("short"); },
      [](v1::Task& t) { t.set_deadline_seconds(-1); },
      [](v1::Task& t) { t.set_role("spectator"); },
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    v1::Task message = GoodTask();
    faults[i](message);
    EXPECT_TRUE(absl::IsInvalidArgument(TaskFromMessage(message).status())) << i;
  }
}

TEST(ToMessageTest, OfferCarriesEveryField) {
  UpdateOffer offer{std::string(64, 'a'), std::string(64, 'b'), 5, std::string(64, 'c'), 3, 4,
                    {20, 1.5, 0.5, 0.25, 0.125, 0.75, 0.03}};
  const v1::BeginUploadRequest message = ToMessage({"t", TaskKind::kTrain, "hippo", 2}, offer);
  EXPECT_EQ(message.task_id(), "t");
  EXPECT_EQ(message.study(), "hippo");
  EXPECT_EQ(message.round(), 2);
  EXPECT_EQ(message.base_model_sha256(), offer.base_model_sha256);
  EXPECT_EQ(message.layout_sha256(), offer.layout_sha256);
  EXPECT_EQ(message.sha256(), offer.sha256);
  EXPECT_EQ(message.bytes(), 5u);
  EXPECT_EQ(message.labelled_cases(), 3);
  EXPECT_EQ(message.unlabelled_cases(), 4);
  EXPECT_EQ(message.summary().steps(), 20);
  EXPECT_EQ(message.summary().pseudo_foreground_fraction(), 0.03);
}

}  // namespace
}  // namespace consilium::agent
