#include "site_agent/intake/cohort.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "site_agent/intake/fingerprint.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

CaseRecord Case(int number) {
  CaseRecord record;
  record.case_id = absl::StrFormat("%012d", number);
  record.patient = absl::StrCat("C", number);
  record.modality = "MR";
  record.attributes = {{"ImageType", {"ORIGINAL", "PRIMARY", "M"}}, {"SliceThickness", {"1.5"}}};
  record.geometry.size_xyz = {30, 40, 50};
  record.segment_labels = {"anterior", "POSTERIOR"};
  return record;
}

Catalog CatalogOf(int count) {
  Catalog catalog;
  for (int i = 0; i < count; ++i) catalog.cases.push_back(Case(i));
  return catalog;
}

bool Fits(const std::string& keyword, const std::string& condition) {
  wire::Plan plan = TestPlan();
  plan.series_rules = {{keyword, condition}};
  const auto cohort = SelectCohort(CatalogOf(1), plan);
  EXPECT_TRUE(cohort.ok()) << cohort.status();
  return cohort.ok() && cohort->cases.size() == 1;
}

TEST(CohortTest, RulesMeanWhatThePlanSays) {
  EXPECT_TRUE(Fits("ImageType", "!LOCALIZER"));
  EXPECT_FALSE(Fits("ImageType", "!PRIMARY"));
  EXPECT_TRUE(Fits("ImageType", "PRIMARY"));
  EXPECT_FALSE(Fits("ImageType", "DERIVED"));
  EXPECT_TRUE(Fits("SliceThickness", "<= 1.5"));
  EXPECT_FALSE(Fits("SliceThickness", "< 1.5"));
  EXPECT_TRUE(Fits("SliceThickness", ">= 1.5"));
  EXPECT_FALSE(Fits("SliceThickness", "> 1.5"));
  EXPECT_TRUE(Fits("SliceThickness", ">1"));
  EXPECT_FALSE(Fits("EchoTime", "<= 5"));  // not known is not met
  EXPECT_TRUE(Fits("EchoTime", "!5"));
}

TEST(CohortTest, RefusesRulesThatCannotBeRead) {
  for (const auto& [keyword, condition] : std::vector<std::pair<std::string, std::string>>{
           {"SliceThickness", "<= many"}, {"SliceThickness", "<"}, {"ImageType", "!"},
           {"ImageType", ""}}) {
    wire::Plan plan = TestPlan();
    plan.series_rules = {{keyword, condition}};
    EXPECT_TRUE(absl::IsInvalidArgument(SelectCohort(CatalogOf(1), plan).status())) << condition;
  }
}

TEST(CohortTest, SaysWhyACaseIsOutAndKeepsUnlabelledOnes) {
  Catalog catalog = CatalogOf(4);
  catalog.cases[0].modality = "CT";
  catalog.cases[1].attributes["SliceThickness"] = {"5"};
  catalog.cases[2].segment_labels = {"Anterior"};
  catalog.damaged = {"ffffffffffff"};
  wire::Plan plan = TestPlan();
  plan.series_rules = {{"SliceThickness", "<= 3"}};
  const auto cohort = SelectCohort(catalog, plan);
  ASSERT_TRUE(cohort.ok());
  ASSERT_EQ(cohort->cases.size(), 2u);
  EXPECT_FALSE(cohort->cases[0].labelled);  // one of two labels
  EXPECT_TRUE(cohort->cases[1].labelled);
  ASSERT_EQ(cohort->rejected.size(), 3u);
  EXPECT_EQ(cohort->rejected[0].reason, "modality is not MR");
  EXPECT_EQ(cohort->rejected[1].reason, "SliceThickness: is not <= 3");
}

TEST(CohortTest, ValidationIsSomePatientsButNeverFewCases) {
  wire::Plan plan = TestPlan();
  plan.training.local_validation_fraction = 0.2;
  EXPECT_EQ(SelectCohort(CatalogOf(4), plan)->validation(), 0);
  EXPECT_GE(SelectCohort(CatalogOf(5), plan)->validation(), 1);
  EXPECT_NEAR(static_cast<double>(SelectCohort(CatalogOf(1000), plan)->validation()), 200, 40);
  plan.training.local_validation_fraction = 0.01;
  EXPECT_EQ(SelectCohort(CatalogOf(5), plan)->validation(), 1);
  plan.training.local_validation_fraction = 0;
  EXPECT_EQ(SelectCohort(CatalogOf(50), plan)->validation(), 0);
  plan.training.local_validation_fraction = 0.9;
  EXPECT_LT(SelectCohort(CatalogOf(5), plan)->validation(), 5);
  Catalog one_patient = CatalogOf(6);
  for (CaseRecord& record : one_patient.cases) record.patient = "C0";
  EXPECT_EQ(SelectCohort(one_patient, plan)->validation(), 0);
}

