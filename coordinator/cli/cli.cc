#include "coordinator/cli/cli.h"

#include <algorithm>
#include <map>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/home.h"
#include "google/protobuf/util/json_util.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  consilium init /srv/consilium --name amc-trial --host coordinator.example.org\n"
    "  consilium --home /srv/consilium site invite amc --out amc.invitation.json\n"
    "  consilium --home /srv/consilium watch hippocampus --until-finished\n"
    "Exit codes: 0 ok, 1 a check failed, 2 usage or configuration, 3 nothing found or coordinator\n"
    "unreachable, 4 denied, 5 internal.";

void AddGlobalOptions(CLI::App& app, Cli& cli) {
  app.add_option("--home", cli.home, "The coordinator's home on this machine; uses DIR/admin")
      ->envname("CONSILIUM_HOME")
      ->type_name("DIR");
  app.add_option("--coordinator", cli.coordinator,
                 "Another address of the coordinator than the credentials have, such as inside a "
                 "cluster; its certificate must still be of their CA and have their server name")
      ->type_name("HOST:PORT");
  app.add_option("--credentials", cli.credentials,
                 "Folder with client.crt, client.key, ca.crt and endpoint.json")
      ->type_name("DIR");
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"json", OutputFormat::kJson},
                                                       {"jsonl", OutputFormat::kJsonl}};
  app.add_option("--output", cli.format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(formats))
      ->option_text("FORMAT");
}

}  // namespace

absl::StatusOr<std::string> Cli::CredentialsFolder() const {
  if (!credentials.empty()) return credentials;
  if (home.empty() && !coordinator.empty()) {
    return absl::InvalidArgumentError("--coordinator needs --home DIR or --credentials DIR");
  }
  if (home.empty()) {
    return absl::InvalidArgumentError(
        "which coordinator? Give --home DIR, or --coordinator HOST:PORT --credentials DIR, or set "
        "CONSILIUM_HOME");
  }
  return JoinPath(home, "admin");
}

absl::StatusOr<std::unique_ptr<AdminClient>> Cli::Connect() const {
  CSL_ASSIGN_OR_RETURN(const std::string folder, CredentialsFolder());
  return AdminClient::Connect(folder, coordinator);
}

void Cli::PrintJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  options.add_whitespace = format == OutputFormat::kJson;
  std::string text;
  CSL_CHECK(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  out << text;
  if (text.empty() || text.back() != '\n') out << '\n';
}

absl::StatusOr<ExitCode> Cli::Show(const google::protobuf::Message& message,
                                   const std::string& table) {
  if (format == OutputFormat::kTable) {
    out << table;
  } else {
    PrintJson(message);
  }
  return ExitCode::kOk;
}

int RunCli(std::vector<std::string> arguments, const CliSurroundings& around) {
  Cli cli(around);
  CLI::App app("Administers a federation: sites, studies, rounds, models, releases, audit log.",
               "consilium");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", absl::StrCat("consilium ", around.version));
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return absl::StrCat("consilium: ", error.what(), "; see `consilium --help`\n");
  });
  AddGlobalOptions(app, cli);
  AddInitCommand(app, cli);
  AddSiteCommands(app, cli);
  AddStudyCommands(app, cli);
  AddWatchCommand(app, cli);
  AddRoundCommands(app, cli);
  AddModelCommands(app, cli);
  AddReleaseCommands(app, cli);
  AddUpkeepCommands(app, cli);
  AddAuditCommands(app, cli);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, around.out, around.err);
    return code == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  CSL_CHECK(cli.action != nullptr);
  const absl::StatusOr<ExitCode> result = cli.action();
  around.out.flush();
  if (result.ok()) return static_cast<int>(*result);
  around.err << "consilium: " << result.status().message() << "\n";
  return static_cast<int>(ExitCodeFor(result.status()));
}

}  // namespace consilium::coordinator
