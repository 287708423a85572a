// The shared corpus: series with a known verdict, and files that must do no harm.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

constexpr const char* kCorpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus";
#define SKIP_WITHOUT_CORPUS() \
  if (!PathExists(kCorpus)) GTEST_SKIP() << "no shared data at " << kCorpus

struct SeriesCase {
  const char* folder;
  const char* refusal;  // part of the message; nullptr: a volume
  std::vector<SetAside> set_aside = {};
  std::vector<std::string> parts = {""};
  std::vector<std::string> split_by = {};
};

class SeriesCaseTest : public testing::TestWithParam<SeriesCase> {
 protected:
  static void ExpectGeometry(const Geometry& grid, const std::string& folder) {
    EXPECT_EQ(grid.size_xyz, (std::array<int64_t, 3>{34, 50, 10}));
    EXPECT_NEAR(grid.spacing_xyz_mm[2], 1, 2e-4);
    const bool unequal_pixels = folder == "19_spacing_tag_lies";
    EXPECT_DOUBLE_EQ(grid.spacing_xyz_mm[0], unequal_pixels ? 0.75 : 1);
    EXPECT_DOUBLE_EQ(grid.spacing_xyz_mm[1], unequal_pixels ? 1.5 : 1);
    if (folder == "16_oblique_jitter") {
      EXPECT_NEAR(grid.direction[0], std::cos(0.3), 1e-4);
      EXPECT_NEAR(grid.direction[3], std::sin(0.3), 1e-4);
      EXPECT_NEAR(grid.origin_lps_mm[2], 0, 2e-3);
      return;
    }
    EXPECT_EQ(grid.direction, (std::array<double, 9>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
    EXPECT_EQ(grid.origin_lps_mm,
              (std::array<double, 3>{0, 0, folder == "15_descending" ? -9.0 : 0}));
  }

  static void ExpectReport(const SeriesReport& report, const SeriesCase& wanted) {
    EXPECT_EQ(report.set_aside, wanted.set_aside);
    EXPECT_EQ(report.split_by, wanted.split_by);
    int64_t accounted = static_cast<int64_t>(wanted.parts.size()) * report.images_used;
    for (const SetAside& entry : report.set_aside) accounted += entry.images;
    EXPECT_EQ(report.images_in, accounted) << "every image is used or set aside";
    EXPECT_EQ(report.images_used, 10);
    EXPECT_NEAR(report.step_mm, 1, 2e-4);
    EXPECT_LT(report.step_spread_mm, 0.01);
    EXPECT_NEAR(report.direction_determinant, 1, 1e-9);
    EXPECT_EQ(report.matrix, (std::array<int64_t, 2>{50, 34}));
    const std::string folder = wanted.folder;
    EXPECT_EQ(report.photometric,
              folder == "13_monochrome1_padding" ? "MONOCHROME1" : "MONOCHROME2");
    EXPECT_EQ(report.bits_stored, folder == "14_overlay_bits_above_highbit" ? 12 : 16);
    EXPECT_EQ(report.slope_range[0] < report.slope_range[1], folder == "12_rescale_per_slice");
    EXPECT_EQ(report.transfer_syntaxes.size(), folder == "20_mixed_compression" ? 2u : 1u);
  }
};

TEST_P(SeriesCaseTest, GetsItsVerdict) {
  SKIP_WITHOUT_CORPUS();
  const SeriesCase& wanted = GetParam();
  const auto paths = FilesBelow(std::string(kCorpus) + "/generated/series-cases/" + wanted.folder);
  ASSERT_FALSE(paths.empty());
  const auto volumes = SortSeries(paths);
  if (wanted.refusal != nullptr) {
    EXPECT_EQ(volumes.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(volumes.status().message()), testing::HasSubstr(wanted.refusal));
    return;
  }
  ASSERT_TRUE(volumes.ok()) << volumes.status();
  std::vector<std::string> parts;
  for (const SortedVolume& volume : *volumes) {
    parts.push_back(volume.report.part);
    ExpectGeometry(volume.geometry, wanted.folder);
    ExpectReport(volume.report, wanted);
    const auto series = ReadVolume(volume);
    ASSERT_TRUE(series.ok()) << series.status();
    EXPECT_EQ(series->slice_paths.size(), 10u);
    EXPECT_EQ(series->volume.voxels.size(), 34u * 50 * 10);
  }
  EXPECT_EQ(parts, wanted.parts);
  EXPECT_EQ(AssembleSeries(paths).ok(), parts.size() == 1);
  EXPECT_TRUE(AssembleSeries(paths, parts.back()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, SeriesCaseTest,
    testing::Values(
        SeriesCase{"01_ok_shuffled", nullptr}, SeriesCase{"02_instance_number_reversed", nullptr},
        SeriesCase{"03_missing_slice", "1 missing after slice 5"},
        SeriesCase{"04_duplicate_identical", nullptr, {{1, "copies of another image"}}},
        SeriesCase{"05_duplicate_position_differs", "different images at one position"},
        SeriesCase{"06_nonuniform_gap", "unequal gaps"},
        SeriesCase{"07_gantry_tilt", "gantry tilt"},
        SeriesCase{"08_two_phases",
                   nullptr,
                   {},
                   {"temporal position 1 of 2", "temporal position 2 of 2"},
                   {"temporal position"}},
        SeriesCase{"09_two_echoes", nullptr, {}, {"echo 1 of 2", "echo 2 of 2"}, {"echo"}},
        SeriesCase{"10_localizer_inside", nullptr, {{3, "localizer images"}}},
        SeriesCase{"11_matrix_differs", "several matrix sizes"},
        SeriesCase{"12_rescale_per_slice", nullptr}, SeriesCase{"13_monochrome1_padding", nullptr},
        SeriesCase{"14_overlay_bits_above_highbit", nullptr}, SeriesCase{"15_descending", nullptr},
        SeriesCase{"16_oblique_jitter", nullptr},
        SeriesCase{"17_position_missing", "no ImagePositionPatient"},
        SeriesCase{"18_two_frames_of_reference", "several frames of reference"},
        SeriesCase{"19_spacing_tag_lies", nullptr}, SeriesCase{"20_mixed_compression", nullptr},
        SeriesCase{"21_single_slice", "one slice"}),
    [](const auto& test_case) { return std::string(test_case.param.folder); });

// Cases that show the same slices in other clothes have the voxels of case 01.
TEST(SeriesCorpusTest, EqualPicturesGiveEqualVoxels) {
  SKIP_WITHOUT_CORPUS();
  const std::string root = std::string(kCorpus) + "/generated/series-cases/";
  const auto plain = AssembleSeries(FilesBelow(root + "01_ok_shuffled"));
  ASSERT_TRUE(plain.ok()) << plain.status();
  for (const char* folder :
       {"02_instance_number_reversed", "04_duplicate_identical", "10_localizer_inside",
        "14_overlay_bits_above_highbit", "19_spacing_tag_lies", "20_mixed_compression"}) {
    const auto other = AssembleSeries(FilesBelow(root + folder));
    ASSERT_TRUE(other.ok()) << folder << other.status();
    EXPECT_EQ(other->volume.voxels, plain->volume.voxels) << folder;
  }
}

TEST(SeriesCorpusTest, RescaleIsAppliedByTheSlice) {
  SKIP_WITHOUT_CORPUS();
  const std::string root = std::string(kCorpus) + "/generated/series-cases/";
  const auto plain = AssembleSeries(FilesBelow(root + "01_ok_shuffled"));
  const auto scaled = AssembleSeries(FilesBelow(root + "12_rescale_per_slice"));
  ASSERT_TRUE(plain.ok() && scaled.ok());
  for (size_t i = 0; i < plain->volume.voxels.size(); ++i) {
    const double slope = 1 + 0.1 * static_cast<double>(i / (34 * 50));
    ASSERT_NEAR(scaled->volume.voxels[i], plain->volume.voxels[i] * slope, 1e-3) << i;
  }
}

// The case holds 4095 - x; after inversion of 16 signed bits that is x - 4096.
TEST(SeriesCorpusTest, Monochrome1IsInvertedAndPaddingIsTheDarkest) {
  SKIP_WITHOUT_CORPUS();
  const std::string root = std::string(kCorpus) + "/generated/series-cases/";
  const auto plain = AssembleSeries(FilesBelow(root + "01_ok_shuffled"));
  const auto inverted = AssembleSeries(FilesBelow(root + "13_monochrome1_padding"));
  ASSERT_TRUE(plain.ok() && inverted.ok());
  const auto& voxels = inverted->volume.voxels;
  const float darkest = *std::min_element(voxels.begin(), voxels.end());
  size_t padded = 0;
  for (size_t i = 0; i < voxels.size(); ++i) {
    if (voxels[i] == plain->volume.voxels[i] - 4096) continue;
    ASSERT_EQ(voxels[i], darkest) << i;
    ++padded;
  }
  EXPECT_GT(padded, 0u);
  EXPECT_LT(padded, voxels.size() / 4);
  EXPECT_GE(darkest, -4096) << "not the padding's own value";
}

class HostileFileTest : public testing::Test {
 protected:
  static void ExpectHarmless(const std::string& path) {
    const std::clock_t start = std::clock();  // processor time: a busy machine is no hang
    const auto header = ReadDicomHeader(path);
    const auto series = AssembleSeries({path});
    const auto labels =
        ReadSegmentation(path, Geometry{{4, 4, 4}}, {{.value = 1, .name = "x", .code = ""}});
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 2) << BaseName(path);
    EXPECT_FALSE(series.ok()) << BaseName(path);
    EXPECT_FALSE(labels.ok()) << BaseName(path);
    for (const absl::Status& status : {header.status(), series.status(), labels.status()}) {
      EXPECT_EQ(status.message().find(BaseName(path)), absl::string_view::npos);
    }
  }
};

TEST_F(HostileFileTest, DoesNoHarm) {
  SKIP_WITHOUT_CORPUS();
  const auto paths = FilesBelow(std::string(kCorpus) + "/generated/hostile");
  ASSERT_GT(paths.size(), 30u);
  for (const std::string& path : paths) ExpectHarmless(path);
}

TEST_F(HostileFileTest, IsRefusedWithItsFault) {
  SKIP_WITHOUT_CORPUS();
  const std::string root = std::string(kCorpus) + "/generated/hostile/";
  const std::pair<const char*, const char*> faults[] = {
      {"deep_nesting.dcm", "nested deeper than 64"},
      {"len_overflow.dcm", "beyond the file"},
      {"len_overflow_ut.dcm", "beyond the file"},
      {"deflate_bomb.dcm", "grows too large"},
      {"not_dicom.dcm", "not DICOM"},
      {"empty.dcm", "not DICOM"},
      {"preamble_only.dcm", "no data set"},
      {"seq_no_delims.dcm", "never closed"},
      {"ts_unknown.dcm", "transfer syntax"},
      {"ts_says_implicit.dcm", ""},
      {"frag_beyond_eof.dcm", "beyond the file"}};
  for (const auto& [name, fault] : faults) {
    const auto header = ReadDicomHeader(root + name);
    EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(header.status().message()), testing::HasSubstr(fault)) << name;
    EXPECT_THAT(std::string(header.status().message()), testing::Not(testing::HasSubstr(name)));
  }
}

// Cutting a file anywhere, or breaking single bytes, must not break us either.
TEST_F(HostileFileTest, CutAndDamagedFilesAreSurvived) {
  SKIP_WITHOUT_CORPUS();
  const auto dir = TempDir::Create("imaging-cut");
  ASSERT_TRUE(dir.ok());
  const auto sources =
      FilesBelow(std::string(kCorpus) + "/generated/series-cases/20_mixed_compression");
  ASSERT_FALSE(sources.empty());
  const auto bytes = ReadFile(sources.front(), 1 << 20);
  ASSERT_TRUE(bytes.ok());
  const std::string path = JoinPath(dir->path(), "cut.dcm");
  for (size_t i = 0; i < 150; ++i) {
    // Not WriteFileAtomic: three hundred fsyncs would be most of the test's time.
    std::ofstream(path, std::ios::binary) << bytes->substr(0, bytes->size() * i / 150);
    EXPECT_FALSE(AssembleSeries({path}).ok());
    std::string damaged = *bytes;
    damaged[(i * 7919) % damaged.size()] ^= static_cast<char>(1 << (i % 8));
    std::ofstream(path, std::ios::binary) << damaged;
    (void)ReadDicomHeader(path);
    (void)AssembleSeries({path, sources.back()});
  }
}

// Whatever the corpus holds has to be answered, not crashed on.
TEST(CorpusTest, EveryFileIsAnswered) {
  SKIP_WITHOUT_CORPUS();
  int read = 0, refused = 0;
  for (const std::string& path : FilesBelow(kCorpus)) {
    if (!path.ends_with(".dcm")) continue;
    const auto header = ReadDicomHeader(path);
    (void)AssembleSeries({path});
    ++(header.ok() ? read : refused);
  }
  std::printf("corpus: %d headers read, %d refused\n", read, refused);
  EXPECT_GT(read, 300);
}

}  // namespace
}  // namespace consilium::imaging
