#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/format.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr absl::Duration kRetryInterval = absl::Seconds(2);
constexpr absl::Duration kRetryFor = absl::Minutes(10);

struct WatchArguments {
  std::string study;
  bool until_finished = false;
};

bool HasEnded(const v1::Study& study) {
  return study.state() == "finished" || study.state() == "stopped" || study.state() == "failed";
}

// The first `columns` characters of a line of UTF-8.
absl::string_view Cut(absl::string_view line, int columns) {
  size_t end = 0;
  for (int seen = 0; end < line.size(); ++end) {
    if ((line[end] & 0xc0) != 0x80 && ++seen > columns) break;
  }
  return line.substr(0, end);
}

// Shows a study as it changes: redrawn at a terminal, otherwise one line for each change.
class Display {
 public:
  explicit Display(Cli& cli) : cli_(cli) {}

  void Show(const v1::Study& study) {
    if (cli_.format != OutputFormat::kTable) {
      cli_.format = OutputFormat::kJsonl;  // one state a line, as it comes
      cli_.PrintJson(study);
    } else if (cli_.around.terminal_columns > 0) {
      Redraw(FormatWatch(study, cli_.around.clock.Now()));
    } else {
      PrintChanges(study);
    }
    cli_.out.flush();
  }

 private:
  void Redraw(const std::string& text) {
    if (lines_drawn_ > 0) cli_.out << "\x1b[" << lines_drawn_ << "A\x1b[J";
    lines_drawn_ = 0;
    for (const absl::string_view line : absl::StrSplit(absl::StripSuffix(text, "\n"), '\n')) {
      cli_.out << Cut(line, cli_.around.terminal_columns) << "\n";
      ++lines_drawn_;
    }
  }

  void PrintChanges(const v1::Study& study) {
    std::map<std::string, std::string> facts = WatchFacts(study);
    const std::string time =
        absl::FormatTime("%H:%M:%SZ", cli_.around.clock.Now(), absl::UTCTimeZone());
    for (const auto& [key, fact] : facts) {
      const auto before = facts_.find(key);
      if (before == facts_.end() || before->second != fact) cli_.out << time << " " << fact << "\n";
    }
    facts_ = std::move(facts);
  }

  Cli& cli_;
  int lines_drawn_ = 0;
  std::map<std::string, std::string> facts_;
};

// The study to watch where none is named: the one that is going on.
absl::StatusOr<std::string> TheStudy(AdminClient& client) {
  CSL_ASSIGN_OR_RETURN(const v1::ListStudiesReply reply,
                       client.Call(&v1::Admin::Stub::ListStudies, v1::ListStudiesRequest()));
  std::vector<std::string> active;
  for (const v1::Study& study : reply.studies()) {
    if (!HasEnded(study) && study.state() != "draft") active.push_back(study.name());
  }
  if (active.size() == 1) return active.front();
  if (active.empty()) {
    return absl::NotFoundError("no study is going on; name one, or start it with `study start`");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("several studies are going on, name one of: ", absl::StrJoin(active, ", ")));
}

absl::StatusOr<ExitCode> Watch(Cli& cli, const WatchArguments& arguments) {
  CSL_ASSIGN_OR_RETURN(const auto client, cli.Connect());
  std::string name = arguments.study;
  if (name.empty()) {
    CSL_ASSIGN_OR_RETURN(name, TheStudy(*client));
  }
  Display display(cli);
  v1::Study last;
  absl::Duration waited;
  while (true) {
    const absl::Status status = client->Watch(name, [&](const v1::Study& study) {
      last = study;
      waited = absl::ZeroDuration();
      display.Show(study);
      return absl::OkStatus();
    });
    if (HasEnded(last)) break;
    const bool lost = status.ok() || absl::IsUnavailable(status);
    const bool seen = !last.name().empty();
    if (!lost || !seen || !arguments.until_finished || waited >= kRetryFor) {
      if (!status.ok()) return status;
      return absl::UnavailableError(absl::StrCat("the coordinator ended the watch of ", name,
                                                 " before the study ended; watch it again"));
    }
    cli.around.sleep(kRetryInterval);
    waited += kRetryInterval;
  }
  return last.state() == "finished" ? ExitCode::kOk : ExitCode::kCheckFailed;
}

}  // namespace

void AddWatchCommand(CLI::App& app, Cli& cli) {
  auto arguments = std::make_shared<WatchArguments>();
  CLI::App* watch = app.add_subcommand(
      "watch",
      "Sites, phases, progress, losses and Dice as they change, until the study ends. Exit code 0: "
      "it finished; 1: it failed or was stopped");
  watch->add_option("STUDY", arguments->study, "The study; default: the one that is going on");
  watch->add_flag("--until-finished", arguments->until_finished,
                  "Go on when the coordinator is restarted");
  watch->footer("Example:\n  consilium watch hippocampus --until-finished");
  watch->callback(
      [&cli, arguments] { cli.action = [&cli, arguments] { return Watch(cli, *arguments); }; });
}

}  // namespace consilium::coordinator
