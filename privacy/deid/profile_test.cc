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

TEST(ProfileTest, PlacesOfTextReadBackToTheSame) {
  const char* const text = R"(pixel_regions:
  - name: room-3
    modality: US
    manufacturer: ACME*
    model: Sono 5
    software: "4.*"
    image_type: [ORIGINAL, PRIMARY]
    rows: 600
    columns: 800
    top: 60
    left: 12
    blacken: [[700, 60, 100, 20]]
    keep: [[12, 60, 788, 540]]
  - {name: rear, sop_class: 1.2.840.10008.5.1.4.1.1.7, rows: 100, bottom: 9}
)";
  const auto profile = ParseProfile(text);
  ASSERT_TRUE(profile.ok()) << profile.status();
  ASSERT_EQ(profile->pixel_regions.size(), 2u);
  EXPECT_EQ(profile->pixel_regions[0].blacken[0], (PixelBox{60, 700, 20, 100}));
  EXPECT_EQ(profile->pixel_regions[1].bottom, 9);
  const auto again = ParseProfile(ProfileToYaml(*profile));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ProfileToYaml(*again), ProfileToYaml(*profile));
  EXPECT_NE(ProfileDigest(*profile), ProfileDigest(DeidProfile()));
}

TEST(ProfileTest, RefusesPlacesOfTextThatCannotBeMeantAndSaysWhy) {
  for (const auto& [rule, why] : std::vector<std::pair<std::string, std::string>>{
           {"{name: a, modality: US, row: 5, top: 2}", "pixel_regions[0].row"},
           {"{name: a, modality: US, row: 5, top: 2}", "use one of"},
           {"{modality: US, rows: 5, top: 2}", "pixel_regions[0].name"},
           {"{name: a, rows: 5, top: 2}", "matches every picture"},
           {"{name: a, modality: US, rows: 5}", "blackens nothing"},
           {"{name: a, modality: US, top: 2}", "give rows and columns"},
           {"{name: a, modality: US, rows: 5, left: 2}", "give rows and columns"},
           {"{name: a, modality: US, rows: 5, blacken: [[0, 0, 1, 1]]}", "give rows and columns"},
           {"{name: a, modality: US, rows: 5, top: 3, bottom: 3}", "more than the picture"},
           {"{name: a, modality: US, rows: 5, top: -1}", "0 to 65535"},
           {"{name: a, modality: US, rows: 4294967301, top: 1}", "0 to 65535"},
           {"{name: a, modality: US, rows: 5, columns: 5, blacken: [[3, 3, 3, 1]]}",
            "does not lie"},
           {"{name: a, modality: US, rows: 5, columns: 5, keep: [[0, 0, 0, 5]]}", "does not lie"},
           {"{name: a, modality: US, rows: 5, columns: 5, keep: [[0, 0, 5]]}", "[left, top,"},
           {"{name: \"a b\", modality: US, rows: 5, top: 1}", "letters, digits"},
           {"{name: a, modality: \"U\\n\", rows: 5, top: 1}", "without quotes"},
           {"{name: us-philips-cx50-600, modality: US, rows: 5, top: 1}", "another rule has it"},
           {"{name: ultrasound-regions, modality: US, rows: 5, top: 1}", "another rule has it"}}) {
    const absl::Status status = ParseProfile("pixel_regions: [" + rule + "]\n").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << rule;
    EXPECT_TRUE(absl::StrContains(status.message(), why)) << rule << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "line 1")) << status;
  }
  EXPECT_FALSE(ParseProfile("pixel_regions: {name: a}\n").ok());
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
