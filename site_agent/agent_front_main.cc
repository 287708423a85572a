// consilium-agent: de-identification at once, everything else by consilium-agent-full.
//
// LibTorch takes a second and 150 MB before main() is reached. Who de-identifies, perhaps file by
// file from a script, does not train.
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <cstring>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/string_view.h"
#include "privacy/log/log.h"
#include "proto/base/cli.h"
#include "proto/base/file.h"
#include "site_agent/agent_output.h"
#include "site_agent/deidentify_commands.h"
#include "site_agent/stop_signal.h"

namespace consilium::agent {
namespace {

constexpr const char* kProgram = "consilium-agent";
constexpr const char* kFullProgram = "consilium-agent-full";

// Returns only where it fails.
int HandOver(char** argv) {
  std::array<char, PATH_MAX> path;
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length > 0) {
    const std::string own(path.data(), static_cast<size_t>(length));
    const std::string full = JoinPath(own.substr(0, own.rfind('/')), kFullProgram);
    ::execv(full.c_str(), argv);
  }
  std::fprintf(stderr, "%s: %s cannot be started (%s); it has to lie beside this program\n",
               kProgram, kFullProgram, std::strerror(errno));
  return static_cast<int>(ExitCode::kInternal);
}

int Main(int argc, char** argv) {
  const absl::string_view command = argc > 1 ? argv[1] : "";
  if (command != "deidentify" && command != "held") return HandOver(argv);
  CLI::App app("The site's side of federated training.", kProgram);
  app.require_subcommand(1);
  DeidentifyCommand chosen;
  AddDeidentifyCommands(app, {Print, OneStageProgress("deidentify", "files")}, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  privacy::SetLogProgram(kProgram);
  StopSignal stop;
  return ReportAndExitCode(kProgram, chosen(stop.requested()));
}

}  // namespace
}  // namespace consilium::agent

int main(int argc, char** argv) { return consilium::agent::Main(argc, argv); }
