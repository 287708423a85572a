#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "google/protobuf/util/json_util.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct SiteArguments {
  std::string name;
  std::string out;
  std::string valid = "24h";
  std::string reason;
};
using Shared = std::shared_ptr<SiteArguments>;

std::string InvitationJson(const v1::InviteSiteReply& invitation) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = true;
  std::string text;
  CSL_CHECK(google::protobuf::util::MessageToJsonString(invitation, &text, options).ok());
  return text;
}

absl::StatusOr<ExitCode> Invite(Cli& cli, const SiteArguments& arguments) {
  v1::InviteSiteRequest request;
  request.set_site(arguments.name);
  absl::Duration valid;
  if (!absl::ParseDuration(arguments.valid, &valid) || valid < absl::Seconds(1) ||
      valid == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError("--valid: a time such as 30m, 24h or 72h");
  }
  request.set_valid_seconds(absl::ToInt64Seconds(valid));
  if (!arguments.out.empty() && PathExists(arguments.out)) {
    return absl::AlreadyExistsError(
        absl::StrCat(BaseName(arguments.out), " exists; an invitation never replaces a file"));
  }
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::InviteSiteReply invitation,
                       client->Call(&v1::Admin::Stub::InviteSite, request));
  if (arguments.out.empty()) {
    cli.out << InvitationJson(invitation);
    cli.err << "consilium: this invitation is a secret until it is used; hand it over safely\n";
    return ExitCode::kOk;
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(arguments.out, InvitationJson(invitation), kPrivateFile));
  if (cli.format != OutputFormat::kTable) {
    v1::InviteSiteReply shown = invitation;  // the file alone holds the secret
    shown.clear_token();
    cli.PrintJson(shown);
    return ExitCode::kOk;
  }
  cli.out << "Invitation for " << arguments.name << " in " << arguments.out << ", valid until "
          << FormatTime(invitation.expires_unix()) << "; it works once.\n"
          << "Hand it over safely, and compare the CA's fingerprint on another way:\n  "
          << Clean(invitation.ca_sha256()) << "\nAt the site:\n"
          << "  consilium-agent enroll --home DIR --invitation " << BaseName(arguments.out) << "\n"
          << "Then here:\n  consilium site approve " << arguments.name << "\n";
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> List(Cli& cli) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  CSL_ASSIGN_OR_RETURN(const v1::ListSitesReply reply,
                       client->Call(&v1::Admin::Stub::ListSites, v1::ListSitesRequest()));
  return cli.ShowList(reply, reply.sites(), FormatSites(reply, cli.around.clock.Now()));
}

absl::StatusOr<ExitCode> ShowSite(Cli& cli, const SiteArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::ListSitesRequest request;
  request.set_name(arguments.name);
  CSL_ASSIGN_OR_RETURN(const v1::ListSitesReply reply,
                       client->Call(&v1::Admin::Stub::ListSites, request));
  if (reply.sites_size() != 1) {
    return absl::NotFoundError(absl::StrCat("no site ", arguments.name, "; see `site list`"));
  }
  return cli.Show(reply.sites(0), FormatSite(reply.sites(0), cli.around.clock.Now()));
}

absl::StatusOr<ExitCode> SetState(Cli& cli, const SiteArguments& arguments,
                                  const std::string& state) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::SetSiteStateRequest request;
  request.set_name(arguments.name);
  request.set_state(state);
  request.set_reason(arguments.reason);
  CSL_ASSIGN_OR_RETURN(const v1::Site site, client->Call(&v1::Admin::Stub::SetSiteState, request));
  return cli.Show(site,
                  absl::StrCat("Site ", Clean(site.name()), " is ", Clean(site.state()), ".\n"));
}

void AddStateCommand(CLI::App& site, Cli& cli, const std::string& verb, const std::string& state,
                     const std::string& help) {
  auto arguments = std::make_shared<SiteArguments>();
  CLI::App* command = site.add_subcommand(verb, help);
  command->add_option("NAME", arguments->name, "The site")->required();
  command->add_option("--reason", arguments->reason, "Why; goes to the audit log");
  command->footer(absl::StrCat("Example:\n  consilium site ", verb, " amc",
                               verb == "approve" ? "" : " --reason \"key lost\""));
  command->callback([&cli, arguments, state] {
    cli.action = [&cli, arguments, state] { return SetState(cli, *arguments, state); };
  });
}

void AddInvite(CLI::App& site, Cli& cli) {
  auto arguments = std::make_shared<SiteArguments>();
  CLI::App* command = site.add_subcommand("invite", "Make a one-time invitation for a new site");
  command->add_option("NAME", arguments->name, "Name of the site")->required();
  command->add_option("--out", arguments->out, "File to write; default: print it");
  command->add_option("--valid", arguments->valid, "How long it may be used")
      ->capture_default_str();
  command->footer("Example:\n  consilium site invite amc --out amc.invitation.json --valid 72h");
  command->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Invite(cli, *arguments); }; });
}

}  // namespace

void AddSiteCommands(CLI::App& app, Cli& cli) {
  CLI::App* site = app.add_subcommand("site", "Hospitals: invite, approve, suspend, revoke");
  site->require_subcommand(1);
  site->footer("Example:\n  consilium site list");
  AddInvite(*site, cli);
  CLI::App* list = site->add_subcommand("list", "All sites");
  list->footer("Example:\n  consilium site list --output jsonl");
  list->callback([&cli] { cli.action = [&cli] { return List(cli); }; });
  auto arguments = std::make_shared<SiteArguments>();
  CLI::App* show = site->add_subcommand("show", "One site");
  show->add_option("NAME", arguments->name, "The site")->required();
  show->footer("Example:\n  consilium site show amc");
  show->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return ShowSite(cli, *arguments); }; });
  AddStateCommand(*site, cli, "approve", "approved", "Let an enrolled site take part");
  AddStateCommand(*site, cli, "suspend", "suspended", "Shut a site out for a while");
  AddStateCommand(*site, cli, "revoke", "revoked", "Shut a site's key out for good");
}

}  // namespace consilium::coordinator
