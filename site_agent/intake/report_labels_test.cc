#include "site_agent/intake/report_labels.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class ReportLabelsTest : public testing::Test {
 protected:
  ReportLabelsTest() : dir_(TempDir::Create("report_labels").value()) {
    WriteSeries(Path("archive/a"));
    options_.vocabulary =
        ParseLabelVocabulary("findings: {\"SCT:126851005\": Tumour, \"SCT:12494005\": Cyst}")
            .value();
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  IngestReport Take() {
    const auto report = Ingest(Path("home"), {Path("archive")}, options_, nullptr, nullptr);
    EXPECT_TRUE(report.ok()) << report.status();
    return *report;
  }
  std::map<std::string, bool> Known() {
    const Catalog catalog = LoadCatalog(Path("home")).value();
    return catalog.cases.at(0).image_labels;
  }

  TempDir dir_;
  IngestOptions options_;
};

TEST_F(ReportLabelsTest, FindingsOfTheVocabularyGoToTheStudysCases) {
  imaging::WriteTestReport(
      {{"DCM:121071", "SCT:126851005"}, {"SCT:12494005", "SCT:2667000"}, {"DCM:121071", "SCT:999"}},
      Path("archive/sr.dcm"));
  const IngestReport report = Take();
  EXPECT_EQ(report.cases_added, 1);
  EXPECT_EQ(report.reports.reports, 1);
  ASSERT_TRUE(report.report_labels.has_value());
  EXPECT_EQ(report.report_labels->cases, 1);
  EXPECT_THAT(Known(), ElementsAre(Pair("Cyst", false), Pair("Tumour", true)));
  EXPECT_THAT(IngestToJson(report), HasSubstr(R"("reports":{"not_plain":0,"read":1)"));
}

TEST_F(ReportLabelsTest, ContradictionsAreNotKnownAndPeopleCountMore) {
  imaging::WriteTestReport({{"DCM:121071", "SCT:126851005"},
                            {"SCT:126851005", "SCT:2667000"},
                            {"DCM:121071", "SCT:12494005"}},
                           Path("archive/sr.dcm"));
  EXPECT_EQ(Take().report_labels->conflicts, 1);
  EXPECT_THAT(Known(), ElementsAre(Pair("Cyst", true)));
  options_.image_labels = Path("labels.csv");
  ASSERT_TRUE(WriteFileAtomic(options_.image_labels, "StudyInstanceUID,Cyst\n2.25.11,0\n").ok());
  EXPECT_EQ(Take().image_labels->changed, 1);
  EXPECT_THAT(Known(), ElementsAre(Pair("Cyst", false)));
}

TEST_F(ReportLabelsTest, WithoutAVocabularyNoReportIsRead) {
  imaging::WriteTestReport({{"DCM:121071", "SCT:126851005"}}, Path("archive/sr.dcm"));
  options_.vocabulary = {};
  EXPECT_FALSE(Take().report_labels.has_value());
  EXPECT_TRUE(Known().empty());
}

TEST_F(ReportLabelsTest, AnUnverifiedReportIsCountedWithItsReason) {
  imaging::WriteTestReport(
      {{"DCM:121071", "SCT:126851005"}}, Path("archive/sr.dcm"),
      [](DcmDataset& dataset) { imaging::PutText(dataset, "VerificationFlag", "UNVERIFIED"); });
  EXPECT_THAT(Take().reports.set_aside, ElementsAre(Pair("a report that nobody has verified", 1)));
  EXPECT_TRUE(Known().empty());
}

TEST(LabelVocabularyTest, FindingsAreCodesOfAScheme) {
  EXPECT_FALSE(ParseLabelVocabulary("findings: {Tumour: Tumour}").ok());
  EXPECT_FALSE(ParseLabelVocabulary("findings: {\"SCT:1\": \"\"}").ok());
}

}  // namespace
}  // namespace consilium::agent
