// For tests: a plan whose network is small, a model file with weights from its seed, and a series
// to train on.
#ifndef CONSILIUM_SITE_AGENT_TINY_MODEL_H_
#define CONSILIUM_SITE_AGENT_TINY_MODEL_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "proto/wire/plan.h"
#include "proto/wire/safetensors.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/plan_config.h"
#include "site_agent/round/train_step.h"
#include "site_agent/weights.h"

namespace consilium::agent {

inline wire::Plan TinyPlan() {
  wire::Plan plan;
  plan.study = "tiny";
  plan.labels = {{1, "Low part", ""}, {2, "High part", ""}};
  plan.spacing_xyz_mm = {2, 2, 2};
  plan.network.features = {4, 8};
  plan.network.strides_xyz = {{1, 1, 1}, {2, 2, 2}};
  plan.training.patch_xyz = {16, 16, 16};
  plan.training.rounds = 1;
  plan.training.steps_per_round = 3;
  plan.training.seed = 5;
  return plan;
}

// TinyPlan with a PET as the second input channel.
inline wire::Plan TinyPlanWithPet() {
  wire::Plan plan = TinyPlan();
  plan.channels = {{"PT", {}, "suv window 0 1"}};
  plan.network.in_channels = 2;
  return plan;
}

inline void WriteTinyModel(const wire::Plan& plan, const std::string& path) {
  auto session = MakeSession(SessionOptionsFor(plan, {1, "cpu"}));
  ASSERT_TRUE(session.ok()) << session.status();
  auto arrays = ExportWeights(**session);
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  const auto map = TensorMapFromArrays(*std::move(arrays));
  ASSERT_TRUE(map.ok()) << map.status();
  const wire::Metadata metadata = {{wire::kPlanMetadataKey, wire::PlanToJson(plan)},
                                   {wire::kVersionMetadataKey, "tiny/1"}};
  ASSERT_TRUE(wire::WriteSafetensors(path, *map, metadata).ok());
}

// A labelled series: the lower half of the slices is label 1, the upper half label 2.
inline void WriteLabelledSeries(const std::string& folder, const wire::Plan& plan) {
  ASSERT_TRUE(MakeDirs(folder).ok());
  imaging::TestSeries series;
  series.rows = 20;
  series.columns = 24;
  series.slices = 12;
  const auto source = imaging::AssembleSeries(imaging::WriteTestSeries(series, folder));
  ASSERT_TRUE(source.ok()) << source.status();
  imaging::LabelVolume mask;
  mask.geometry = source->volume.geometry;
  mask.voxels.resize(source->volume.voxels.size());
  const size_t half = mask.voxels.size() / 2;
  for (size_t i = 0; i < mask.voxels.size(); ++i) mask.voxels[i] = i < half ? 1 : 2;
  imaging::SegDescription description;
  description.labels = plan.labels;
  description.uid_seed = "test";
  ASSERT_TRUE(
      imaging::WriteSegmentation(*source, mask, description, JoinPath(folder, "seg.dcm")).ok());
}

inline constexpr const char* kPetSeriesUid = "2.25.77";

// A PET around WriteLabelledSeries', of its patient, study and frame of reference, on another grid.
// `frame_of_reference`: another one than it has.
inline std::vector<std::string> WritePetSeries(const std::string& folder,
                                               const char* frame_of_reference = "2.25.13") {
  EXPECT_TRUE(MakeDirs(folder).ok());
  imaging::TestSeries series;
  series.rows = 12;
  series.columns = 14;
  series.slices = 14;
  series.row_spacing_mm = 3;
  series.column_spacing_mm = 2;
  series.first_position = {-13, 18, 28};
  series.change = [=](DcmDataset& dataset, int64_t slice) {
    imaging::PutPet(dataset, slice);
    imaging::PutText(dataset, "SeriesInstanceUID", kPetSeriesUid);
    imaging::PutText(dataset, "SOPInstanceUID", absl::StrCat("2.25.7700", slice));
    imaging::PutText(dataset, "FrameOfReferenceUID", frame_of_reference);
  };
  return imaging::WriteTestSeries(series, folder);
}

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_TINY_MODEL_H_
