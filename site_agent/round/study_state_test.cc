#include "site_agent/round/study_state.h"

#include <unistd.h>

#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

std::vector<training::NamedArray> Array(float value) { return {{"a", {1}, {value}}}; }
float ValueOf(const std::vector<training::NamedArray>& arrays) {
  return arrays.empty() ? 0 : arrays[0].values[0];
}

class StudyStateTest : public testing::Test {
 protected:
  SiteTask Task(int64_t round, const std::string& attempt = "") const {
    SiteTask task;
    task.task_id = "s/" + std::to_string(round) + attempt;
    task.kind = TaskKind::kTrain;
    task.study = "s";
    task.round = round;
    task.model.sha256 = "model of round " + std::to_string(round);
    task.plan_json = plan_json_;
    return task;
  }
  StudyState State(const SiteTask& task) const { return StudyState(dir_.path(), task); }
  StudyArrays Begin(const SiteTask& task) const {
    const auto arrays = State(task).Begin();
    EXPECT_TRUE(arrays.ok()) << arrays.status();
    return *arrays;
  }
  // What a training of the task leaves: all three arrays of one value.
  void Train(const SiteTask& task, float value, bool accepted = true) {
    Begin(task);
    ASSERT_TRUE(State(task).Stage({Array(value), Array(value), Array(value)}).ok());
    if (accepted) {
      ASSERT_TRUE(StudyState::NoteAccepted(dir_.path(), KeyOf(task)).ok());
    }
  }
  TempDir dir_ = *TempDir::Create("state");
  std::string plan_json_ = "{}";
};

TEST_F(StudyStateTest, WhatARoundMadeCountsInTheNext) {
  Train(Task(1), 1);
  EXPECT_EQ(ValueOf(Begin(Task(2)).local), 1);
  EXPECT_EQ(ValueOf(Begin(Task(2)).control), 1) << "asked twice, it is still there";
  Train(Task(2), 2);
  const StudyArrays own = Begin(Task(4));
  EXPECT_EQ(ValueOf(own.personal), 2);
  EXPECT_EQ(ValueOf(own.control), 2);
}

TEST_F(StudyStateTest, ATaskThatIsDoneTwiceStartsFromTheSame) {
  Train(Task(1), 1);
  Train(Task(2), 2);
  const StudyArrays again = Begin(Task(2));
  EXPECT_EQ(ValueOf(again.local), 1);
  EXPECT_EQ(ValueOf(again.control), 1);
  // Another attempt at the same round, as after one that failed.
  Train(Task(2), 2);
  EXPECT_EQ(ValueOf(Begin(Task(2, "/again")).control), 1);
}

TEST_F(StudyStateTest, AControlCountsOnlyWithAnUpdateThatWasTaken) {
  Train(Task(1), 1);
  Train(Task(2), 2, /*accepted=*/false);
  const StudyArrays own = Begin(Task(3));
  EXPECT_EQ(ValueOf(own.control), 1);
  EXPECT_EQ(ValueOf(own.local), 2) << "this site's layers are its own affair";
}

TEST_F(StudyStateTest, AControlDoesNotCountIfItsRoundMadeNoModel) {
  Train(Task(1), 1);
  Train(Task(2), 2);
  SiteTask next = Task(3);
  next.model = Task(2).model;
  const StudyArrays own = Begin(next);
  EXPECT_EQ(ValueOf(own.control), 1);
  EXPECT_EQ(ValueOf(own.local), 2);
}

TEST_F(StudyStateTest, AcceptanceOfAnotherTaskSaysNothing) {
  Train(Task(1), 1);
  Train(Task(2), 2, /*accepted=*/false);
  ASSERT_TRUE(StudyState::NoteAccepted(dir_.path(), KeyOf(Task(1))).ok());
  EXPECT_EQ(ValueOf(Begin(Task(3)).control), 1);
}

TEST_F(StudyStateTest, ACutTrainingLeavesNothing) {
  Train(Task(1), 1);
  Train(Task(2), 2);
  ASSERT_EQ(unlink(JoinPath(dir_.path(), "studies/s/next/training.json").c_str()), 0);
  EXPECT_EQ(ValueOf(Begin(Task(3)).local), 1);
}

TEST_F(StudyStateTest, AStudyThatBeginsAgainAndAnotherPlanStartAnew) {
  Train(Task(1), 1);
  Train(Task(2), 2);
  plan_json_ = "{\"other\":1}";
  EXPECT_TRUE(Begin(Task(3)).local.empty());
  plan_json_ = "{}";
  EXPECT_TRUE(Begin(Task(1)).control.empty());
  EXPECT_TRUE(Begin(Task(2)).control.empty());
}

TEST_F(StudyStateTest, AnEvaluationSeesTheRoundThatWasJustTrained) {
  Train(Task(1), 1);
  Train(Task(2), 2);
  EXPECT_EQ(ValueOf(State(Task(2)).Newest()->local), 2);
  EXPECT_EQ(ValueOf(State(Task(1)).Newest()->local), 1) << "not what comes after its model";
  EXPECT_EQ(ValueOf(State(Task(3)).Newest()->personal), 2);
}

TEST_F(StudyStateTest, ADamagedFileIsNotUsed) {
  Train(Task(1), 1);
  Begin(Task(2));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(dir_.path(), "studies/s/local.safetensors"), "x").ok());
  const StudyArrays own = Begin(Task(2));
  EXPECT_TRUE(own.local.empty());
  EXPECT_EQ(ValueOf(own.control), 1);
}

}  // namespace
}  // namespace consilium::agent
