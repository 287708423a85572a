#include "site_agent/patient_commands.h"

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/audit_commands.h"
#include "site_agent/intake/patient_register.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

constexpr const char* kFooter =
    R"(Lists have one PatientID a line, as the hospital's archive writes them; a tab and the issuer may
follow. They are read, turned into the site's pseudonyms and not kept. IDs on a command line may be seen by
others on the machine; a list is safer.

Examples:
  consilium-agent patient opt-out --home HOME --ids objections.txt --whole
  consilium-agent patient consent --home HOME --ids consents.txt
  consilium-agent patient policy --home HOME consented      # from now on only those
  consilium-agent patient forget --home HOME --ids one.txt             # what would go
  consilium-agent patient forget --home HOME --ids one.txt --yes       # deletes it

docs/patients.md says what each does, and what a deletion cannot take back.)";

struct PatientArguments {
  std::string home;
  std::vector<std::string> ids;
  std::string list;
  std::vector<std::string> pseudonyms;
  std::string policy;
  std::string software_version;
  bool whole = false;
  bool dry_run = false;
  bool yes = false;
  OutputFormat format = OutputFormat::kTable;
  PatientPrint print;
};

// Whether an issuer beside an ID is passed over. It is for what keeps patients out, as then at most
// too many are; a consent would reach further than its words.
enum class Issuers { kPassedOver, kRefused };

// The pseudonyms of those whom the command line names, each once.
absl::StatusOr<std::set<std::string>> Named(const PatientArguments& arguments, Issuers issuers) {
  CSL_ASSIGN_OR_RETURN(const privacy::Deidentifier names, SiteNames(arguments.home));
  std::set<std::string> patients;
  for (const std::string& id : arguments.ids) {
    patients.insert(names.PatientPseudonym(absl::StripAsciiWhitespace(id)));
  }
  if (!arguments.list.empty()) {
    CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.list, kPatientListBytesMax));
    CSL_ASSIGN_OR_RETURN(const std::vector<ListedPatient> listed, ParsePatientList(text));
    for (const ListedPatient& patient : listed) {
      if (issuers == Issuers::kRefused && !patient.issuer.empty()) {
        return absl::InvalidArgumentError(
            "a consent cannot be for one issuer: pseudonyms are made of the PatientID alone");
      }
      patients.insert(names.PatientPseudonym(patient.id));
    }
  }
  patients.insert(arguments.pseudonyms.begin(), arguments.pseudonyms.end());
  for (const std::string& patient : patients) {
    if (!IsPatientPseudonym(patient)) {
      return absl::InvalidArgumentError(
          "an ID is empty, or a pseudonym is not a C and 12 hex digits");
    }
  }
  if (patients.empty()) {
    return absl::InvalidArgumentError("say whom: --ids FILE, --id or --pseudonym");
  }
  return patients;
}

absl::Status Record(const PatientArguments& arguments, const SiteEvent& event) {
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(arguments.home, arguments.software_version));
  return log->Record(event);
}

struct MarkChange {
  std::vector<std::string> marked;  // pseudonyms
  std::vector<std::string> cleared;
  int64_t unchanged = 0;
  int64_t kept_out = 0;  // opted out or deleted, which a list of consents does not undo
};

// A consent does not undo an objection, and nothing but `clear` brings back whom the site has
// deleted.
bool MayMark(const PatientRegister& patients, const std::string& patient, PatientMark mark) {
  const auto found = patients.patients().find(patient);
  if (found == patients.patients().end()) return true;
  return found->second != PatientMark::kForgotten &&
         !(mark == PatientMark::kConsented && found->second == PatientMark::kOptedOut);
}

MarkChange Mark(PatientRegister& patients, const std::set<std::string>& named, PatientMark mark,
                const PatientArguments& arguments) {
  MarkChange change;
  const std::map<std::string, PatientMark> before = patients.patients();
  for (const std::string& patient : named) {
    const auto found = before.find(patient);
    if (found != before.end() && found->second == mark) {
      ++change.unchanged;
    } else if (!MayMark(patients, patient, mark)) {
      ++change.kept_out;
    } else {
      patients.Set(patient, mark);
      change.marked.push_back(patient);
    }
  }
  for (const auto& [patient, was] : before) {
    if (!arguments.whole || was != mark || named.contains(patient)) continue;
    patients.Clear(patient);
    change.cleared.push_back(patient);
  }
  return change;
}

