#include "privacy/deid/tag_policy.h"

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

// The table with modified dates and no other option.
DeidProfile Basic() {
  DeidProfile profile;
  profile.clean_descriptors = profile.retain_patient_characteristics = false;
  profile.retain_safe_private = false;
  return profile;
}

Action For(uint32_t tag, const char* vr, int depth = 0, const DeidProfile& profile = Basic()) {
  return TagPolicy::Get().ActionFor(tag, vr, depth, profile);
}

TEST(TagPolicyTest, TheTableIsWhole) { EXPECT_EQ(TagPolicy::Get().rows(), 617u); }

TEST(TagPolicyTest, FollowsTheTable) {
  EXPECT_EQ(For(0x00100010, "PN"), Action::kPseudonym);
  EXPECT_EQ(For(0x00100030, "DA"), Action::kEmpty);       // PatientBirthDate: not shifted
  EXPECT_EQ(For(0x00080020, "DA"), Action::kShiftDate);   // StudyDate
  EXPECT_EQ(For(0x00080030, "TM"), Action::kKeepTime);
  EXPECT_EQ(For(0x00081030, "LO"), Action::kRemove);      // StudyDescription
  EXPECT_EQ(For(0x0020000D, "UI"), Action::kMapUid);
  EXPECT_EQ(For(0x00080080, "LO"), Action::kDummy);       // InstitutionName, X/Z/D
  EXPECT_EQ(For(0x00082112, "SQ"), Action::kRecurse);     // SourceImageSequence, X/Z/U*
  EXPECT_EQ(For(0x00400275, "SQ"), Action::kRemove);      // RequestAttributesSequence
  EXPECT_EQ(For(0x00400555, "SQ"), Action::kEmpty);       // AcquisitionContextSequence: type 2
}

TEST(TagPolicyTest, OptionsKeepWhatTheirColumnSays) {
  DeidProfile profile = Basic();
  profile.clean_descriptors = true;
  EXPECT_EQ(For(0x00081030, "LO", 0, profile), Action::kDescriptor);  // StudyDescription
  EXPECT_EQ(For(0x00400275, "SQ", 0, profile), Action::kRecurse);     // RequestAttributesSequence
  EXPECT_EQ(For(0x00080050, "SH", 0, profile), Action::kEmpty);       // AccessionNumber
  profile = Basic();
  profile.retain_patient_characteristics = true;
  EXPECT_EQ(For(0x00101010, "AS", 0, profile), Action::kKeepAge);
  EXPECT_EQ(For(0x00101030, "DS", 0, profile), Action::kKeepNumber);
  EXPECT_EQ(For(0x00100030, "DA", 0, profile), Action::kEmpty);  // no option keeps a birthday
  profile = Basic();
  profile.retain_uids = true;
  EXPECT_EQ(For(0x0020000D, "UI", 0, profile), Action::kKeepText);
  profile = Basic();
  profile.retain_device_identity = true;
  EXPECT_EQ(For(0x00181000, "LO", 0, profile), Action::kKeepText);  // DeviceSerialNumber
  EXPECT_EQ(For(0x00080080, "LO", 0, profile), Action::kDummy);     // InstitutionName
  profile = Basic();
  profile.retain_institution_identity = true;
  EXPECT_EQ(For(0x00080080, "LO", 0, profile), Action::kKeepText);
  profile = Basic();
  profile.dates = DateOption::kFull;
  EXPECT_EQ(For(0x00080020, "DA", 0, profile), Action::kKeepDate);
  profile.dates = DateOption::kRemove;
  EXPECT_EQ(For(0x00080020, "DA", 0, profile), Action::kEmpty);   // StudyDate: Z
  EXPECT_EQ(For(0x00080022, "DA", 0, profile), Action::kEmpty);   // AcquisitionDate: X/Z
  profile = Basic();
  profile.clean_structured_content = true;
  EXPECT_EQ(For(0x0040A730, "SQ", 0, profile), Action::kRecurse);  // ContentSequence
  profile.clean_structured_content = false;
  EXPECT_EQ(For(0x0040A730, "SQ", 0, profile), Action::kEmpty);
}

TEST(TagPolicyTest, WhatTheTableDoesNotListIsDeniedWhereItIsText) {
  EXPECT_EQ(For(0x00204002, "LO"), Action::kRemoveUnlisted);
  EXPECT_EQ(For(0x00189999, "UT"), Action::kRemoveUnlisted);
  EXPECT_EQ(For(0x00189998, "OB"), Action::kRemoveUnlisted);
  EXPECT_EQ(For(0x00189998, "UN"), Action::kRemoveUnlisted);
  EXPECT_EQ(For(0x00620005, "LO"), Action::kScrubText);  // SegmentLabel
  EXPECT_EQ(For(0x00189087, "FD"), Action::kKeepBinary);
  EXPECT_EQ(For(0x00180081, "DS"), Action::kKeepNumber);
}

TEST(TagPolicyTest, GroupsThatGoWhole) {
  EXPECT_EQ(For(0x00291010, "LO"), Action::kRemovePrivate);
  EXPECT_EQ(For(0x60000010, "US"), Action::kRemove);
  EXPECT_EQ(For(0x60023000, "OW"), Action::kRemove);
  EXPECT_EQ(For(0x50000030, "SH"), Action::kRemove);
  EXPECT_EQ(For(0xFFFCFFFC, "OB"), Action::kRemove);
  EXPECT_EQ(For(0x7FE00010, "OW", 1), Action::kRemove);  // pixels inside a sequence: an icon
}

TEST(TagPolicyTest, AnotherVrThanTheTablesIsNotTrusted) {
  EXPECT_EQ(For(0x00080020, "LO"), Action::kEmpty);
  EXPECT_EQ(For(0x00081030, "OB"), Action::kRemove);
}

TEST(TagPolicyTest, OnlyUidsOfKindsStay) {
  EXPECT_TRUE(KeepsUid(0x00080016, "1.2.840.10008.5.1.4.1.1.4"));  // MR Image Storage
  EXPECT_TRUE(KeepsUid(0x00083002, "1.2.840.10008.1.2.1"));        // Explicit Little Endian
  EXPECT_FALSE(KeepsUid(0x00081150, "1.3.12.2.1107.5.9.1"));       // a private SOP class
  EXPECT_FALSE(KeepsUid(0x00081150, "1.2.840.10008.6068167"));     // an identifier in disguise
  for (const uint32_t instance : {0x00080018, 0x0020000D, 0x0020000E, 0x00200052}) {
    EXPECT_FALSE(KeepsUid(instance, "1.2.840.10008.6068167"));
    EXPECT_FALSE(KeepsUid(instance, "1.2.840.10008.5.1.4.1.1.4"));
  }
  EXPECT_FALSE(KeepsUid(0x00081150, "Okafor"));
}

TEST(TagPolicyTest, RefusesAnotherTable) {
  EXPECT_FALSE(TagPolicy::Parse("tag,keyword\n").ok());
  EXPECT_FALSE(TagPolicy::Parse("").ok());
}

}  // namespace
}  // namespace consilium::privacy
