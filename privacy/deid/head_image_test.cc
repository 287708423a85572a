#include "privacy/deid/head_image.h"

#include <cstdint>
#include <string>
#include <vector>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

struct Said {
  DcmTagKey key;
  const char* value;
};

bool Decides(const DcmTagKey& key) {
  return DecidesAboutFace(static_cast<uint32_t>(key.getGroup()) << 16 | key.getElement());
}

// Of what is looked at alone, as a file's header is parsed for it.
bool Risky(const std::vector<Said>& header) {
  DcmDataset dataset;
  for (const Said& said : header) {
    if (!Decides(said.key)) continue;
    EXPECT_TRUE(dataset.putAndInsertString(said.key, said.value).good());
  }
  return FaceRisk(dataset) != nullptr;
}

TEST(HeadImageTest, WhateverNamesTheHeadCounts) {
  for (const Said& said : std::vector<Said>{{DCM_BodyPartExamined, "HEAD"},
                                            {DCM_BodyPartExamined, "HEADNECK"},
                                            {DCM_BodyPartExamined, "WHOLEBODY"},
                                            {DCM_StudyDescription, "MRI Brain w/o contrast"},
                                            {DCM_SeriesDescription, "t1_mpr_CRANIUM"},
                                            {DCM_ProtocolName, "Kopf^Routine"}}) {
    EXPECT_TRUE(Risky({said})) << said.value;
    EXPECT_TRUE(Risky({said, {DCM_StudyID, "CHEST"}})) << said.value;
  }
  // A wrong body part does not hide what the description says.
  EXPECT_TRUE(Risky({{DCM_BodyPartExamined, "CHEST"}, {DCM_SeriesDescription, "brain ax"}}));
}

TEST(HeadImageTest, WhatNamesAnotherPartDoesNotAndWhatNamesNoneDoes) {
  for (const Said& said : std::vector<Said>{{DCM_BodyPartExamined, "CHEST"},
                                            {DCM_BodyPartExamined, "KNEE"},
                                            {DCM_StudyDescription, "CT Abdomen + Pelvis"},
                                            {DCM_ProtocolName, "knee_sag"}}) {
    EXPECT_FALSE(Risky({said})) << said.value;
  }
  EXPECT_TRUE(Risky({}));
  EXPECT_TRUE(Risky({{DCM_SeriesDescription, "t1_mpr_sag"}}));
}

TEST(HeadImageTest, CodesOfTheRegionCount) {
  EXPECT_TRUE(Decides(DCM_AnatomicRegionSequence));
  for (const auto& [code, risky] : std::vector<std::pair<const char*, bool>>{
           {"69536005", true}, {"T-A0100", true}, {"51185008", false}}) {  // head, brain, thorax
    DcmDataset dataset;
    DcmItem* region = nullptr;
    ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_AnatomicRegionSequence, region).good());
    ASSERT_TRUE(region->putAndInsertString(DCM_CodeValue, code).good());
    EXPECT_EQ(FaceRisk(dataset) != nullptr, risky) << code;
  }
}

TEST(HeadImageTest, CoarseVoxelsShowNoFace) {
  const Said head{DCM_BodyPartExamined, "HEAD"}, fine{DCM_PixelSpacing, "0.5\\0.5"};
  EXPECT_TRUE(Risky({head, fine}));
  EXPECT_TRUE(Risky({head, fine, {DCM_SliceThickness, "1"}}));
  EXPECT_FALSE(Risky({head, fine, {DCM_SliceThickness, "5"}}));
  EXPECT_TRUE(Risky({head, fine, {DCM_SliceThickness, "5"}, {DCM_SpacingBetweenSlices, "1"}}));
  EXPECT_FALSE(Risky({head, {DCM_PixelSpacing, "0.5\\4"}, {DCM_SliceThickness, "1"}}));
}

TEST(HeadImageTest, EnhancedImagesSayItInTheirFunctionalGroups) {
  EXPECT_TRUE(Decides(DCM_SharedFunctionalGroupsSequence));
  EXPECT_TRUE(Decides(DCM_PerFrameFunctionalGroupsSequence));
  for (const auto& [thickness, risky] :
       std::vector<std::pair<const char*, bool>>{{"1", true}, {"6", false}}) {
    DcmDataset dataset;
    DcmItem *group = nullptr, *measures = nullptr;
    ASSERT_TRUE(dataset.putAndInsertString(DCM_BodyPartExamined, "BRAIN").good());
    ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, group).good());
    ASSERT_TRUE(group->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, measures).good());
    ASSERT_TRUE(measures->putAndInsertString(DCM_PixelSpacing, "1\\1").good());
    ASSERT_TRUE(measures->putAndInsertString(DCM_SliceThickness, thickness).good());
    EXPECT_EQ(FaceRisk(dataset) != nullptr, risky);
  }
}

}  // namespace
}  // namespace consilium::privacy
