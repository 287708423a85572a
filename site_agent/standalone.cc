#include "site_agent/standalone.h"

#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/safetensors.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/case_set.h"
#include "site_agent/round/privacy_spending.h"
#include "site_agent/round/private_run.h"
#include "site_agent/weights.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kAloneSite = "local";  // the site's name in the training seed
constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

Json DiceJson(double value) { return std::isnan(value) ? Json() : Json(value); }
std::string DiceText(double value) {
  return std::isnan(value) ? "-" : absl::StrFormat("%.4f", value);
}

void Tell(const Environment& environment, const char* stage, const char* unit, int64_t done,
          int64_t total, const std::string& note = "") {
  if (environment.progress) environment.progress(stage, unit, done, total, note);
}

// For loops over cases: tells and looks whether to stop.
std::function<absl::Status(int64_t, int64_t)> CaseReport(const Environment& environment,
                                                         const char* stage) {
  return [&environment, stage](int64_t done, int64_t total) -> absl::Status {
    Tell(environment, stage, "cases", done, total);
    return environment.stop ? absl::CancelledError("stopped") : absl::OkStatus();
  };
}

absl::Status IngestInto(const std::string& home, const std::vector<std::string>& data,
                        const Environment& environment) {
  CSL_RETURN_IF_ERROR(MakeDirs(home));
  const auto progress = [&](int64_t done, int64_t total) {
    Tell(environment, "ingest", "files", done, total);
  };
  return Ingest(home, data, IngestOptions(), progress, &environment.stop).status();
}

absl::StatusOr<ModelEvaluation> Evaluate(Segmenter& model, const std::string& home,
                                         const Cohort& labelled, const Environment& environment) {
  ModelEvaluation evaluation;
  evaluation.study = model.plan().study;
  evaluation.model_version = model.version();
  evaluation.model_sha256 = model.sha256();
  for (const wire::PlanLabel& label : model.plan().labels) {
    evaluation.structures.push_back(label.name);
  }
  CSL_ASSIGN_OR_RETURN(SampleCache cache, SampleCache::Open({home, model.plan(),
                                                             environment.cache_bytes_max}));
  CSL_ASSIGN_OR_RETURN(EvaluationResult result,
                       EvaluateCases(model, cache, labelled, CaseReport(environment, "evaluate")));
  evaluation.cases = std::move(result.cases);
  evaluation.cases_left_out =
      static_cast<int64_t>(labelled.cases.size() - evaluation.cases.size());
  return evaluation;
}

// Alone there is nobody to agree with: the terms and controls that hold sites together are left out,
// and no layer is kept apart.
wire::Plan PlanAlone(wire::Plan plan) {
  plan.algorithm = wire::PlanAlgorithm();
  return plan;
}

// Of a plan with patient-level privacy: the noise that all of its steps need at these patients. It
// protects whoever gets the model; nothing is taken from a federation's budget.
absl::StatusOr<std::unique_ptr<PrivateRun>> PrivateRunAlone(const wire::Plan& plan,
                                                            const Cohort& cohort,
                                                            training::Session& session) {
  std::vector<std::string> patients;
  for (const CohortCase& item : cohort.cases) patients.push_back(item.record.patient);
  const std::set<std::string> distinct(patients.begin(), patients.end());
  CSL_ASSIGN_OR_RETURN(BudgetPart part, RoundPart(plan, static_cast<int64_t>(distinct.size())));
  part.steps = plan.training.rounds * plan.training.steps_per_round;
  CSL_ASSIGN_OR_RETURN(const auto weights, ExportWeights(session));
  const int64_t parameters = LayoutOf(weights).parameters();
  return PrivateRun::Create(plan, part, parameters, patients, cohort.labelled() > 0);
}

absl::StatusOr<training::RunResult> RunWholePlan(training::Session& session, SampleCache& cache,
                                                 const Cohort& cohort, const wire::Plan& plan,
                                                 const Environment& environment) {
  training::RunOptions run = RoundOptionsFor(plan, /*round=*/1, kAloneSite);
  run.steps = plan.training.rounds * plan.training.steps_per_round;
  std::unique_ptr<PrivateRun> hidden;
  if (plan.privacy.level == "sample") {
    CSL_ASSIGN_OR_RETURN(hidden, PrivateRunAlone(plan, cohort, session));
    run.private_training = hidden->Rules();
  }
  const auto observe = [&](const training::StepReport& report) {
    Tell(environment, "train", "steps", report.step, report.steps,
         absl::StrFormat("loss %.4f", report.loss));
  };
  CSL_ASSIGN_OR_RETURN(const training::RunResult result,
                       RunSteps(session, CasesFor(cache, cohort), run, observe,
                                &environment.stop));
  if (environment.stop) return absl::CancelledError("stopped before the training was done");
  return result;
}

absl::Status WriteModel(training::Session& session, const wire::Plan& plan,
                        const std::string& path) {
  CSL_ASSIGN_OR_RETURN(auto arrays, ExportWeights(session));
  CSL_ASSIGN_OR_RETURN(const wire::TensorMap map, TensorMapFromArrays(std::move(arrays)));
  CSL_RETURN_IF_ERROR(wire::CheckFinite(map));
  const wire::Metadata metadata = {
      {wire::kPlanMetadataKey, wire::PlanToJson(plan)},
      {wire::kVersionMetadataKey, absl::StrCat(plan.study, "/", kAloneSite)}};
  return wire::WriteSafetensors(path, map, metadata);
}

