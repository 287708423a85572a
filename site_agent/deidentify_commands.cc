#include "site_agent/deidentify_commands.h"

#include <map>
#include <memory>
#include <optional>

#include "CLI/CLI.hpp"
#include "privacy/crypto/random.h"
#include "privacy/deid/profile.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/deidentify_folder.h"
#include "site_agent/intake/held_queue.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kProfileBytesMax = 64 << 10;
constexpr const char* kDeidentifyFooter =
    R"(What is written: OUT/<patient>/<series>/<instance>.dcm, all
three pseudonyms. Everything else stays out: side-cars, DICOMDIR, reports, presentation states, documents,
waveforms, and pictures that may show text (ultrasound, captures, radiographs), unless the profile or
--pixel-policy says otherwise. IN is never changed.

Examples:
  consilium-agent deidentify /archive /data/clean --report clean.json
  consilium-agent deidentify /archive /data/clean --pixel-policy blackout
  consilium-agent deidentify /archive /data/clean --hold /data/to-look-at
  consilium-agent deidentify /archive /data/clean --home /var/lib/consilium   # the site's pseudonyms
  consilium-agent deidentify --print-profile > profile.yaml                   # every key, to edit

docs/deidentification.md has every key of a profile, and what the report says.)";

struct DeidentifyArguments {
  std::string in;
  std::string out;
  std::string report;
  std::string home;
  std::string profile;
  std::string hold;
  std::string pixel_policy;
  int threads = 2;
  bool print_profile = false;
  OutputFormat format = OutputFormat::kTable;
};

struct HeldArguments {
  std::string folder;
  std::vector<std::string> ids;
  std::string out;
  OutputFormat format = OutputFormat::kTable;
};

absl::StatusOr<privacy::DeidProfile> ReadProfile(const DeidentifyArguments& arguments) {
  privacy::DeidProfile profile;
  if (!arguments.profile.empty()) {
    CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.profile, kProfileBytesMax));
    CSL_ASSIGN_OR_RETURN(profile, privacy::ParseProfile(text));
  }
  if (arguments.pixel_policy == "hold") profile.pixels = privacy::PixelPolicy::kHold;
  if (arguments.pixel_policy == "blackout") profile.pixels = privacy::PixelPolicy::kBlackout;
  return profile;
}

absl::Status RunDeidentify(const DeidentifyArguments& arguments,
                           const DeidentifyCommandHooks& hooks, const std::atomic<bool>& stop) {
  CSL_ASSIGN_OR_RETURN(privacy::DeidProfile profile, ReadProfile(arguments));
  if (arguments.print_profile) {
    std::fputs(privacy::ProfileToYaml(profile).c_str(), stdout);
    return absl::OkStatus();
  }
  if (arguments.in.empty() || arguments.out.empty()) {
    return absl::InvalidArgumentError("IN and OUT are needed: deidentify IN OUT");
  }
  privacy::SecretBytes key(privacy::RandomBytes(privacy::kSiteKeyBytes));
  std::optional<PatientRegister> patients;
  if (!arguments.home.empty()) {
    CSL_ASSIGN_OR_RETURN(key, LoadOrCreateSiteKey(arguments.home));
    CSL_ASSIGN_OR_RETURN(patients, PatientRegister::Read(arguments.home));
    if (!arguments.hold.empty()) {
      CSL_RETURN_IF_ERROR(RememberQueue(arguments.home, arguments.hold));
    }
  }
  DeidentifyOptions options{.site_key = std::move(key), .profile = std::move(profile)};
  options.patients = std::move(patients);
  options.index.threads = arguments.threads;
  options.hold = arguments.hold;
  CSL_ASSIGN_OR_RETURN(
      const DeidentifyReport report,
      DeidentifyFolder(arguments.in, arguments.out, std::move(options), hooks.progress, &stop));
  if (!arguments.report.empty()) {
    CSL_RETURN_IF_ERROR(WriteFileAtomic(arguments.report, DeidentifyToJson(report)));
  }
  hooks.print(arguments.format, DeidentifyTable(report), DeidentifyToJson(report));
  if (report.files_written == 0) return absl::NotFoundError("no file could be de-identified");
  return absl::OkStatus();
}

