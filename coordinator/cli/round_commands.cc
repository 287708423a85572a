#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

struct RoundArguments {
  std::string study;
  int64_t number = 0;
};

absl::StatusOr<v1::ListRoundsReply> ListRounds(Cli& cli, const RoundArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::ListRoundsRequest request;
  request.set_study(arguments.study);
  request.set_round(arguments.number);
  return client->Call(&v1::Admin::Stub::ListRounds, request);
}

absl::StatusOr<ExitCode> List(Cli& cli, const RoundArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const v1::ListRoundsReply reply, ListRounds(cli, arguments));
  return cli.ShowList(reply, reply.rounds(), FormatRounds(reply));
}

absl::StatusOr<ExitCode> ShowRound(Cli& cli, const RoundArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const v1::ListRoundsReply reply, ListRounds(cli, arguments));
  if (reply.rounds_size() != 1) {
    return absl::NotFoundError(absl::StrCat("no round ", arguments.number, " of ", arguments.study,
                                            "; see `round list ", arguments.study, "`"));
  }
  return cli.Show(reply.rounds(0), FormatRound(reply.rounds(0)));
}

}  // namespace

void AddRoundCommands(CLI::App& app, Cli& cli) {
  CLI::App* round = app.add_subcommand("round", "Rounds of a study and who contributed");
  round->require_subcommand(1);
  round->footer("Example:\n  consilium round list hippocampus");
  auto arguments = std::make_shared<RoundArguments>();
  CLI::App* list = round->add_subcommand("list", "All rounds of a study");
  list->add_option("STUDY", arguments->study, "The study")->required();
  list->footer("Example:\n  consilium round list hippocampus");
  list->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return List(cli, *arguments); }; });
  CLI::App* show = round->add_subcommand("show", "One round: each site's contribution");
  show->add_option("STUDY", arguments->study, "The study")->required();
  show->add_option("N", arguments->number, "The round, from 1 on")
      ->required()
      ->check(CLI::Range(1, 1'000'000));
  show->footer("Example:\n  consilium round show hippocampus 3");
  show->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return ShowRound(cli, *arguments); }; });
}

}  // namespace consilium::coordinator
