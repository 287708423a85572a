// consilium: administers a federation.
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "absl/time/clock.h"
#include "coordinator/cli/cli.h"
#include "proto/wire/transport.h"

namespace {

int TerminalColumns() {
  winsize size = {};
  if (::isatty(STDOUT_FILENO) != 1) return 0;
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

int main(int argc, char** argv) {
  consilium::wire::RequireTls13();
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return consilium::coordinator::RunCli({argv + 1, argv + argc},
                                        {.out = std::cout,
                                         .err = std::cerr,
                                         .clock = consilium::Clock::System(),
                                         .sleep = absl::SleepFor,
                                         .version = CONSILIUM_VERSION,
                                         .program_folder = program.parent_path().string(),
                                         .terminal_columns = TerminalColumns()});
}
