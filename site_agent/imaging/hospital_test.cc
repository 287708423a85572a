// The hospital archives that tools/make_hospitals.py writes, against the volumes they came from.
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/nifti_label.h"
#include "site_agent/imaging/preprocess.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

const std::vector<wire::PlanLabel> kLabels = {
    {.value = 1, .name = "Anterior hippocampus", .code = ""},
    {.value = 2, .name = "Posterior hippocampus", .code = ""}};

// A mask of one byte per voxel in NIfTI-1 with an identity affine: 1 mm, RAS, origin at zero.
LabelVolume ReadTruth(const std::string& path) {
  LabelVolume truth;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return truth;
  char header[352];
  EXPECT_EQ(gzread(file, header, sizeof(header)), static_cast<int>(sizeof(header)));
  int16_t dim[8], datatype;
  std::memcpy(dim, header + 40, sizeof(dim));
  std::memcpy(&datatype, header + 70, sizeof(datatype));
  EXPECT_EQ(datatype, 2) << "unsigned bytes";
  truth.geometry.size_xyz = {dim[1], dim[2], dim[3]};
  // x and y of RAS are -x and -y of LPS.
  truth.geometry.direction = {-1, 0, 0, 0, -1, 0, 0, 0, 1};
  truth.voxels.resize(static_cast<size_t>(truth.geometry.voxels()));
  EXPECT_EQ(gzread(file, truth.voxels.data(), static_cast<unsigned>(truth.voxels.size())),
            static_cast<int>(truth.voxels.size()));
  gzclose(file);
  return truth;
}

class HospitalTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string data = CONSILIUM_SHARED_DIR "/data/hippocampus";
    const std::string tool = CONSILIUM_SHARED_DIR "/tools/make_hospitals.py";
    if (!PathExists(data) || !PathExists(tool)) GTEST_SKIP() << "no shared data at " << data;
    static const TempDir folder = *TempDir::Create("hospitals");
    static const int made = system(("/usr/bin/python3 " + tool + " --data " + data + " --out " +
                                    folder.path() + " --limit 3 >/dev/null 2>&1")
                                       .c_str());
    if (made != 0) GTEST_SKIP() << "make_hospitals.py does not run here";
    root_ = JoinPath(folder.path(), GetParam());
    for (const std::string& path : FilesBelow(JoinPath(root_, "archive"))) {
      const auto header = ReadDicomHeader(path);
      ASSERT_TRUE(header.ok()) << header.status();
      auto& home = header->modality == "SEG" ? segmentations_ : series_;
      home[header->patient_id + "/" + header->series_uid].push_back(path);
    }
  }

  LabelVolume TruthOf(const std::string& key) const {
    return ReadTruth(JoinPath(root_, "truth/" + key.substr(0, key.find('/')) + ".nii.gz"));
  }

  std::string root_;
  std::map<std::string, std::vector<std::string>> series_;
  std::map<std::string, std::vector<std::string>> segmentations_;
};

TEST_P(HospitalTest, SeriesLieWhereTheTruthLies) {
  int volumes = 0;
  for (const auto& [key, paths] : series_) {
    const LabelVolume truth = TruthOf(key);
    const auto series = AssembleSeries(paths);
    ASSERT_TRUE(series.ok()) << series.status();
    if (series->volume.geometry.voxels() != truth.geometry.voxels()) continue;  // a localizer
    ++volumes;
    const std::array<double, 3> spacing = {1, 1, 1};
    EXPECT_TRUE(SameGrid(PlanGrid(series->volume.geometry, spacing),
                         PlanGrid(truth.geometry, spacing), 1e-6));
  }
  EXPECT_EQ(volumes, 3);
}

TEST_P(HospitalTest, SegmentationsEqualTheTruth) {
  for (const auto& [key, paths] : segmentations_) {
    const LabelVolume truth = TruthOf(key);
    const std::string patient = key.substr(0, key.find('/'));
    for (const auto& [series_key, series_paths] : series_) {
      if (series_key.substr(0, patient.size()) != patient) continue;
      const auto series = AssembleSeries(series_paths);
      ASSERT_TRUE(series.ok());
      if (series->volume.geometry.voxels() != truth.geometry.voxels()) continue;
      const auto read = ReadSegmentation(paths.front(), series->volume.geometry, kLabels);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(ResampleLabel(truth, series->volume.geometry).voxels, read->voxels);
      // The truth beside the archive as a reader of NIfTI finds it: axes turned, same voxels.
      const auto nifti =
          ReadNiftiLabels(JoinPath(root_, "truth/" + patient + ".nii.gz"), series->volume.geometry,
                          {{1, "Anterior hippocampus"}, {2, "Posterior hippocampus"}});
      ASSERT_TRUE(nifti.ok()) << nifti.status();
      const auto segments = ReadSegments(paths.front(), series->volume.geometry);
      ASSERT_TRUE(segments.ok()) << segments.status();
      ASSERT_EQ(nifti->size(), segments->size());
      for (size_t i = 0; i < nifti->size(); ++i) {
        EXPECT_EQ((*nifti)[i].mask, (*segments)[i].mask);
        EXPECT_NEAR((*nifti)[i].source_ml, (*segments)[i].source_ml, 1e-6);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sites, HospitalTest,
                         testing::Values("site-a", "site-b", "site-c", "validation"),
                         [](const auto& site) {
                           std::string name = site.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace consilium::imaging
