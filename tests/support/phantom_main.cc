// consilium-phantom: hospital archives of invented patients, for tests and the demo.
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "proto/base/cli.h"
#include "proto/base/file.h"
#include "tests/support/hospital.h"

namespace consilium::phantom {
namespace {

constexpr const char* kFooter = R"(
Writes OUT/site-a, OUT/site-b, OUT/site-c and OUT/validation. In each:
  archive/     DICOM as a hospital would have it, with invented identities
  phi.json     every planted identifier, by case
  truth/       the reference masks (NIfTI)
Labels: 1 "Ellipsoid organ", 2 "Curved tube".

Example:
  consilium-phantom /tmp/hospitals --seed 7 --cases 16,12,10,8 --labelled 0.6,0.3,0,1

Exit codes: 0 written, 2 usage, 3 the folder cannot be written.)";

absl::Status WriteAll(const std::vector<HospitalSpec>& hospitals, uint64_t seed,
                      const std::string& out) {
  for (const HospitalSpec& spec : hospitals) {
    // Mixing two runs in one folder would leave archives that phi.json does not describe.
    if (PathExists(JoinPath(out, spec.name))) {
      return absl::AlreadyExistsError(absl::StrCat(spec.name, " exists in the output folder"));
    }
  }
  for (const HospitalSpec& spec : hospitals) {
    Progress progress(spec.name, "cases", static_cast<uint64_t>(spec.cases));
    if (absl::Status status = WriteHospital(
            spec, seed, out, [&](int64_t done) { progress.Update(static_cast<uint64_t>(done)); });
        !status.ok()) {
      return status;
    }
    progress.Finish(absl::StrCat(LabelledCases(spec), " labelled"));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::vector<HospitalSpec> hospitals = DefaultHospitals();
  std::vector<int64_t> cases;
  std::vector<double> labelled;
  for (const HospitalSpec& spec : hospitals) {
    cases.push_back(spec.cases);
    labelled.push_back(spec.labelled_fraction);
  }
  std::string out;
  uint64_t seed = 7;
  CLI::App app("Archives of three unlike hospitals and a validation set, with invented patients.");
  app.footer(kFooter);
  app.add_option("OUT", out, "Folder to write into; made if absent")->required();
  app.add_option("--seed", seed, "Same seed, same bytes")->capture_default_str();
  app.add_option("--cases", cases, "Cases of site-a,site-b,site-c,validation; 0 skips one")
      ->delimiter(',')
      ->expected(4)
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  app.add_option("--labelled", labelled, "Fraction of each that has a segmentation")
      ->delimiter(',')
      ->expected(4)
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.set_version_flag("--version", CONSILIUM_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  for (size_t i = 0; i < hospitals.size(); ++i) {
    hospitals[i].cases = cases[i];
    hospitals[i].labelled_fraction = labelled[i];
  }
  std::erase_if(hospitals, [](const HospitalSpec& spec) { return spec.cases == 0; });
  return ReportAndExitCode("consilium-phantom", WriteAll(hospitals, seed, out));
}

}  // namespace
}  // namespace consilium::phantom

int main(int argc, char** argv) { return consilium::phantom::Main(argc, argv); }
