#include "site_agent/intake/test_archive.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::agent {

void PatchFiles(const std::vector<std::string>& paths, const Patches& patches) {
  for (const std::string& path : paths) {
    std::string bytes = ReadFile(path, 1 << 20).value();
    for (const auto& [from, to] : patches) {
      CSL_CHECK(from.size() == to.size());
      CSL_CHECK(bytes.find(from) != std::string::npos);
      absl::StrReplaceAll({{from, to}}, &bytes);
    }
    CSL_CHECK(WriteFileAtomic(path, bytes).ok());
  }
}

std::vector<wire::PlanLabel> TestLabels() { return {{1, "Anterior", ""}, {2, "Posterior", ""}}; }

wire::Plan TestPlan() {
  wire::Plan plan;
  plan.study = "test";
  plan.labels = TestLabels();
  plan.spacing_xyz_mm = {1, 1, 1};
  return plan;
}

std::vector<std::string> WriteSeries(const std::string& folder) {
  CSL_CHECK(MakeDirs(folder).ok());
  return imaging::WriteTestSeries({}, folder);
}

std::string WriteLabel(const std::vector<std::string>& images, const std::string& folder) {
  CSL_CHECK(MakeDirs(folder).ok());
  const auto series = imaging::AssembleSeries(images);
  CSL_CHECK(series.ok());
  imaging::LabelVolume mask{series->volume.geometry, {}};
  mask.voxels.resize(static_cast<size_t>(mask.geometry.voxels()));
  for (size_t i = 0; i < mask.voxels.size(); ++i) mask.voxels[i] = static_cast<uint8_t>(i % 3);
  imaging::SegDescription description;
  description.labels = TestLabels();
  description.model_version = "test/1";
  description.uid_seed = "test";
  const std::string path = JoinPath(folder, "seg.dcm");
  CSL_CHECK(imaging::WriteSegmentation(*series, mask, description, path).ok());
  return path;
}

std::vector<std::string> WriteOtherPatient(const std::string& folder) {
  const std::vector<std::string> paths = WriteSeries(folder);
  PatchFiles(paths, {{"PHANTOM-1", "PHANTOM-2"},
                     {"Phantom^Ada", "Mahoney^Bea"},
                     {std::string("2.25.11\0", 8), std::string("2.25.21\0", 8)},
                     {std::string("2.25.12\0", 8), std::string("2.25.22\0", 8)},
                     {"2.25.1000", "2.25.2000"}});
  return paths;
}

std::vector<std::string> FilesBelowFolder(const std::string& folder) {
  return imaging::FilesBelow(folder);
}

std::string BytesBelowFolder(const std::string& folder) {
  std::string all;
  for (const std::string& path : FilesBelowFolder(folder)) {
    absl::StrAppend(&all, path, "\n", ReadFile(path, 1 << 24).value());
  }
  return all;
}

}  // namespace consilium::agent
