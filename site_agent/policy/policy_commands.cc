#include "site_agent/policy/policy_commands.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/plan.h"
#include "site_agent/policy/approvals.h"
#include "site_agent/policy/budget_ledger.h"
#include "site_agent/policy/judge.h"
#include "site_agent/policy/spent_epsilon.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::ordered_json;

struct PolicyArguments {
  std::string home;
  std::string file;
  std::string plan;  // a file for check, a digest for approve
  std::string study;
  std::optional<int64_t> sites;
  bool withdraw = false;
  OutputFormat format = OutputFormat::kTable;
};

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kRefused:
      return "refused";
    case Verdict::kUnsaid:
      return "not known yet";
    case Verdict::kLater:
      return "later";
  }
  return "";
}

absl::Status Show(const PolicyArguments& arguments, const PolicyCommandHooks& hooks) {
  CSL_ASSIGN_OR_RETURN(const LoadedPolicy loaded, ReadPolicy(arguments.home));
  auto table = PolicyTable(loaded.policy);
  const bool absent = loaded.sha256.empty();
  table.push_back({"policy.yaml", absent ? "absent: the defaults hold" : loaded.sha256});
  Json json;
  json["sha256"] = absent ? Json(nullptr) : Json(loaded.sha256);
  json["policy"] = Json::parse(PolicyToJson(loaded.policy));
  hooks.print(arguments.format, table, json.dump(2) + "\n");
  return absl::OkStatus();
}

// What approvals a home has; without one, the clause on them is left open.
absl::StatusOr<std::vector<Finding>> JudgePlan(const PolicyArguments& arguments,
                                               const SitePolicy& policy, const TaskTerms& terms) {
  PolicyState state;
  if (!arguments.home.empty()) {
    CSL_ASSIGN_OR_RETURN(const std::vector<PlanApproval> approvals, ReadApprovals(arguments.home));
    for (const PlanApproval& approval : approvals) {
      if (approval.study != terms.study) continue;
      state.study_approved = true;
      if (approval.plan_sha256 == terms.plan_sha256) state.plan_approved = true;
    }
  }
  std::vector<Finding> findings = JudgeAll(policy, terms, state);
  for (Finding& finding : findings) {
    if (finding.clause != "approval" || !arguments.home.empty()) continue;
    finding.verdict = Verdict::kUnsaid;
    finding.got = "not looked at: no --home";
  }
  return findings;
}

void PrintFindings(const PolicyArguments& arguments, const PolicyCommandHooks& hooks,
                   const std::vector<Finding>& findings) {
  std::vector<std::vector<std::string>> table = {{"CLAUSE", "VERDICT", "WANTED", "GOT"}};
  Json json = Json::array();
  for (const Finding& finding : findings) {
    const char* verdict = VerdictName(finding.verdict);
    table.push_back({finding.clause, verdict, finding.wanted, finding.got});
    json.push_back({{"clause", finding.clause},
                    {"verdict", verdict},
                    {"wanted", finding.wanted},
                    {"got", finding.got}});
  }
  hooks.print(arguments.format, table, json.dump(2) + "\n");
}

absl::Status Check(const PolicyArguments& arguments, const PolicyCommandHooks& hooks) {
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.file, kPolicyBytesMax));
  CSL_ASSIGN_OR_RETURN(const SitePolicy policy, ParsePolicy(text));
  if (arguments.plan.empty()) {
    hooks.print(arguments.format, PolicyTable(policy), PolicyToJson(policy));
    return absl::OkStatus();
  }
  CSL_ASSIGN_OR_RETURN(const std::string plan_json, ReadFile(arguments.plan, wire::kPlanBytesMax));
  CSL_ASSIGN_OR_RETURN(const wire::Plan plan, wire::PlanFromJson(plan_json));
  TaskTerms terms = PlanTerms(plan);
  terms.sites = arguments.sites;
  CSL_ASSIGN_OR_RETURN(const std::vector<Finding> findings, JudgePlan(arguments, policy, terms));
  PrintFindings(arguments, hooks, findings);
  for (const Finding& finding : findings) {
    if (finding.verdict == Verdict::kRefused) return absl::AbortedError(RefusalFrom(finding).text);
  }
  return absl::OkStatus();
}