void AddFormat(CLI::App& command, OutputFormat& format) {
  static const std::map<std::string, OutputFormat> kFormats = {{"table", OutputFormat::kTable},
                                                               {"json", OutputFormat::kJson},
                                                               {"jsonl", OutputFormat::kJsonl}};
  command.add_option("--output", format, "table, json or jsonl")
      ->transform(CLI::CheckedTransformer(kFormats))
      ->option_text("FORMAT");
}

void AddHeldCommands(CLI::App& app, const DeidentifyCommandHooks& hooks,
                     DeidentifyCommand& chosen) {
  auto arguments = std::make_shared<HeldArguments>();
  CLI::App* held = app.add_subcommand("held", "files that wait for a person (deidentify --hold)");
  held->require_subcommand(1);
  held->footer("Look at HOLD/<id>/image.png, then release or reject it.");
  const auto add = [&](const char* name, const char* about, DeidentifyCommand command) {
    CLI::App* sub = held->add_subcommand(name, about);
    sub->add_option("HOLD", arguments->folder, "the queue's folder")->required();
    sub->callback([&chosen, command] { chosen = command; });
    return sub;
  };
  AddFormat(*add("list", "what waits, and why",
                 [arguments, hooks](const std::atomic<bool>&) -> absl::Status {
                   CSL_ASSIGN_OR_RETURN(const std::vector<HeldFile> files,
                                        HeldQueue(arguments->folder).List());
                   hooks.print(arguments->format, HeldTable(files), HeldToJson(files));
                   return absl::OkStatus();
                 }),
            arguments->format);
  CLI::App* release =
      add("release", "a person has looked: the pixels show no identity",
          [arguments](const std::atomic<bool>&) -> absl::Status {
            for (const std::string& id : arguments->ids) {
              CSL_RETURN_IF_ERROR(HeldQueue(arguments->folder).Release(id, arguments->out));
            }
            return absl::OkStatus();
          });
  release->add_option("ID", arguments->ids, "as `held list` shows them")->required();
  release->add_option("--to", arguments->out, "the output folder of the run")->required();
  add("reject", "delete them from the queue",
      [arguments](const std::atomic<bool>&) -> absl::Status {
        for (const std::string& id : arguments->ids) {
          CSL_RETURN_IF_ERROR(HeldQueue(arguments->folder).Reject(id));
        }
        return absl::OkStatus();
      })
      ->add_option("ID", arguments->ids, "as `held list` shows them")
      ->required();
}

}  // namespace

void AddDeidentifyCommands(CLI::App& app, const DeidentifyCommandHooks& hooks,
                           DeidentifyCommand& chosen) {
  auto arguments = std::make_shared<DeidentifyArguments>();
  CLI::App* deid = app.add_subcommand("deidentify", "write copies of DICOM files without identity");
  deid->add_option("IN", arguments->in, "folder to read");
  deid->add_option("OUT", arguments->out, "new folder to write");
  deid->add_option("--profile", arguments->profile, "what is kept (YAML); default: training store");
  deid->add_flag("--print-profile", arguments->print_profile,
                 "print the profile in force, and end");
  deid->add_option("--pixel-policy", arguments->pixel_policy,
                   "pictures that may show text: hold them back, or blackout the text")
      ->check(CLI::IsMember({"hold", "blackout"}));
  deid->add_option("--hold", arguments->hold, "keep what was held back here, for a person");
  deid->add_option("--report", arguments->report, "JSON of what was done: counts, never a value");
  deid->add_option("--home", arguments->home, "use this site's pseudonyms; default: new ones");
  deid->add_option("--threads", arguments->threads, "workers")->check(CLI::Range(1, 64));
  AddFormat(*deid, arguments->format);
  deid->footer(kDeidentifyFooter);
  deid->callback([&chosen, arguments, hooks] {
    chosen = [arguments, hooks](const std::atomic<bool>& stop) {
      return RunDeidentify(*arguments, hooks, stop);
    };
  });
  AddHeldCommands(app, hooks, chosen);
}

}  // namespace consilium::agent