TEST(CohortTest, CasesThatJoinLaterMoveNobodyFromTrainingToValidation) {
  for (const double fraction : {0.02, 0.2, 0.5}) {
    wire::Plan plan = TestPlan();
    plan.training.local_validation_fraction = fraction;
    std::set<std::string> trained;
    for (int count = 5; count <= 120; ++count) {
      const auto cohort = SelectCohort(CatalogOf(count), plan);
      ASSERT_TRUE(cohort.ok());
      EXPECT_GE(cohort->validation(), 1);
      for (const CohortCase& item : cohort->cases) {
        if (item.role == CaseRole::kTraining) {
          trained.insert(item.record.case_id);
        } else {
          EXPECT_FALSE(trained.contains(item.record.case_id)) << count << " cases, " << fraction;
        }
      }
    }
  }
}

TEST(CohortTest, UnlabelledCasesOfAHeldOutPatientAreNotTrainedOn) {
  Catalog catalog = CatalogOf(60);
  for (size_t i = 0; i < 60; ++i) {
    catalog.cases[i].patient = absl::StrCat("C", i / 2);
    if (i % 2 == 1) catalog.cases[i].segment_labels.clear();
  }
  const auto cohort = SelectCohort(catalog, TestPlan());
  ASSERT_TRUE(cohort.ok());
  for (size_t i = 0; i < 60; i += 2) EXPECT_EQ(cohort->cases[i].role, cohort->cases[i + 1].role);
}

TEST(CohortTest, APatientIsOnOneSideAndTheSplitRepeats) {
  Catalog catalog = CatalogOf(60);
  for (int i = 0; i < 60; ++i) catalog.cases[i].patient = absl::StrCat("C", i / 3);
  wire::Plan plan = TestPlan();
  const auto first = SelectCohort(catalog, plan), second = SelectCohort(catalog, plan);
  ASSERT_TRUE(first.ok());
  std::set<std::string> training, validation;
  for (size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(first->cases[i].role, second->cases[i].role);
    const bool held = first->cases[i].role == CaseRole::kValidation;
    (held ? validation : training).insert(first->cases[i].record.patient);
  }
  for (const std::string& patient : validation) EXPECT_FALSE(training.contains(patient));
  EXPECT_FALSE(validation.empty());
}

TEST(FingerprintTest, UsesPatientAxesAndTravelsAsJson) {
  Catalog catalog = CatalogOf(3);
  // Sagittal: columns along y, rows along z, slices along x.
  catalog.cases[2].geometry.direction = {0, 0, 1, 1, 0, 0, 0, -1, 0};
  catalog.cases[2].geometry.size_xyz = {40, 50, 30};
  catalog.cases[2].geometry.spacing_xyz_mm = {1, 1, 4};
  const auto cohort = SelectCohort(catalog, TestPlan());
  ASSERT_TRUE(cohort.ok());
  const Fingerprint fingerprint = FingerprintOf(*cohort);
  EXPECT_EQ(fingerprint.cases, 3);
  EXPECT_EQ(fingerprint.labelled, 3);
  EXPECT_EQ(fingerprint.size_median_xyz, (std::array<double, 3>{30, 40, 50}));
  EXPECT_EQ(fingerprint.spacing_max_xyz_mm, (std::array<double, 3>{4, 1, 1}));
  EXPECT_EQ(fingerprint.spacing_median_xyz_mm, (std::array<double, 3>{1, 1, 1}));
  EXPECT_EQ(FingerprintFromJson(FingerprintToJson(fingerprint)).value(), fingerprint);
  EXPECT_FALSE(FingerprintFromJson("{}").ok());
  EXPECT_FALSE(FingerprintFromJson("[1").ok());
  EXPECT_EQ(FingerprintOf(Cohort()), Fingerprint());
}

TEST(CatalogTest, RecordsTravelAsJson) {
  const CaseRecord record = Case(7);
  const auto back = CaseFromJson(CaseToJson(record));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(CaseToJson(*back), CaseToJson(record));
  EXPECT_FALSE(CaseFromJson("{}").ok());
  EXPECT_FALSE(CaseFromJson("").ok());
  EXPECT_FALSE(CaseFromJson("{\"format\":\"x\"}").ok());
}

}  // namespace
}  // namespace consilium::agent
