// Who may be used, from the archive to the cohort; and what is kept of what was found.
#include <filesystem>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/deidentify_folder.h"
#include "site_agent/intake/findings.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/inventory.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

constexpr const char* kAda = "PHANTOM-1";  // of WriteSeries

class PatientIntakeTest : public testing::Test {
 protected:
  PatientIntakeTest() : dir_(TempDir::Create("patient_intake_test").value()), home_(Path("home")) {
    WriteLabel(WriteSeries(Path("archive/a")), Path("archive/a"));
    WriteOtherPatient(Path("archive/b"));
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  std::string Pseudonym(const std::string& id) const {
    return SiteNames(home_).value().PatientPseudonym(id);
  }
  void Mark(const std::string& id, PatientMark mark) {
    ASSERT_TRUE(UpdateRegister(home_, [&](PatientRegister& patients) {
                  patients.Set(Pseudonym(id), mark);
                  return absl::OkStatus();
                }).ok());
  }
  void SetPolicy(PatientPolicy policy) {
    ASSERT_TRUE(UpdateRegister(home_, [&](PatientRegister& patients) {
                  patients.set_policy(policy);
                  return absl::OkStatus();
                }).ok());
  }
  IngestReport Run() {
    auto report = Ingest(home_, {Path("archive")}, {}, nullptr, nullptr);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : IngestReport();
  }
  Inventory Take() { return TakeInventory(home_, LoadCatalog(home_).value()).value(); }

  TempDir dir_;
  std::string home_;
};

TEST_F(PatientIntakeTest, OptedOutPatientsAreNotTakenInAndTheOthersAre) {
  Mark(kAda, PatientMark::kOptedOut);
  const IngestReport report = Run();
  EXPECT_EQ(report.cases_added, 1);
  EXPECT_EQ(report.deid.files, 6);
  EXPECT_EQ(report.rejected.at(RejectReason::kOptedOut).series, 1);
  EXPECT_EQ(report.rejected.at(RejectReason::kOptedOut).files, 7);
  const Catalog catalog = LoadCatalog(home_).value();
  ASSERT_EQ(catalog.cases.size(), 1u);
  EXPECT_NE(catalog.cases[0].patient, Pseudonym(kAda));
  // Of her nothing is kept but two numbers.
  const PatientFindings kept = FindingsOf(home_, Pseudonym(kAda));
  EXPECT_TRUE(kept.series.empty());
  EXPECT_EQ(kept.withheld, "opted_out");
  EXPECT_EQ(kept.withheld_files, 7);
}

TEST_F(PatientIntakeTest, WhoOptsOutLaterIsSetAsideInTheStore) {
  Run();
  Catalog catalog = LoadCatalog(home_).value();
  ASSERT_EQ(catalog.cases.size(), 2u);
  Mark(kAda, PatientMark::kOptedOut);
  EXPECT_EQ(RemoveWithheld(home_, catalog).value(), 1);
  ASSERT_EQ(catalog.cases.size(), 1u);
  EXPECT_NE(catalog.cases[0].patient, Pseudonym(kAda));
  const Inventory inventory = Take();
  EXPECT_EQ(inventory.used(), 1);
  EXPECT_EQ(inventory.by_reason.at("opted_out"), 1);
  EXPECT_EQ(inventory.marks.at("opted_out"), 1);
}

TEST_F(PatientIntakeTest, WithoutConsentNobodyIsTakenWhereTheSiteWantsOne) {
  SetPolicy(PatientPolicy::kConsented);
  Mark(kAda, PatientMark::kConsented);
  const IngestReport report = Run();
  EXPECT_EQ(report.cases_added, 1);
  EXPECT_EQ(report.cases_added_labelled, 1);
  EXPECT_EQ(report.rejected.at(RejectReason::kNoConsent).files, 6);
  Mark(kAda, PatientMark::kOptedOut);  // the consent is withdrawn
  Catalog catalog = LoadCatalog(home_).value();
  EXPECT_EQ(RemoveWithheld(home_, catalog).value(), 1);
}

TEST_F(PatientIntakeTest, AMarkCountsForAnIngestThatIsRunning) {
  bool marked = false;
  const auto report = Ingest(
      home_, {Path("archive")}, {},
      [&](int64_t done, int64_t total) {
        if (marked || done * 2 < total) return;  // the index is made
        marked = true;
        Mark(kAda, PatientMark::kOptedOut);
      },
      nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(marked);
  EXPECT_TRUE(report->rejected.contains(RejectReason::kOptedOut));
}

TEST_F(PatientIntakeTest, FilesWithoutAPatientIdGoByTheirStudy) {
  PatchFiles(FilesBelowFolder(Path("archive/a")), {{"PHANTOM-1 ", "          "}});
  const IngestReport first = Run();
  ASSERT_EQ(first.cases_added, 2) << IngestToJson(first);
  Catalog catalog = LoadCatalog(home_).value();
  for (const CaseRecord& record : catalog.cases) EXPECT_NE(record.patient, Pseudonym(kAda));
  // The register knows every patient of the store by the name that the store has.
  ASSERT_TRUE(UpdateRegister(home_, [&](PatientRegister& patients) {
                for (const CaseRecord& record : catalog.cases) {
                  patients.Set(record.patient, PatientMark::kOptedOut);
                }
                return absl::OkStatus();
              }).ok());
  const IngestReport second = Run();
  EXPECT_EQ(second.already_in_store, 0);
  EXPECT_EQ(second.rejected.at(RejectReason::kOptedOut).series, 2);
}

TEST_F(PatientIntakeTest, ADamagedRegisterStopsTheIntake) {
  Mark(kAda, PatientMark::kOptedOut);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home_, "patients.json"), "{", kPrivateFile).ok());
  const auto report = Ingest(home_, {Path("archive")}, {}, nullptr, nullptr);
  EXPECT_TRUE(absl::IsDataLoss(report.status()));
  EXPECT_TRUE(LoadCatalog(home_)->cases.empty());
}