absl::Status Approve(const PolicyArguments& arguments, const PolicyCommandHooks& hooks) {
  if (arguments.withdraw) {
    CSL_RETURN_IF_ERROR(WithdrawApproval(arguments.home, arguments.study, arguments.plan));
    return hooks.record(arguments.home, "policy.withdraw", arguments.study, arguments.plan);
  }
  if (arguments.plan.empty()) {
    return absl::InvalidArgumentError("--plan DIGEST is missing: what you approve is one plan");
  }
  CSL_RETURN_IF_ERROR(CheckApproval(arguments.study, arguments.plan));
  CSL_RETURN_IF_ERROR(
      hooks.record(arguments.home, "policy.approve", arguments.study, arguments.plan));
  return AddApproval(arguments.home, arguments.study, arguments.plan, hooks.clock.Now());
}

absl::Status Budget(const PolicyArguments& arguments, const PolicyCommandHooks& hooks) {
  CSL_ASSIGN_OR_RETURN(const LoadedPolicy loaded, ReadPolicy(arguments.home));
  const auto ledger = BudgetLedger::OpenToRead(arguments.home, SpentEpsilonOf, hooks.clock);
  BudgetReport report;
  report.budget = loaded.policy.budget;
  if (ledger.ok()) {
    report = (*ledger)->Report(loaded.policy.budget);
  } else if (!absl::IsNotFound(ledger.status())) {  // no ledger: nothing was spent
    return ledger.status();
  }
  hooks.print(arguments.format, BudgetTable(report), BudgetToJson(report));
  return absl::OkStatus();
}

void AddFormat(CLI::App& command, PolicyArguments& arguments) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson},
                                                               {"jsonl", OutputFormat::kJsonl}};
  command.add_option("--output", arguments.format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("FORMAT");
}

}  // namespace

void AddPolicyCommands(CLI::App& app, const PolicyCommandHooks& hooks, PolicyCommand& chosen) {
  const auto arguments = std::make_shared<PolicyArguments>();
  const auto add = [&](CLI::App& under, const char* name, const char* about, auto run) {
    CLI::App* sub = under.add_subcommand(name, about);
    sub->callback([&chosen, arguments, hooks, run] {
      chosen = [arguments, hooks, run] { return run(*arguments, hooks); };
    });
    return sub;
  };
  CLI::App* policy =
      app.add_subcommand("policy", "what this site allows, whatever a plan asks for");
  policy->require_subcommand(1);
  CLI::App* show = add(*policy, "show", "all that holds, defaults included", Show);
  show->add_option("--home", arguments->home, "the agent's folder")->required();
  AddFormat(*show, *arguments);
  CLI::App* check =
      add(*policy, "check", "is a policy file right, and does a plan keep to it", Check);
  check->add_option("FILE", arguments->file, "a policy.yaml")->required();
  check->add_option("--plan", arguments->plan, "plan JSON, as `consilium study plan` prints it");
  check->add_option("--sites", arguments->sites, "how many sites would take part")
      ->check(CLI::Range(1, 10'000));
  check->add_option("--home", arguments->home, "whose approvals to look at");
  AddFormat(*check, *arguments);
  CLI::App* approve = add(*policy, "approve", "say yes to a plan of a study, as a person", Approve);
  approve->add_option("STUDY", arguments->study, "its name")->required();
  approve
      ->add_option("--plan", arguments->plan, "SHA-256 of the plan (HOME/policy/plans/DIGEST.json)")
      ->option_text("DIGEST");
  approve->add_flag("--withdraw", arguments->withdraw,
                    "take it back; without --plan, all of the study's");
  approve->add_option("--home", arguments->home, "the agent's folder")->required();

  CLI::App* budget =
      add(app, "budget", "what was spent of patients' privacy, and what is left", Budget);
  budget->add_option("--home", arguments->home, "the agent's folder")->required();
  AddFormat(*budget, *arguments);
}

}  // namespace consilium::agent
