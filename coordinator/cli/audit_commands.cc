#include <algorithm>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/cli/audit_commands.h"
#include "coordinator/cli/audit_time.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint32_t kPageEntries = 200;

struct AuditArguments {
  AuditFilter filter;
  uint64_t limit = 1000;
  uint64_t index = 0;
};

absl::StatusOr<ExitCode> Search(Cli& cli, const AuditArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(v1::SearchAuditRequest request, MakeAuditRequest(cli, arguments.filter));
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::SearchAuditReply all;
  while (static_cast<uint64_t>(all.entries_size()) < arguments.limit) {
    const uint64_t wanted = arguments.limit - static_cast<uint64_t>(all.entries_size());
    request.set_count_max(static_cast<uint32_t>(std::min<uint64_t>(wanted, kPageEntries)));
    CSL_ASSIGN_OR_RETURN(const v1::SearchAuditReply page,
                         client->Call(&v1::Admin::Stub::SearchAudit, request));
    if (page.entries_size() == 0) break;
    all.MergeFrom(page);
    const uint64_t next = page.entries(page.entries_size() - 1).index() + 1;
    if (next <= request.from_index()) break;  // a peer that does not move on
    request.set_from_index(next);
  }
  const std::vector<v1::AuditEntry> entries(all.entries().begin(), all.entries().end());
  return cli.ShowList(all, all.entries(), FormatAudit(entries));
}

absl::StatusOr<ExitCode> ShowEntry(Cli& cli, const AuditArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  v1::SearchAuditRequest request;
  request.set_from_index(arguments.index);
  request.set_count_max(1);
  CSL_ASSIGN_OR_RETURN(const v1::SearchAuditReply reply,
                       client->Call(&v1::Admin::Stub::SearchAudit, request));
  if (reply.entries_size() != 1 || reply.entries(0).index() != arguments.index) {
    return absl::NotFoundError(absl::StrCat("the audit log has no entry ", arguments.index));
  }
  return cli.Show(reply.entries(0), FormatAuditEntry(reply.entries(0)));
}

void AddSearch(CLI::App& audit, Cli& cli) {
  auto arguments = std::make_shared<AuditArguments>();
  CLI::App* search = audit.add_subcommand("search", "Entries that fit all of the conditions");
  AddAuditFilter(*search, arguments->filter);
  search->add_option("--limit", arguments->limit, "At most so many entries")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  search->footer("Example:\n  consilium audit search --since 7d --action site.approve");
  search->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Search(cli, *arguments); }; });
}

void AddShow(CLI::App& audit, Cli& cli) {
  auto arguments = std::make_shared<AuditArguments>();
  CLI::App* show = audit.add_subcommand("show", "One entry, with the bytes as stored");
  show->add_option("INDEX", arguments->index, "The entry, from 0 on")->required();
  show->footer("Example:\n  consilium audit show 17");
  show->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return ShowEntry(cli, *arguments); }; });
}

}  // namespace

void AddAuditFilter(CLI::App& command, AuditFilter& filter) {
  command.add_option("--since", filter.since, "2026-01-31, 2026-01-31T08:00:00Z, 24h or 7d ago");
  command.add_option("--until", filter.until, "The same");
  command.add_option("--actor", filter.actor, "Who: a site, an administrator, coordinator");
  command.add_option("--action", filter.action, "What was done, such as site.approve");
  command.add_option("--study", filter.study, "The study it is about");
  command.add_option("--round", filter.round, "The round it is about")
      ->check(CLI::Range(1, 1'000'000));
  command.add_option("--version", filter.version, "The version it is about");
}

absl::StatusOr<v1::SearchAuditRequest> MakeAuditRequest(const Cli& cli, const AuditFilter& filter) {
  v1::SearchAuditRequest request;
  const absl::Time now = cli.around.clock.Now();
  if (!filter.since.empty()) {
    CSL_ASSIGN_OR_RETURN(const absl::Time since, ParseAuditTime("--since", filter.since, now));
    request.set_since_unix(absl::ToUnixSeconds(since));
  }
  if (!filter.until.empty()) {
    CSL_ASSIGN_OR_RETURN(const absl::Time until, ParseAuditTime("--until", filter.until, now));
    request.set_until_unix(absl::ToUnixSeconds(until));
  }
  request.set_actor(filter.actor);
  request.set_action(filter.action);
  request.set_study(filter.study);
  request.set_round(filter.round);
  request.set_version(filter.version);
  return request;
}

absl::StatusOr<absl::Time> ParseAuditTime(absl::string_view option, const std::string& text,
                                          absl::Time now) {
  absl::Time time;
  std::string ignored;
  if (absl::ParseTime("%Y-%m-%d", text, absl::UTCTimeZone(), &time, &ignored)) return time;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &ignored)) return time;
  int64_t days = 0;
  if (text.size() > 1 && text.back() == 'd' &&
      absl::SimpleAtoi(text.substr(0, text.size() - 1), &days) && days >= 0 && days < 100'000) {
    return now - absl::Hours(24 * days);
  }
  absl::Duration ago;
  if (absl::ParseDuration(text, &ago) && ago >= absl::ZeroDuration()) return now - ago;
  return absl::InvalidArgumentError(
      absl::StrCat(option,
                   ": a day (2026-01-31), a time (2026-01-31T08:00:00Z), or how long ago "
                   "(90m, 24h, 7d)"));
}

void AddAuditSearch(CLI::App& audit, Cli& cli) {
  AddSearch(audit, cli);
  AddShow(audit, cli);
}

void AddAuditCommands(CLI::App& app, Cli& cli) {
  CLI::App* audit = app.add_subcommand("audit", "The log of everything that was changed");
  audit->require_subcommand(1);
  audit->footer(
      "Examples:\n"
      "  consilium audit search --study hippocampus\n"
      "  consilium audit export --to audit.jsonl\n"
      "  consilium-audit verify audit.jsonl --policy audit.policy");
  AddAuditSearch(*audit, cli);
  AddAuditExport(*audit, cli);
  AddAuditProofs(*audit, cli);
}

}  // namespace consilium::coordinator