void PrintChange(const PatientArguments& arguments, const MarkChange& change, const char* now) {
  std::vector<std::vector<std::string>> rows = {{"patient", "mark"}};
  for (const std::string& patient : change.marked) rows.push_back({patient, now});
  for (const std::string& patient : change.cleared) rows.push_back({patient, "none"});
  if (change.unchanged > 0)
    rows.push_back({absl::StrCat("(", change.unchanged, " as before)"), ""});
  if (change.kept_out > 0) {
    rows.push_back({absl::StrCat("(", change.kept_out, " stay out)"), "opted out or deleted"});
  }
  arguments.print(arguments.format, rows,
                  Json({{"mark", now},
                        {"marked", change.marked},
                        {"cleared", change.cleared},
                        {"unchanged", change.unchanged},
                        {"kept_out", change.kept_out}})
                      .dump());
}

absl::Status RunMark(const PatientArguments& arguments, PatientMark mark) {
  const bool consents = mark == PatientMark::kConsented;
  CSL_ASSIGN_OR_RETURN(const std::set<std::string> named,
                       Named(arguments, consents ? Issuers::kRefused : Issuers::kPassedOver));
  MarkChange change;
  CSL_RETURN_IF_ERROR(UpdateRegister(arguments.home, [&](PatientRegister& patients) {
    change = Mark(patients, named, mark, arguments);
    return Record(arguments,
                  {.action = consents ? "patient.consent" : "patient.opt_out",
                   .digest = privacy::Sha256Hex(RegisterToJson(patients)),
                   .after = absl::StrCat("marked ", change.marked.size(), ", cleared ",
                                         change.cleared.size(), ", stay out ", change.kept_out),
                   .count = static_cast<int64_t>(change.marked.size())});
  }));
  PrintChange(arguments, change, MarkName(mark));
  return absl::OkStatus();
}

absl::Status RunClear(const PatientArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const std::set<std::string> named, Named(arguments, Issuers::kPassedOver));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> begun, BeingForgotten(arguments.home));
  for (const std::string& patient : begun) {
    if (named.contains(patient)) {
      return absl::FailedPreconditionError(
          absl::StrCat(patient, " is being deleted: `patient forget` finishes it"));
    }
  }
  MarkChange change;
  CSL_RETURN_IF_ERROR(UpdateRegister(arguments.home, [&](PatientRegister& patients) {
    for (const std::string& patient : named) {
      if (patients.patients().contains(patient)) {
        patients.Clear(patient);
        change.cleared.push_back(patient);
      } else {
        ++change.unchanged;
      }
    }
    return Record(arguments, {.action = "patient.clear",
                              .digest = privacy::Sha256Hex(RegisterToJson(patients)),
                              .count = static_cast<int64_t>(change.cleared.size())});
  }));
  PrintChange(arguments, change, "none");
  return absl::OkStatus();
}

absl::Status RunPolicy(const PatientArguments& arguments) {
  const PatientPolicy policy =
      arguments.policy == "all" ? PatientPolicy::kAll : PatientPolicy::kConsented;
  return UpdateRegister(arguments.home, [&](PatientRegister& patients) {
    patients.set_policy(policy);
    return Record(arguments, {.action = "patient.policy", .after = PolicyName(policy)});
  });
}

absl::Status RunList(const PatientArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const PatientRegister patients, PatientRegister::Read(arguments.home));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> begun, BeingForgotten(arguments.home));
  auto table = RegisterTable(patients);
  for (const std::string& patient : begun) table.push_back({patient, "deletion not finished"});
  Json json = Json::parse(RegisterToJson(patients));
  json["being_forgotten"] = begun;
  arguments.print(arguments.format, table, json.dump());
  return absl::OkStatus();
}

absl::Status RunForget(const PatientArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const std::set<std::string> named, Named(arguments, Issuers::kPassedOver));
  std::vector<PatientHoldings> holdings;
  for (const std::string& patient : named) {
    CSL_ASSIGN_OR_RETURN(PatientHoldings one, FindHoldings(arguments.home, patient));
    holdings.push_back(std::move(one));
  }
  if (!arguments.yes) {
    arguments.print(arguments.format, HoldingsTable(holdings), HoldingsToJson(holdings));
    std::fputs("Nothing was deleted. With --yes all of it is, and the patient is kept out.\n",
               stderr);
    return absl::OkStatus();
  }
  for (const std::string& patient : named) {
    CSL_RETURN_IF_ERROR(Record(arguments, {.action = "patient.forget", .request = patient}));
    CSL_RETURN_IF_ERROR(BeginForgetting(arguments.home, patient));
  }
  std::vector<PatientHoldings> removed;
  const absl::Status finished =
      FinishForgetting(arguments.home, nullptr, [&](const PatientHoldings& one) {
        removed.push_back(one);
        return RecordForgotten(arguments.home, arguments.software_version, one);
      });
  arguments.print(arguments.format, HoldingsTable(removed), HoldingsToJson(removed));
  return Annotate(finished,
                  "kept out from now on, but not all could be deleted yet; it is done by whatever "
                  "command of this home comes next, or by listen if that runs");
}

