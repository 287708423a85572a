#include "tests/support/hospital.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "tests/support/status_matchers.h"

namespace consilium::phantom {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kFileBytesMax = 1 << 22;

// One of the default hospitals with fewer cases and 4 mm voxels: the same paths, in a second.
HospitalSpec SmallHospital(size_t which, int64_t cases) {
  HospitalSpec spec = DefaultHospitals()[which];
  spec.cases = cases;
  for (Protocol& protocol : spec.protocols) protocol.pixel_mm = protocol.slice_mm = 4;
  return spec;
}

std::map<std::string, std::string> FilesUnder(const std::string& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    files[fs::relative(entry.path(), root).string()] =
        ReadFile(entry.path().string(), kFileBytesMax).value();
  }
  return files;
}

nlohmann::json Phi(const std::string& root) {
  return nlohmann::json::parse(ReadFile(JoinPath(root, "phi.json"), kFileBytesMax).value());
}

// Foreground of a written truth file in ml, by label.
std::map<int, double> TruthMl(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string raw(kFileBytesMax, '\0');
  raw.resize(std::max(gzread(file, raw.data(), kFileBytesMax), 0));
  gzclose(file);
  float spacing[3];
  std::memcpy(spacing, raw.data() + 80, sizeof(spacing));
  std::map<int, double> ml;
  for (size_t i = 352; i < raw.size(); ++i) {
    if (raw[i] != 0) ml[raw[i]] += spacing[0] * spacing[1] * spacing[2] / 1000;
  }
  return ml;
}

