// consilium-infer: segments DICOM series with a released model. Needs no network and writes nothing
// but its output folder.
#include <unistd.h>

#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "privacy/log/log.h"
#include "proto/base/cli.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "site_agent/infer.h"
#include "site_agent/stop_signal.h"

namespace consilium::agent {
namespace {

constexpr const char* kProgram = "consilium-infer";
constexpr const char* kFooter = R"(Examples:
  consilium-infer --model hippocampus.safetensors --input /data/in --output /data/out
  docker run --rm --network=none --read-only -v IN:/app/data/input_data:ro \
      -v OUT:/app/data/output_data IMAGE

Exit codes: 0 every eligible series was segmented, 1 some were not, 2 usage or the model does not
load, 3 no series could be segmented, 5 internal error.)";

struct Arguments {
  InferOptions infer;
  OutputFormat format = OutputFormat::kTable;
  Timings timings = Timings::kLeaveOut;
};

// What the flags say, or the exit code.
std::optional<int> ReadArguments(int argc, char** argv, Arguments& out) {
  CLI::App app("Segments the DICOM series in a folder and writes DICOM SEG.", kProgram);
  app.footer(kFooter);
  app.set_version_flag("--version", CONSILIUM_VERSION);
  out.infer.input = "/app/data/input_data";
  out.infer.output = "/app/data/output_data";
  app.add_option("--input", out.infer.input, "folder or file to read")->capture_default_str();
  app.add_option("--output", out.infer.output, "folder to write")->capture_default_str();
  app.add_option("--model", out.infer.model, "safetensors file, or a folder with model.safetensors")
      ->envname("CONSILIUM_MODEL")
      ->required();
  app.add_option("--threads", out.infer.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024));
  app.add_option("--device", out.infer.compute.device, "cpu or cuda; default: cuda if there is one")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"json", OutputFormat::kJson},
                                                       {"jsonl", OutputFormat::kJsonl}};
  app.add_option("--output-format", out.format, "of the summary on stdout: table, json, jsonl")
      ->transform(CLI::CheckedTransformer(formats))
      ->option_text("FORMAT");
  bool timings = false;
  app.add_flag("--timings", timings, "add seconds to the report, which then differs by run");
  // Accepted as mhub.run takes them; there is one workflow.
  std::string workflow = "default";
  bool ignored = false;
  app.add_option("-w,--workflow", workflow, "only: default")->check(CLI::IsMember({"default"}));
  app.add_flag("--print,--non-interactive", ignored, "accepted for MHub; changes nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  if (timings) out.timings = Timings::kInclude;
  return std::nullopt;
}

void PrintReport(const InferReport& report, const Arguments& arguments) {
  switch (arguments.format) {
    case OutputFormat::kJson:
      std::fputs(InferReportToJson(report, arguments.timings).c_str(), stdout);
      break;
    case OutputFormat::kJsonl:
      for (const SeriesReport& series : report.series) {
        std::printf("%s\n", SeriesReportToJson(series, arguments.timings).c_str());
      }
      break;
    case OutputFormat::kTable:
      std::fputs(FormatTable(InferTable(report)).c_str(), stdout);
      break;
  }
}

// A model that does not load and an output that cannot be written are the user's to mend: 2, not 4.
int FailureCode(const absl::Status& status) {
  ReportAndExitCode(kProgram, status);
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    return static_cast<int>(ExitCode::kInternal);
  }
  const bool input = absl::IsCancelled(status) || absl::IsResourceExhausted(status);
  return static_cast<int>(input ? ExitCode::kUnreachable : ExitCode::kUsage);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  if (const auto code = ReadArguments(argc, argv, arguments)) return *code;
  privacy::SetLogProgram(kProgram);
  StopSignal stop;
  std::optional<Progress> bar;
  const auto progress = [&bar](int64_t done, int64_t total) {
    if (::isatty(STDERR_FILENO) == 0) return;  // the console of a container stays clean
    if (!bar) bar.emplace("segment", "series", static_cast<uint64_t>(total));
    bar->Update(static_cast<uint64_t>(done));
  };
  auto report = Infer(arguments.infer, Clock::System(), progress, stop.requested());
  if (bar) bar->Finish();
  if (!report.ok()) return FailureCode(report.status());
  const absl::Status written =
      WriteFileAtomic(JoinPath(arguments.infer.output, "report.json"),
                      InferReportToJson(*report, arguments.timings));
  if (!written.ok()) return FailureCode(written);
  PrintReport(*report, arguments);
  if (report->count(SeriesStatus::kSegmented) == 0) {
    std::fprintf(stderr, "%s: no series could be segmented; report.json says why\n", kProgram);
    return static_cast<int>(ExitCode::kUnreachable);
  }
  const bool all = report->count(SeriesStatus::kFailed) == 0;
  return static_cast<int>(all ? ExitCode::kOk : ExitCode::kCheckFailed);
}

}  // namespace
}  // namespace consilium::agent

int main(int argc, char** argv) { return consilium::agent::Main(argc, argv); }
