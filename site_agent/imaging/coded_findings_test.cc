#include "site_agent/imaging/coded_findings.h"

#include <functional>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

constexpr const char* kFinding = "DCM:121071";
constexpr const char* kTumour = "SCT:126851005";
constexpr const char* kCyst = "SCT:12494005";
constexpr const char* kAbsent = "SCT:2667000";

absl::StatusOr<CodedFindings> Read(const std::vector<TestFinding>& findings,
                                   const std::function<void(DcmDataset&)>& change = {}) {
  const TempDir folder = TempDir::Create("report").value();
  const std::string path = JoinPath(folder.path(), "sr.dcm");
  WriteTestReport(findings, path, change);
  return ReadCodedFindings(path);
}

TEST(CodedFindingsTest, FindingsAndQualifiersAreTaken) {
  const auto read = Read({{kFinding, kTumour},
                          {kCyst, kAbsent},
                          {"99HOUSE:7", "SCT:373066001"},
                          {kFinding, kCyst, "DCM:121070"},
                          {kTumour, "SCT:373067005", "DCM:126010"}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->study_uid, "2.25.11");
  EXPECT_EQ(read->not_plain, 0);
  EXPECT_EQ(
      read->findings,
      (std::vector<CodedFinding>{
          {kTumour, true}, {kCyst, false}, {"99HOUSE:7", true}, {kCyst, true}, {kTumour, false}}));
}

TEST(CodedFindingsTest, WhatMayMeanSomethingElseIsNot) {
  const auto read = Read({{kFinding, kTumour, "", kAbsent},  // a finding, modified
                          {kCyst, kAbsent, "", "SCT:2931005"},
                          {kFinding, kAbsent},                // absent what?
                          {kFinding, kTumour, "LN:11329-0"},  // history
                          {kFinding, kTumour, "DCM:121072"},  // impressions
                          {"DCM:121074", kTumour}});          // recommendation
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->findings.empty());
  EXPECT_EQ(read->not_plain, 3);
}

TEST(CodedFindingsTest, ReportsThatAreNotDoneOrNotOfOneStudyAreRefused) {
  const struct {
    const char* reason;
    std::function<void(DcmDataset&)> change;
  } cases[] = {
      {"not a structured report",
       [](DcmDataset& d) { PutText(d, "SOPClassUID", UID_MRImageStorage); }},
      {"a report that is not complete",
       [](DcmDataset& d) { PutText(d, "CompletionFlag", "PARTIAL"); }},
      {"a report that nobody has verified",
       [](DcmDataset& d) { PutText(d, "VerificationFlag", "UNVERIFIED"); }},
      {"a report without a study", [](DcmDataset& d) { PutText(d, "StudyInstanceUID", ""); }},
      {"a report on more than its own study",
       [](DcmDataset& d) { PutText(d, "StudyInstanceUID", "2.25.12"); }},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Read({{kFinding, kTumour}}, c.change).status().message(), c.reason);
  }
}

TEST(CodedFindingsTest, ReportsOfTheCorpusAreReadOrRefused) {
  const std::string folder = CONSILIUM_SHARED_DIR "/data/dicom-corpus/sr";
  if (!PathExists(folder)) GTEST_SKIP() << "no shared data";
  for (const std::string& path : FilesBelow(folder)) {
    const auto read = ReadCodedFindings(path);
    if (read.ok()) continue;
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << read.status();
  }
}

}  // namespace
}  // namespace consilium::imaging