void AddFormat(CLI::App& command, OutputFormat& format) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson},
                                                               {"jsonl", OutputFormat::kJsonl}};
  command.add_option("--output", format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("FORMAT");
}

void AddNames(CLI::App& command, PatientArguments& arguments) {
  command.add_option("--ids", arguments.list, "file with PatientIDs, one a line");
  command.add_option("--id", arguments.ids, "PatientID; may be repeated");
  command.add_option("--pseudonym", arguments.pseudonyms, "as catalog shows it; may be repeated");
}

}  // namespace

void AddPatientCommands(CLI::App& app, const PatientPrint& print,
                        const std::string& software_version, PatientCommand& chosen) {
  const auto arguments = std::make_shared<PatientArguments>();
  arguments->print = print;
  arguments->software_version = software_version;
  CLI::App* patient =
      app.add_subcommand("patient", "whose images may be used: opt-outs, consents, deletion");
  patient->require_subcommand(1);
  patient->footer(kFooter);
  using Run = absl::Status (*)(const PatientArguments&);
  const auto add = [&](const char* name, const char* about, Run run) {
    CLI::App* sub = patient->add_subcommand(name, about);
    sub->add_option("--home", arguments->home, "the agent's folder")->required();
    AddFormat(*sub, arguments->format);
    sub->callback([&chosen, arguments, run] {
      chosen = [arguments, run] {
        ResumeForgetting(arguments->home, arguments->software_version);
        return run(*arguments);
      };
    });
    return sub;
  };
  CLI::App* opt_out = add("opt-out", "never take in or use these patients",
                          [](const auto& a) { return RunMark(a, PatientMark::kOptedOut); });
  CLI::App* consent = add("consent", "these patients have consented",
                          [](const auto& a) { return RunMark(a, PatientMark::kConsented); });
  CLI::App* clear = add("clear", "take the marks of these patients back", RunClear);
  CLI::App* forget = add("forget", "delete all that is here of these patients", RunForget);
  for (CLI::App* sub : {opt_out, consent, clear, forget}) AddNames(*sub, *arguments);
  for (CLI::App* sub : {opt_out, consent}) {
    sub->add_flag("--whole", arguments->whole,
                  "those named are all: take this mark back from everybody else");
  }
  CLI::Option* dry_run =
      forget->add_flag("--dry-run", arguments->dry_run, "only show what would go (the default)");
  forget->add_flag("--yes", arguments->yes, "delete it; there is no way back")->excludes(dry_run);
  add("list", "who is marked how", RunList);
  add("policy", "whom to use whom no mark speaks of", RunPolicy)
      ->add_option("WHO", arguments->policy, "all, or consented: only those who have consented")
      ->required()
      ->check(CLI::IsMember({"all", "consented"}));
}

absl::Status RecordForgotten(const std::string& home, absl::string_view software_version,
                             const PatientHoldings& removed) {
  CSL_ASSIGN_OR_RETURN(const auto log, OpenSiteLog(home, software_version));
  return log->Record(
      {.action = "patient.forgotten",
       .after = absl::StrCat(removed.patient, ": cases ", removed.cases.size(), ", prepared ",
                             removed.cached_files, ", in quarantine ", removed.quarantined_files,
                             ", held ", removed.held_files),
       .request = removed.patient,
       .count = static_cast<int64_t>(removed.cases.size())});
}

void ResumeForgetting(const std::string& home, absl::string_view software_version) {
  const absl::Status finished =
      FinishForgetting(home, nullptr, [&](const PatientHoldings& removed) {
        return RecordForgotten(home, software_version, removed);
      });
  if (finished.ok()) return;
  privacy::Log(privacy::LogLevel::kWarning, "the deletion of a patient is not finished yet",
               {privacy::LogField(privacy::LogField::Key::kReason, finished.message())});
}

}  // namespace consilium::agent