TEST_F(PatientIntakeTest, DeidentifyWithAHomeLeavesThemOut) {
  Mark(kAda, PatientMark::kOptedOut);
  DeidentifyOptions options{.site_key = LoadOrCreateSiteKey(home_).value()};
  options.patients = PatientRegister::Read(home_).value();
  const auto report =
      DeidentifyFolder(Path("archive"), Path("out"), std::move(options), nullptr, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files_written, 6);
  EXPECT_EQ(report->held_back.at(RejectReason::kOptedOut), 7);
  EXPECT_FALSE(PathExists(Path("out/" + Pseudonym(kAda))));
}

TEST_F(PatientIntakeTest, WhatWasFoundIsShownLaterWithItsReason) {
  WriteSeries(Path("archive/short"));
  const std::vector<std::string> files = FilesBelowFolder(Path("archive/short"));
  for (size_t i = 2; i < files.size(); ++i) std::filesystem::remove(files[i]);
  std::filesystem::remove_all(Path("archive/a"));
  Run();
  Inventory inventory = Take();
  EXPECT_EQ(inventory.used(), 1);
  EXPECT_EQ(inventory.by_reason.at("too_few_slices"), 1);
  const auto found =
      std::find_if(inventory.items.begin(), inventory.items.end(),
                   [](const auto& i) { return i.state == InventoryState::kSetAside; });
  ASSERT_NE(found, inventory.items.end());
  EXPECT_EQ(found->patient, Pseudonym(kAda));
  EXPECT_EQ(found->files, 2);
  EXPECT_EQ(found->modality, "MR");
  EXPECT_EQ(found->study.size(), 12u);

  // The rest of the series comes: it is used, and nothing says otherwise any more.
  WriteLabel(WriteSeries(Path("archive/short")), Path("archive/short"));
  Run();
  inventory = Take();
  EXPECT_EQ(inventory.used(), 2);
  EXPECT_TRUE(inventory.by_reason.empty());
}

TEST_F(PatientIntakeTest, WhatIsKeptNamesNobody) {
  std::filesystem::copy(Path("archive/b"), Path("archive/Lovelace-Ada-1815"),
                        std::filesystem::copy_options::recursive);
  Run();
  const std::string kept = BytesBelowFolder(JoinPath(home_, "findings"));
  EXPECT_FALSE(kept.empty());
  for (const char* name : {kAda, "Phantom", "Lovelace", "slice", "1.2."}) {
    EXPECT_FALSE(absl::StrContains(kept, name)) << name;
  }
}

TEST(FindingsTest, LabelsThatComeAloneDoNotReplaceWhatIsKnownOfTheImages) {
  const TempDir dir = TempDir::Create("findings_test").value();
  PatientFindings seen;
  seen.patient = "C0123456789ab";
  seen.series["aaaaaaaaaaaa"] = {"bbbbbbbbbbbb", "MR", 6, true, {}, {{"label_surplus", "", 1}}};
  ASSERT_TRUE(KeepFindings(dir.path(), seen).ok());
  PatientFindings later;
  later.patient = seen.patient;
  later.series["aaaaaaaaaaaa"] = {"bbbbbbbbbbbb", "SEG", 0, true, {}, {}};
  ASSERT_TRUE(KeepFindings(dir.path(), later).ok());
  const SeriesFinding kept = FindingsOf(dir.path(), seen.patient).series.at("aaaaaaaaaaaa");
  EXPECT_EQ(kept.files, 6);
  EXPECT_EQ(kept.modality, "MR");
  EXPECT_TRUE(kept.labels.empty());
  ASSERT_TRUE(RemoveFindings(dir.path(), seen.patient).ok());
  EXPECT_TRUE(LoadFindings(dir.path())->empty());
  EXPECT_TRUE(RemoveFindings(dir.path(), seen.patient).ok());
}

TEST(FindingsTest, ADamagedFileIsLeftOutAndReplaced) {
  const TempDir dir = TempDir::Create("findings_test").value();
  PatientFindings seen;
  seen.patient = "C0123456789ab";
  seen.series["aaaaaaaaaaaa"].files = 6;
  ASSERT_TRUE(KeepFindings(dir.path(), seen).ok());
  const std::string path = JoinPath(dir.path(), "findings/C0123456789ab.json");
  const std::string whole = ReadFile(path, 1 << 20).value();
  for (const std::string& text : {whole.substr(0, whole.size() / 2), std::string("[1]"),
                                  std::string(R"({"format":1,"patient":7})")}) {
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
    EXPECT_TRUE(LoadFindings(dir.path())->empty());
  }
  ASSERT_TRUE(KeepFindings(dir.path(), seen).ok());
  EXPECT_EQ(LoadFindings(dir.path())->size(), 1u);
  seen.patient = "../escape";
  EXPECT_FALSE(KeepFindings(dir.path(), seen).ok());
}

TEST(FindingsTest, AModalityThatIsNoTermIsNotKept) {
  EXPECT_EQ(PlainModality("CT"), "CT");
  EXPECT_EQ(PlainModality("SMITH"), "other");
  EXPECT_EQ(PlainModality(""), "other");
}

}  // namespace
}  // namespace consilium::agent
