#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/home.h"
#include "nlohmann/json.hpp"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct InitArguments {
  std::string dir;
  CoordinatorOptions options;
  std::vector<std::string> more_hosts;
};

absl::StatusOr<ExitCode> Init(Cli& cli, InitArguments& arguments) {
  CoordinatorOptions& options = arguments.options;
  // Names given come first: the first is what others connect to.
  options.hosts.insert(options.hosts.begin(), arguments.more_hosts.begin(),
                       arguments.more_hosts.end());
  // Who lets the system choose the ports runs more than one coordinator on the machine.
  if (absl::EndsWith(options.listen, ":0") &&
      options.http_listen == CoordinatorOptions().http_listen) {
    options.http_listen = "127.0.0.1:0";
  }
  CSL_RETURN_IF_ERROR(InitHome(arguments.dir, options));
  if (cli.format != OutputFormat::kTable) {
    const nlohmann::json json = {{"home", arguments.dir},
                                 {"federation", options.federation},
                                 {"address", AdvertisedAddress(options)},
                                 {"enrolment_address", AdvertisedEnrolmentAddress(options)}};
    cli.out << json.dump(cli.format == OutputFormat::kJson ? 1 : -1) << "\n";
    return ExitCode::kOk;
  }
  cli.out << "Made the home of federation " << options.federation << " in " << arguments.dir << "\n"
          << "  sites and administrators connect to  " << AdvertisedAddress(options) << "\n"
          << "  new sites enrol at                   " << AdvertisedEnrolmentAddress(options)
          << "\n"
          << "Next:\n"
          << "  consilium-coordinator --home " << arguments.dir << "\n"
          << "  consilium --home " << arguments.dir << " site invite NAME --out NAME.json\n";
  return ExitCode::kOk;
}

}  // namespace

void AddInitCommand(CLI::App& app, Cli& cli) {
  auto arguments = std::make_shared<InitArguments>();
  CLI::App* init =
      app.add_subcommand("init", "Make a coordinator's home: keys, configuration, store");
  init->add_option("DIR", arguments->dir, "The folder to make; it must be new or empty")
      ->required();
  init->add_option("--name", arguments->options.federation, "Name of the federation")->required();
  init->add_option("--host", arguments->more_hosts,
                   "Host name or address that others reach this machine by; may be repeated");
  init->add_option("--listen", arguments->options.listen, "Where sites and administrators connect")
      ->capture_default_str();
  init->add_option("--enrolment-listen", arguments->options.enrolment_listen,
                   "Where new sites enrol")
      ->capture_default_str();
  init->add_option("--http-listen", arguments->options.http_listen,
                   "Metrics and health, plain HTTP; empty: off")
      ->capture_default_str();
  init->add_option("--advertise", arguments->options.advertise,
                   "Address told to sites; default: as --listen");
  init->add_option("--enrolment-advertise", arguments->options.enrolment_advertise,
                   "Address told to new sites; default: as --enrolment-listen");
  init->footer(
      "Example:\n  consilium init /srv/consilium --name amc-trial --host coordinator.example.org "
      "\\\n      --listen 0.0.0.0:7443 --enrolment-listen 0.0.0.0:7444");
  init->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Init(cli, *arguments); }; });
}

}  // namespace consilium::coordinator