// Trains on the cohort's training part and writes the model; fills everything but the evaluation.
absl::Status TrainAndWrite(const std::string& home, const Cohort& cohort, const wire::Plan& plan,
                           const Environment& environment, TrainAloneResult& result) {
  CSL_ASSIGN_OR_RETURN(SampleCache cache,
                       SampleCache::Open({home, plan, environment.cache_bytes_max}));
  CSL_ASSIGN_OR_RETURN(const Cohort usable, PrepareCases(cache, TrainingPart(cohort), environment.compute.threads,
                                                         CaseReport(environment, "prepare")));
  if (usable.cases.empty()) return absl::NotFoundError("no case in the data fits the plan");
  result.training_cases = static_cast<int64_t>(usable.cases.size());
  result.labelled_cases = usable.labelled();
  CSL_ASSIGN_OR_RETURN(const auto session,
                       MakeSession(SessionOptionsFor(PlanAlone(plan), environment.compute)));
  CSL_ASSIGN_OR_RETURN(const training::RunResult run,
                       RunWholePlan(*session, cache, usable, plan, environment));
  result.steps = run.steps_done;
  result.mean_loss = run.mean_loss;
  return WriteModel(*session, plan, result.model_path);
}

}  // namespace

absl::StatusOr<wire::Plan> ReadPlanFile(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, wire::kPlanBytesMax));
  return wire::PlanFromJson(absl::StripAsciiWhitespace(text));
}

double ModelEvaluation::mean(size_t structure) const {
  double sum = 0;
  int64_t count = 0;
  for (const CaseResult& item : cases) {
    if (std::isnan(item.dice[structure])) continue;
    sum += item.dice[structure];
    ++count;
  }
  return count == 0 ? kUndefined : sum / static_cast<double>(count);
}

double ModelEvaluation::mean_of_all() const {
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < structures.size(); ++i) {
    if (std::isnan(mean(i))) continue;
    sum += mean(i);
    ++count;
  }
  return count == 0 ? kUndefined : sum / static_cast<double>(count);
}

std::string EvaluationToJson(const ModelEvaluation& evaluation) {
  Json json;
  json["model"] = {{"study", evaluation.study},
                   {"version", evaluation.model_version},
                   {"sha256", evaluation.model_sha256}};
  json["structures"] = evaluation.structures;
  Json mean = Json::object();
  for (size_t i = 0; i < evaluation.structures.size(); ++i) {
    mean[evaluation.structures[i]] = DiceJson(evaluation.mean(i));
  }
  json["mean_dice"] = std::move(mean);
  json["mean_dice_all"] = DiceJson(evaluation.mean_of_all());
  json["cases_left_out"] = evaluation.cases_left_out;
  json["cases"] = Json::array();
  for (const CaseResult& item : evaluation.cases) {
    Json dice = Json::object();
    for (size_t i = 0; i < item.dice.size(); ++i) {
      dice[evaluation.structures[i]] = DiceJson(item.dice[i]);
    }
    json["cases"].push_back({{"case", item.case_pseudonym}, {"dice", std::move(dice)}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::vector<std::string>> EvaluationTable(const ModelEvaluation& evaluation) {
  std::vector<std::vector<std::string>> rows = {{"CASE"}};
  for (const std::string& name : evaluation.structures) rows[0].push_back(name);
  for (const CaseResult& item : evaluation.cases) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(item.case_pseudonym);
    for (const double value : item.dice) row.push_back(DiceText(value));
  }
  std::vector<std::string>& last = rows.emplace_back();
  last.push_back("mean");
  for (size_t i = 0; i < evaluation.structures.size(); ++i) {
    last.push_back(DiceText(evaluation.mean(i)));
  }
  return rows;
}

absl::StatusOr<ModelEvaluation> EvaluateOnData(const std::string& model_path,
                                               const std::vector<std::string>& data,
                                               const std::string& home,
                                               const Environment& environment) {
  CSL_ASSIGN_OR_RETURN(Segmenter model, Segmenter::Load(model_path, environment.compute));
  CSL_RETURN_IF_ERROR(IngestInto(home, data, environment));
  CSL_ASSIGN_OR_RETURN(const Cohort cohort, SiteCohort(home, model.plan()));
  const Cohort labelled = HeldOutPart(cohort, SiteRole::kEvaluator);
  if (labelled.cases.empty()) {
    return absl::NotFoundError("no labelled case in the data fits the model's plan");
  }
  return Evaluate(model, home, labelled, environment);
}

absl::StatusOr<TrainAloneResult> TrainAlone(const TrainAloneOptions& options,
                                            const Environment& environment) {
  const std::string home = JoinPath(options.out, "home");
  TrainAloneResult result;
  result.model_path = JoinPath(options.out, "model.safetensors");
  CSL_RETURN_IF_ERROR(IngestInto(home, options.data, environment));
  CSL_ASSIGN_OR_RETURN(const Cohort cohort, SiteCohort(home, options.plan));
  CSL_RETURN_IF_ERROR(TrainAndWrite(home, cohort, options.plan, environment, result));
  if (!options.evaluate.empty()) {
    CSL_ASSIGN_OR_RETURN(result.evaluation,
                         EvaluateOnData(result.model_path, options.evaluate,
                                        JoinPath(options.out, "evaluation-home"), environment));
  } else {
    CSL_ASSIGN_OR_RETURN(Segmenter model,
                         Segmenter::Load(result.model_path, environment.compute));
    const Cohort held_out = HeldOutPart(cohort, SiteRole::kTrainer);
    CSL_ASSIGN_OR_RETURN(result.evaluation, Evaluate(model, home, held_out, environment));
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(options.out, "evaluation.json"),
                                      EvaluationToJson(result.evaluation)));
  return result;
}

}  // namespace consilium::agent
