#include "site_agent/intake/image_labels.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/sample_cache.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

privacy::Deidentifier TestDeidentifier() {
  return privacy::Deidentifier::Create(
             {.site_key = privacy::SecretBytes(std::string(privacy::kSiteKeyBytes, 'k')),
              .profile = {}})
      .value();
}

absl::StatusOr<ImageLabelTable> Parse(absl::string_view csv) {
  LabelVocabulary vocabulary;
  vocabulary.names["tu"] = "Tumour";
  return ParseImageLabels(csv, vocabulary, TestDeidentifier());
}

TEST(ParseImageLabelsTest, RowsAreKeyedByPseudonymsAndNamesAreTheStudys) {
  const auto table =
      Parse("\xEF\xBB\xBFTU,PatientID,\"Cyst, any\"\r\n1,A-7,\r\n\r\n 0 ,\"B 8\",1\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->level, ImageLabelTable::Level::kPatient);
  const privacy::Deidentifier deidentifier = TestDeidentifier();
  EXPECT_THAT(table->rows,
              UnorderedElementsAre(
                  Pair(deidentifier.PatientPseudonym("A-7"), ElementsAre(Pair("Tumour", true))),
                  Pair(deidentifier.PatientPseudonym("B 8"),
                       ElementsAre(Pair("Cyst, any", true), Pair("Tumour", false)))));
  const auto series = Parse("SeriesInstanceUID,Cyst\n1.2.3,1");
  ASSERT_TRUE(series.ok()) << series.status();
  EXPECT_EQ(series->level, ImageLabelTable::Level::kSeries);
  EXPECT_EQ(series->rows.begin()->first, deidentifier.MapUid("1.2.3"));
}

TEST(ParseImageLabelsTest, RepeatedRowsMergeAndContradictionsAreNotKnown) {
  const auto table = Parse("PatientID,a,b,c\nX,1,0,\nX,0,0,1\nX,1,,\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->repeated, 2);
  EXPECT_EQ(table->conflicts, 1);
  ASSERT_EQ(table->rows.size(), 1u);
  EXPECT_THAT(table->rows.begin()->second, ElementsAre(Pair("b", false), Pair("c", true)));
}

TEST(ParseImageLabelsTest, WhatIsNoTableIsRefusedByPlaceAndWithoutItsValues) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "line 1"},
      {"Patient,a\nJANE,1\n", "line 1: needs one column of PatientID"},
      {"PatientID,StudyInstanceUID,a\n", "line 1: needs one column"},
      {"PatientID\nJANE\n", "no column of a label"},
      {"PatientID;a\nJANE;1\n", "line 1"},
      {"PatientID,a,A\n", "line 1, column 3: the label is there twice"},
      {"PatientID,a,\n", "line 1, column 3: a label's name"},
      {"PatientID,b\xC3\xA4\n", "line 1, column 2"},
      {absl::StrCat("PatientID,", std::string(65, 'a')), "line 1, column 2"},
      {absl::StrCat("PatientID", std::string(70, ',')), "line 1: too many columns"},
      {"PatientID,a\nJANE,yes\n", "line 2, column 2: must be 0, 1 or empty"},
      {"PatientID,a\nJANE,1,1\n", "line 2: has another number of columns"},
      {"PatientID,a\n\nJANE\n", "line 3: has another number of columns"},
      {"PatientID,a\n,1\n", "line 2, column 1: must have 1 to 64 bytes"},
      {"PatientID,a\n\"JANE,1\n", "line 2: a quotation mark is not closed"},
  };
  for (const auto& [csv, words] : cases) {
    const absl::Status status = Parse(csv).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << csv;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << csv;
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("JANE")));
  }
}

