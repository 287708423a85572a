// What every program of ours does alike at a terminal: exit codes, output formats, tables, progress.
#ifndef CONSILIUM_PROTO_BASE_CLI_H_
#define CONSILIUM_PROTO_BASE_CLI_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium {

enum class ExitCode : int {
  kOk = 0,
  kCheckFailed = 1,   // the command ran and what it checked does not hold
  kUsage = 2,         // arguments, configuration, a file the user wrote
  kUnreachable = 3,   // no usable input, or the peer does not answer
  kDenied = 4,        // not allowed
  kInternal = 5,      // our bug, or a broken store
};

// The code a program ends with for `status`.
ExitCode ExitCodeFor(const absl::Status& status);

// Prints "PROGRAM: MESSAGE" to stderr and returns the exit code as an int for main().
int ReportAndExitCode(absl::string_view program, const absl::Status& status);

enum class OutputFormat { kTable, kJson, kJsonl };

// Text columns, padded to the widest cell; the first row is the heading. Numbers (cells that parse
// as one) are set right.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

// "12.3 MiB", "512 B".
std::string FormatBytes(uint64_t bytes);

// Progress of long work on stderr: a bar that redraws itself at a terminal, otherwise one plain
// line at the start of each tenth. Not thread-safe.
class Progress {
 public:
  // `label` says what is done ("ingest"), `unit` what is counted ("files"). total 0: unknown.
  Progress(std::string label, std::string unit, uint64_t total);
  ~Progress();  // ends the line if Finish was not called
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(uint64_t done, absl::string_view note = "");
  void Finish(absl::string_view note = "");

 private:
  void Draw(uint64_t done, absl::string_view note);

  const std::string label_;
  const std::string unit_;
  const uint64_t total_;
  const bool terminal_;
  absl::Duration last_drawn_;
  uint64_t last_tenth_ = 0;
  uint64_t done_ = 0;
  bool finished_ = false;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_CLI_H_
