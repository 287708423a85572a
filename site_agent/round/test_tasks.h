// For tests of tasks: a site with one labelled case, and a coordinator that hands out model files.
#ifndef CONSILIUM_SITE_AGENT_ROUND_TEST_TASKS_H_
#define CONSILIUM_SITE_AGENT_ROUND_TEST_TASKS_H_

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/round/task_runner.h"
#include "site_agent/tiny_model.h"

namespace consilium::agent {

// Hands out model files; everything else is taken and forgotten.
class ModelServer final : public Federation {
 public:
  absl::Status Hello() override { return absl::OkStatus(); }
  absl::StatusOr<NextAnswer> NextTask(absl::Duration, const std::vector<std::string>&) override {
    return NextAnswer();
  }
  absl::Status ReportCohort(const std::string&, const CohortSummary&) override {
    return absl::OkStatus();
  }
  absl::Status DownloadModel(const ModelRef& model, const std::string& path,
                             const ByteProgress&) override {
    ++downloads;
    std::error_code error;
    const auto found = files.find(model.sha256);
    std::filesystem::copy_file(found == files.end() ? model_path : found->second, path, error);
    return error ? absl::UnavailableError("no model") : absl::OkStatus();
  }
  absl::StatusOr<UploadOutcome> Upload(const TaskKey&, const UpdateOffer&, const std::string&,
                                       const ByteProgress&) override {
    return UploadOutcome{true, ""};
  }
  absl::Status ReportProgress(const TaskProgress&) override { return progress_answer; }
  absl::Status Decline(const std::string&, const std::string&) override { return absl::OkStatus(); }
  absl::Status ReportEvaluation(const std::string&, const EvaluationResult&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<AgreementReply> AgreeKeys(const std::string&, const SiteKeys&,
                                           const SiteShares*) override {
    return absl::UnimplementedError("no secure aggregation here");
  }
  absl::Status SubmitConsent(const std::string&, const ConsentResult&) override {
    return absl::OkStatus();
  }
  absl::Status SubmitReveal(const std::string&, const RevealResult&) override {
    return absl::OkStatus();
  }
  std::string model_path;
  std::map<std::string, std::string> files;  // others, by SHA-256
  int downloads = 0;
  absl::Status progress_answer;
};

class TaskTest : public testing::Test {
 protected:
  TaskTest() : folder_(*TempDir::Create("tasks")), key_(privacy::GenerateHpkeKeyPair()) {}
  void SetUp() override {
    WriteLabelledSeries(At("archive"), TinyPlan());
    const auto report = Ingest(At("home"), {At("archive")}, IngestOptions(), {}, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->cases_added_labelled, 1);
    auto spool = Spool::Open(At("home"));
    ASSERT_TRUE(spool.ok());
    spool_ = std::make_unique<Spool>(*std::move(spool));
    server_.model_path = At("model.safetensors");
    WriteTinyModel(TinyPlan(), server_.model_path);
  }
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }

  SiteTask Task(TaskKind kind) const {
    SiteTask task;
    task.task_id = std::string("tiny/1/") + TaskKindName(kind);
    task.kind = kind;
    task.study = "tiny";
    task.round = 1;
    task.plan = TinyPlan();
    task.plan_json = wire::PlanToJson(task.plan);
    task.model = {"tiny/1", *privacy::Sha256HexOfFile(server_.model_path),
                  *FileBytes(server_.model_path)};
    task.sealing_public_key = key_.public_key;
    return task;
  }
  absl::StatusOr<FinishedTask> Run(const SiteTask& task, TaskDoor* door = nullptr,
                                   const SitePolicy* policy = nullptr) {
    AgentOptions options;
    options.federation = "testfed";
    options.site = "site-a";
    options.compute = {1, "cpu"};
    TaskSite site{At("home"), options, server_, *spool_, Clock::System()};
    site.door = door;
    site.policy = policy;
    TaskMonitor monitor(task, server_, stop_, Clock::System());
    return RunTask(site, task, monitor);
  }
  // The tensors of the sealed update.
  wire::SafetensorsFile Open(const SiteTask& task) {
    auto reader =
        privacy::SealedReader::Open(spool_->UpdatePath(task.task_id), key_,
                                    {"testfed", task.study, task.round, "site-a", task.task_id});
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::string plain;
    std::string piece;
    for (uint64_t at = 0; at < reader->pieces(); ++at) {
      EXPECT_TRUE(reader->Read(at, piece).ok());
      plain += piece;
    }
    EXPECT_TRUE(WriteFileAtomic(At("opened"), plain).ok());
    auto file = wire::ReadSafetensors(At("opened"));
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  TempDir folder_;
  privacy::HpkeKeyPair key_;
  ModelServer server_;
  std::unique_ptr<Spool> spool_;
  std::atomic<bool> stop_{false};
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_TEST_TASKS_H_