// Two patients, PHANTOM-1 and PHANTOM-2, with a series each.
class ImageLabelsTest : public testing::Test {
 protected:
  ImageLabelsTest() : dir_(TempDir::Create("image_labels").value()) {
    WriteSeries(Path("archive/a"));
    WriteOtherPatient(Path("archive/b"));
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  absl::StatusOr<IngestReport> Take(const std::string& csv) {
    IngestOptions options;
    options.image_labels = Path("labels.csv");
    EXPECT_TRUE(WriteFileAtomic(options.image_labels, csv).ok());
    return Ingest(Path("home"), {Path("archive")}, options, nullptr, nullptr);
  }
  std::vector<std::map<std::string, bool>> Known() {
    std::vector<std::map<std::string, bool>> known;
    const Catalog catalog = LoadCatalog(Path("home")).value();
    for (const CaseRecord& record : catalog.cases) {
      known.push_back(record.image_labels);
    }
    return known;
  }

  TempDir dir_;
};

TEST_F(ImageLabelsTest, GoIntoTheRecordsAtEveryLevel) {
  const char* const tables[] = {"PatientID,Tumour,Cyst\nPHANTOM-1,1,0\nPHANTOM-9,1,1\n",
                                "StudyInstanceUID,Tumour,Cyst\n2.25.11,1,0\n2.25.9,1,1\n",
                                "SeriesInstanceUID,Tumour,Cyst\n2.25.12,1,0\n2.25.9,1,1\n"};
  for (const char* const csv : tables) {
    std::filesystem::remove_all(Path("home"));
    const auto report = Take(csv);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_TRUE(report->image_labels.has_value());
    EXPECT_EQ(report->image_labels->rows, 2);
    EXPECT_EQ(report->image_labels->unknown, 1);
    EXPECT_EQ(report->image_labels->cases, 1);
    EXPECT_THAT(report->image_labels->by_label,
                ElementsAre(Pair("Cyst", (std::array<int64_t, 2>{1, 0})),
                            Pair("Tumour", (std::array<int64_t, 2>{0, 1}))));
    EXPECT_THAT(Known(),
                UnorderedElementsAre(testing::IsEmpty(),
                                     ElementsAre(Pair("Cyst", false), Pair("Tumour", true))));
    EXPECT_THAT(IngestToJson(*report), HasSubstr(R"("Tumour":{"absent":0,"present":1})"));
  }
  bool is_shown = false;
  for (const auto& row : CatalogTable(*LoadCatalog(Path("home")))) {
    is_shown |= row.back() == "no Cyst, Tumour";
  }
  EXPECT_TRUE(is_shown);
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* identity : {"PHANTOM-1", "PHANTOM-9", "2.25.12"}) {
    EXPECT_EQ(all.find(std::string(identity) + "\""), std::string::npos) << identity;
    EXPECT_EQ(all.find(std::string(identity) + ","), std::string::npos) << identity;
  }
}

TEST_F(ImageLabelsTest, ALaterTableCorrectsAndKeepsWhatItDoesNotSpeakOf) {
  ASSERT_TRUE(Take("PatientID,Tumour,Cyst\nPHANTOM-1,1,0\n").ok());
  const auto report = Take("PatientID,Tumour,Stone\nPHANTOM-1,0,1\n");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->already_in_store, 2);
  EXPECT_EQ(report->image_labels->changed, 1);
  EXPECT_THAT(Known(), testing::Contains(ElementsAre(Pair("Cyst", false), Pair("Stone", true),
                                                     Pair("Tumour", false))));
}

TEST_F(ImageLabelsTest, ATableThatCannotBeReadTakesNothingIn) {
  EXPECT_TRUE(absl::IsInvalidArgument(Take("PatientID,Tumour\nPHANTOM-1,maybe\n").status()));
  EXPECT_TRUE(LoadCatalog(Path("home"))->cases.empty());
}

TEST_F(ImageLabelsTest, PreparedCasesStayValid) {
  ASSERT_TRUE(Take("PatientID,Tumour\nPHANTOM-1,1\n").ok());
  auto cache = SampleCache::Open({.home = Path("home"), .plan = TestPlan()});
  const auto load_all = [&] {
    const Cohort cohort = SelectCohort(*LoadCatalog(Path("home")), TestPlan()).value();
    for (const CohortCase& item : cohort.cases) {
      const auto loaded = cache->Load(item);
      EXPECT_TRUE(loaded.ok()) << loaded.status();
    }
  };
  load_all();
  ASSERT_TRUE(Take("PatientID,Tumour\nPHANTOM-1,0\nPHANTOM-2,1\n").ok());
  const Catalog catalog = LoadCatalog(Path("home")).value();
  for (const CaseRecord& record : catalog.cases) {
    std::filesystem::remove_all(JoinPath(CaseFolder(Path("home"), record.case_id), "image"));
  }
  load_all();
}

}  // namespace
}  // namespace consilium::agent