std::map<int, double> SegMl(const std::string& path) {
  DcmFileFormat file;
  EXPECT_TRUE(file.loadFile(path.c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  Uint16 rows = 0, columns = 0;
  Sint32 frames = 0;
  dataset.findAndGetUint16(DCM_Rows, rows);
  dataset.findAndGetUint16(DCM_Columns, columns);
  dataset.findAndGetSint32(DCM_NumberOfFrames, frames);
  Float64 row_mm = 0, column_mm = 0, slice_mm = 0;
  dataset.findAndGetFloat64(DCM_PixelSpacing, row_mm, 0, /*searchIntoSub=*/OFTrue);
  dataset.findAndGetFloat64(DCM_PixelSpacing, column_mm, 1, /*searchIntoSub=*/OFTrue);
  dataset.findAndGetFloat64(DCM_SpacingBetweenSlices, slice_mm, 0, /*searchIntoSub=*/OFTrue);
  const Uint8* bits = nullptr;
  EXPECT_TRUE(dataset.findAndGetUint8Array(DCM_PixelData, bits).good());
  std::map<int, double> ml;
  for (Sint32 frame = 0; frame < frames; ++frame) {
    DcmItem *group = nullptr, *segment = nullptr;
    Uint16 number = 0;
    dataset.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, group, frame);
    group->findAndGetSequenceItem(DCM_SegmentIdentificationSequence, segment);
    segment->findAndGetUint16(DCM_ReferencedSegmentNumber, number);
    for (size_t i = 0; i < size_t{rows} * columns; ++i) {
      const size_t bit = static_cast<size_t>(frame) * rows * columns + i;
      if (bits[bit / 8] >> (bit % 8) & 1) ml[number] += row_mm * column_mm * slice_mm / 1000;
    }
  }
  return ml;
}

std::string PatientFolder(const std::string& root, const std::string& patient_id) {
  for (const auto& entry : fs::directory_iterator(root + "/archive")) {
    if (absl::StartsWith(entry.path().filename().string(), patient_id)) return entry.path();
  }
  return "";
}

class HospitalTest : public ::testing::Test {
 protected:
  std::string Write(const HospitalSpec& spec, uint64_t seed, absl::string_view run) {
    const std::string out = JoinPath(folder_.path(), run);
    EXPECT_OK(WriteHospital(spec, seed, out, {}));
    return JoinPath(out, spec.name);
  }
  TempDir folder_ = TempDir::Create("hospital").value();
};

TEST_F(HospitalTest, SameSeedSameBytes) {
  const HospitalSpec spec = SmallHospital(3, 3);
  const auto first = FilesUnder(Write(spec, 7, "first"));
  EXPECT_TRUE(first == FilesUnder(Write(spec, 7, "second")));
  EXPECT_FALSE(first == FilesUnder(Write(spec, 8, "third")));
}

TEST_F(HospitalTest, MoreCasesLeaveTheFirstAlone) {
  const auto few = FilesUnder(Write(SmallHospital(2, 1), 7, "few"));
  const auto more = FilesUnder(Write(SmallHospital(2, 2), 7, "more"));
  for (const auto& [path, content] : few) {
    if (path == "phi.json") continue;
    ASSERT_TRUE(more.contains(path));
    EXPECT_TRUE(more.at(path) == content) << path;
  }
}

TEST_F(HospitalTest, EveryIdentifierOfPhiIsInThePatientsFiles) {
  for (size_t which : {0, 1, 2}) {
    const HospitalSpec spec = SmallHospital(which, 2);
    const std::string root = Write(spec, 7, absl::StrCat(which));
    const nlohmann::json phi = Phi(root);
    ASSERT_EQ(phi.size(), 2u);
    for (const auto& [name, entry] : phi.items()) {
      const std::string folder = PatientFolder(root, entry["PatientID"]);
      ASSERT_FALSE(folder.empty()) << name;
      std::string content;
      for (const auto& [path, bytes] : FilesUnder(folder)) content += bytes;
      for (const auto& [keyword, value] : entry.items()) {
        if (!value.is_string()) continue;
        const std::string text = value;
        EXPECT_TRUE(absl::StrContains(content, text) ||
                    absl::StrContains(content, Latin1FromUtf8(text)))
            << name << " " << keyword;
      }
      const std::string patient_name = entry["PatientName"];
      EXPECT_TRUE(absl::EndsWith(folder, "_" + patient_name.substr(0, patient_name.find('^'))));
    }
  }
}

TEST_F(HospitalTest, NamesReadBackInUtf8FromEitherCharacterSet) {
  for (size_t which : {0, 1}) {
    const std::string root = Write(SmallHospital(which, 3), 11, absl::StrCat(which));
    const nlohmann::json phi = Phi(root);
    for (const auto& [name, entry] : phi.items()) {
      const std::string mr = PatientFolder(root, entry["PatientID"]) + "/" +
                             std::string(entry["StudyDate"]) + "/MR/IM0001.dcm";
      DcmFileFormat file;
      ASSERT_TRUE(file.loadFile(mr.c_str()).good());
      ASSERT_TRUE(file.convertToUTF8().good());
      OFString patient;
      file.getDataset()->findAndGetOFStringArray(DCM_PatientName, patient);
      EXPECT_EQ(std::string(patient.data(), patient.size()), entry["PatientName"]);
    }
  }
}

TEST_F(HospitalTest, TruthAndSegmentationAgreeInMl) {
  const std::string root = Write(SmallHospital(3, 3), 7, "out");
  const nlohmann::json phi = Phi(root);
  for (const auto& [name, entry] : phi.items()) {
    ASSERT_TRUE(entry["labelled"]);
    const std::string id = entry["PatientID"];
    const auto truth = TruthMl(root + "/truth/" + id + ".nii.gz");
    const auto seg =
        SegMl(PatientFolder(root, id) + "/" + std::string(entry["StudyDate"]) + "/SEG/SEG0001.dcm");
    ASSERT_EQ(truth.size(), 2u);
    for (int label : {1, 2}) EXPECT_NEAR(truth.at(label), seg.at(label), 1e-4) << name;
  }
}

TEST_F(HospitalTest, OnlyTheLabelledFractionHasSegmentations) {
  const HospitalSpec spec = SmallHospital(1, 7);  // 0.3 of 7 is 2
  const auto files = FilesUnder(Write(spec, 7, "out"));
  const auto count = [&](absl::string_view part) {
    return std::count_if(files.begin(), files.end(),
                         [&](const auto& file) { return absl::StrContains(file.first, part); });
  };
  EXPECT_EQ(LabelledCases(spec), 2);
  EXPECT_EQ(count("/SEG/"), 2);
  EXPECT_EQ(count("truth/"), 7);
  EXPECT_EQ(count("/LOC/IM0001"), 2);
  EXPECT_EQ(count("/SC/"), 2);
  EXPECT_EQ(count("/SR/"), 1);
  EXPECT_EQ(count("_note.txt"), 2);
}

TEST(ProtocolGridTest, CoversTheBoxAroundItsCentre) {
  for (SlicePlane plane : {SlicePlane::kAxial, SlicePlane::kCoronal, SlicePlane::kSagittal}) {
    const imaging::Geometry grid = ProtocolGrid(
        {.plane = plane, .pixel_mm = 1.5, .slice_mm = 3, .appearance = {}, .dicom = {}}, {1, 2, 3});
    for (int d = 0; d < 3; ++d) {
      double centre = grid.origin_lps_mm[d];
      double extent = 0;
      for (int a = 0; a < 3; ++a) {
        const double step = grid.direction[3 * d + a] * grid.spacing_xyz_mm[a];
        centre += step * static_cast<double>(grid.size_xyz[a] - 1) / 2;
        extent += std::abs(step) * static_cast<double>(grid.size_xyz[a]);
      }
      EXPECT_NEAR(centre, d + 1, 1e-9);
      EXPECT_GE(extent, kExtentLpsMm[d]);
      EXPECT_LT(extent, kExtentLpsMm[d] + 3);
    }
  }
}

}  // namespace
}  // namespace consilium::phantom
