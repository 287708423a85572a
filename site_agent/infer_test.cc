#include "site_agent/infer.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/tiny_model.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kFileBytesMax = 64 << 20;
constexpr const char* kSeriesUid = "2.25.12";  // of WriteTestSeries

imaging::TestSeries SmallSeries() {
  imaging::TestSeries series;
  series.rows = 20;
  series.columns = 24;
  series.slices = 12;
  return series;
}

class InferTest : public testing::Test {
 protected:
  InferTest() : folder_(*TempDir::Create("infer")) {
    options_.input = At("in");
    options_.output = At("out");
    options_.model = At("model.safetensors");
    options_.compute = {1, "cpu"};
    EXPECT_TRUE(MakeDirs(options_.input).ok());
  }
  void SetUp() override { WriteTinyModel(TinyPlan(), options_.model); }

  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }
  absl::StatusOr<InferReport> RunInto(const std::string& output) {
    options_.output = At(output);
    return Infer(options_, Clock::System(), {}, stop_);
  }
  static std::string Bytes(const std::string& path) {
    const auto bytes = ReadFile(path, kFileBytesMax);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.ok() ? *bytes : std::string();
  }
  std::string Seg(const std::string& output) const {
    return At(output + "/" + kSeriesUid + "/consilium.seg.dcm");
  }

  TempDir folder_;
  InferOptions options_;
  std::atomic<bool> stop_{false};
};

TEST_F(InferTest, SeriesGivesASegmentationOnItsOwnGrid) {
  const auto paths = imaging::WriteTestSeries(SmallSeries(), options_.input);
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->series.size(), 1u);
  const SeriesReport& series = report->series[0];
  EXPECT_EQ(series.status, SeriesStatus::kSegmented) << series.reason;
  EXPECT_EQ(series.series_uid, kSeriesUid);
  EXPECT_EQ(report->model_version, "tiny/1");

  const auto source = imaging::AssembleSeries(paths);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto mask =
      imaging::ReadSegmentation(Seg("out"), source->volume.geometry, TinyPlan().labels);
  ASSERT_TRUE(mask.ok()) << mask.status();
  for (const StructureFound& item : series.structures) {
    EXPECT_EQ(item.voxels, std::count(mask->voxels.begin(), mask->voxels.end(), item.label));
    EXPECT_NEAR(item.volume_ml, static_cast<double>(item.voxels) * 1.5 * 0.75 * 2 / 1000, 1e-9);
  }
}

TEST_F(InferTest, SameInputGivesTheSameBytes) {
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  const auto first = RunInto("first");
  const auto second = RunInto("second");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(InferReportToJson(*first, Timings::kLeaveOut),
            InferReportToJson(*second, Timings::kLeaveOut));
  EXPECT_EQ(Bytes(Seg("first")), Bytes(Seg("second")));
}

TEST_F(InferTest, ReportHoldsNoIdentityAndNoTime) {
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok());
  const std::string json = InferReportToJson(*report, Timings::kLeaveOut);
  for (const char* bad : {"PHANTOM", "Phantom", "Ada", "1950", "seconds", "2.25.11\"", "slice"}) {
    EXPECT_EQ(json.find(bad), std::string::npos) << bad;
  }
  EXPECT_TRUE(nlohmann::json::accept(json));
  EXPECT_NE(InferReportToJson(*report, Timings::kInclude).find("seconds"), std::string::npos);
}

TEST_F(InferTest, SeriesThatTheModelIsNotForIsNamedWithTheRule) {
  wire::Plan plan = TinyPlan();
  plan.series_rules = {{"ImageType", "!ORIGINAL"}};
  WriteTinyModel(plan, options_.model);
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->series.size(), 1u);
  EXPECT_EQ(report->series[0].status, SeriesStatus::kNotEligible);
  EXPECT_NE(report->series[0].reason.find("ImageType"), std::string::npos);
  EXPECT_FALSE(fs::exists(At("out") + "/" + kSeriesUid));
}

TEST_F(InferTest, MissingSliceFailsWithItsReason) {
  const auto paths = imaging::WriteTestSeries(SmallSeries(), options_.input);
  fs::remove(paths[5]);
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->series.size(), 1u);
  EXPECT_EQ(report->series[0].status, SeriesStatus::kFailed);
  EXPECT_FALSE(report->series[0].reason.empty());
}

TEST(ReasonWithoutFileNamesTest, NoNameOfAFileIsLeft) {
  const std::vector<std::string> paths = {"/archive/Ada Phantom/Phantom^Ada.dcm", "/archive/1"};
  EXPECT_EQ(ReasonWithoutFileNames("Phantom^Ada.dcm: no PixelSpacing", paths), "no PixelSpacing");
  EXPECT_EQ(ReasonWithoutFileNames("a gap of 12 mm", paths), "a gap of 12 mm");
  for (const char* bad : {"slice: /archive/Ada Phantom/Phantom^Ada.dcm is cut",
                          "1: like Phantom^Ada.dcm", "between Phantom^Ada.dcm and others"}) {
    const std::string reason = ReasonWithoutFileNames(bad, paths);
    EXPECT_EQ(reason.find("Ada"), std::string::npos) << reason;
    EXPECT_FALSE(reason.empty());
  }
}

TEST_F(InferTest, TooFewSlicesAreNoVolume) {
  imaging::TestSeries series = SmallSeries();
  series.slices = 2;
  imaging::WriteTestSeries(series, options_.input);
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->series[0].status, SeriesStatus::kNotEligible);
}

