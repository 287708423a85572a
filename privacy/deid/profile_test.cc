#include "privacy/deid/profile.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "privacy/deid/descriptor_words.h"
#include "privacy/deid/safe_private.h"

namespace consilium::privacy {
namespace {

TEST(ProfileTest, ReadsBackToTheSameAndItsDigestNamesIt) {
  DeidProfile profile;
  profile.name = "export";
  profile.dates = DateOption::kRemove;
  profile.pixels = PixelPolicy::kBlackout;
  profile.hold_faces = true;
  profile.vocabulary = {"hippocampus", "b1500"};
  const auto again = ParseProfile(ProfileToYaml(profile));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ProfileToYaml(*again), ProfileToYaml(profile));
  EXPECT_EQ(ProfileDigest(*again), ProfileDigest(profile));
  EXPECT_NE(ProfileDigest(profile), ProfileDigest(DeidProfile()));
  EXPECT_EQ(ProfileDigest(profile).size(), 64u);
}

TEST(ProfileTest, WhatIsNotThereIsTheTrainingStore) {
  const auto profile = ParseProfile("dates: full\n");
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->dates, DateOption::kFull);
  EXPECT_TRUE(profile->clean_descriptors);
  EXPECT_FALSE(profile->retain_uids);
}

TEST(ProfileTest, RefusesWhatNobodyMeant) {
  for (const char* text : {"date: full\n", "dates: kept\n", "retain_uids: yes\n", "- a\n",
                           "dates: full\ndates: full\n", "vocabulary: [\"two words\"]\n",
                           "name: \"../x\"\n", "a: [\n", "{}\n---\n{}\n", "{,},", ""}) {
    EXPECT_EQ(ParseProfile(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_TRUE(absl::StrContains(ParseProfile("\ndate: full\n").status().message(), "line 2"));
}

std::vector<std::string> Codes(const DeidProfile& profile, PixelsCleaned pixels) {
  std::vector<std::string> codes;
  for (const MethodCode& code : MethodCodes(profile, pixels)) codes.emplace_back(code.code);
  return codes;
}

TEST(ProfileTest, NamesTheOptionsOfCid7050) {
  EXPECT_EQ(Codes(DeidProfile(), PixelsCleaned::kNo),
            (std::vector<std::string>{"113100", "113105", "113107", "113108", "113111"}));
  DeidProfile all;
  all.clean_graphics = all.clean_structured_content = all.retain_device_identity = true;
  all.retain_institution_identity = all.retain_uids = true;
  all.dates = DateOption::kFull;
  EXPECT_EQ(Codes(all, PixelsCleaned::kYes),
            (std::vector<std::string>{"113100", "113101", "113103", "113104", "113105", "113106",
                                      "113108", "113109", "113110", "113111", "113112"}));
}

TEST(DescriptorWordsTest, OnlyWordsOfTheVocabularyPass) {
  PatientTokens tokens;
  tokens.AddName("White^Anna");
  EXPECT_EQ(CleanDescriptor("T1_mprage sag, 3mm of Jones (MRN 44871203)", {}, tokens),
            "T1 mprage sag 3mm");
  EXPECT_EQ(CleanDescriptor("white matter 2019-04-01", {}, tokens), "matter 04 01");
  EXPECT_EQ(CleanDescriptor("M\xC3\xBCller Kopf", {"kopf"}, tokens), "Kopf");
  EXPECT_EQ(CleanDescriptor("", {}, tokens), "");
}

TEST(SafePrivateTest, MatchesByCreatorAndLowByteOnly) {
  const SafePrivate& table = SafePrivate::Get();
  EXPECT_EQ(table.rows(), 348u);
  EXPECT_TRUE(table.Allows("SIEMENS MR HEADER", 0x0019100C, "IS"));
  EXPECT_TRUE(table.Allows("SIEMENS MR HEADER", 0x0019420C, "IS"));
  EXPECT_FALSE(table.Allows("SIEMENS MR HEADER", 0x0019100C, "LO"));
  EXPECT_FALSE(table.Allows("SIEMENS MR HEADER ", 0x0019100C, "IS"));
  EXPECT_FALSE(table.Allows("ACME", 0x0019100C, "IS"));
  EXPECT_TRUE(table.MayAllow(0x0019420C));
  EXPECT_TRUE(table.MayAllow(0x00190010));
  EXPECT_FALSE(table.MayAllow(0x00131010));
}

}  // namespace
}  // namespace consilium::privacy