TEST_F(InferTest, JunkIsCountedAndPassedOver) {
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  std::ofstream(options_.input + "/notes.txt") << "not DICOM";
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files_unreadable, 1);
  EXPECT_EQ(report->count(SeriesStatus::kSegmented), 1);
}

TEST_F(InferTest, ModelMayBeAFolder) {
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  options_.model = folder_.path();
  EXPECT_TRUE(RunInto("out").ok());
}

TEST_F(InferTest, FileThatIsNoModelIsAnError) {
  options_.model = At("other");
  EXPECT_TRUE(absl::IsNotFound(RunInto("out").status()));
  ASSERT_TRUE(WriteFileAtomic(options_.model, std::string(100, 'x')).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(RunInto("out").status()));
  ASSERT_TRUE(wire::WriteSafetensors(options_.model, wire::TensorMap(), {}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(RunInto("out").status())) << "no plan in it";
}

TEST_F(InferTest, StopEndsBetweenSeries) {
  imaging::WriteTestSeries(SmallSeries(), options_.input);
  stop_ = true;
  EXPECT_TRUE(absl::IsCancelled(RunInto("out").status()));
}

class ChannelInferTest : public InferTest {
 protected:
  void SetUp() override {
    WriteTinyModel(TinyPlanWithPet(), options_.model);
    ASSERT_TRUE(MakeDirs(At("in/mr")).ok());
    mr_ = imaging::WriteTestSeries(SmallSeries(), At("in/mr"));
  }
  std::vector<std::string> mr_;
};

TEST_F(ChannelInferTest, TwoSeriesGiveOneSegmentationOnTheFirstsGrid) {
  WritePetSeries(At("in/pet"));
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->series.size(), 2u);
  EXPECT_EQ(report->series[0].status, SeriesStatus::kSegmented) << report->series[0].reason;
  EXPECT_EQ(report->series[0].series_uid, kSeriesUid);
  EXPECT_EQ(report->series[0].channel_uids, std::vector<std::string>{kPetSeriesUid});
  EXPECT_EQ(report->series[1].status, SeriesStatus::kUsed);
  EXPECT_FALSE(fs::exists(At("out") + "/" + kPetSeriesUid));
  const auto json = nlohmann::json::parse(InferReportToJson(*report, Timings::kLeaveOut));
  EXPECT_EQ(json["series"][0]["channels"][0], kPetSeriesUid);
  EXPECT_EQ(json["series"][1]["status"], "used-as-channel");
  const auto source = imaging::AssembleSeries(mr_);
  EXPECT_TRUE(
      imaging::ReadSegmentation(Seg("out"), source->volume.geometry, TinyPlan().labels).ok());
}

TEST_F(ChannelInferTest, TheSecondSeriesCounts) {
  const auto paths = WritePetSeries(At("in/pet"));
  ASSERT_TRUE(RunInto("one").ok());
  for (const std::string& path : paths) {  // four times the dose: a quarter of the SUV
    std::string bytes = Bytes(path);
    const size_t at = bytes.find("350000000");
    ASSERT_NE(at, std::string::npos);
    ASSERT_TRUE(WriteFileAtomic(path, bytes.replace(at, 9, "14E8     ")).ok());
  }
  ASSERT_TRUE(RunInto("other").ok());
  EXPECT_NE(Bytes(Seg("one")), Bytes(Seg("other")));
}

TEST_F(ChannelInferTest, AnotherFrameOfReferenceIsNotRegistered) {
  WritePetSeries(At("in/pet"), "2.25.14");
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->count(SeriesStatus::kSegmented), 0);
  EXPECT_EQ(report->series[0].status, SeriesStatus::kNotEligible);
  EXPECT_EQ(report->series[0].reason,
            "channel 2 (PT): no series in the frame of reference of channel 1");
  EXPECT_EQ(report->series[1].reason, "channel 2 (PT) of no case");
}

TEST_F(ChannelInferTest, TooLittleCoverageIsSaidWithoutNamesOfFiles) {
  WritePetSeries(At("in/pet"));
  for (int slice = 0; slice < 9; ++slice) {
    fs::remove(At("in/pet/slice" + std::to_string(slice) + ".dcm"));
  }
  const auto report = RunInto("out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->series[0].status, SeriesStatus::kFailed);
  EXPECT_EQ(report->series[0].reason, "channel 2: covers less than 0.5 of channel 1");
}

TEST_F(InferTest, HospitalArchivesAreSegmentedAndLocalizersLeftOut) {
  const std::string data = CONSILIUM_SHARED_DIR "/data/hippocampus";
  const std::string tool = CONSILIUM_SHARED_DIR "/tools/make_hospitals.py";
  if (!PathExists(data) || !PathExists(tool)) GTEST_SKIP() << "no shared data";
  const std::string command = "/usr/bin/python3 " + tool + " --data " + data + " --out " +
                              At("hospitals") + " --limit 1 >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "make_hospitals.py does not run here";
  for (const char* site : {"site-a", "site-b", "site-c"}) {
    options_.input = At(std::string("hospitals/") + site + "/archive");
    const auto report = RunInto(std::string("out-") + site);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->count(SeriesStatus::kSegmented), 1) << site;
    EXPECT_EQ(report->count(SeriesStatus::kFailed), 0) << site;
  }
}

}  // namespace
}  // namespace consilium::agent
