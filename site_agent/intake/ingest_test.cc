#include "site_agent/intake/ingest.h"

#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/test_series.h"
#include "site_agent/intake/case_store.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/deidentify_folder.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class IngestTest : public testing::Test {
 protected:
  IngestTest() : dir_(TempDir::Create("ingest_test").value()) {}
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  IngestReport Run(const std::string& archive) {
    auto report = Ingest(Path("home"), {Path(archive)}, {}, nullptr, nullptr);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : IngestReport();
  }
  Catalog Cases() { return LoadCatalog(Path("home")).value(); }

  TempDir dir_;
};

TEST_F(IngestTest, TakesImagesAndLabelsInWithoutIdentity) {
  const auto images = WriteSeries(Path("archive/Phantom_Ada"));
  const std::string seg = WriteLabel(images, Path("archive/Phantom_Ada/SEG"));
  WriteOtherPatient(Path("archive/Mahoney"));
  const IngestReport report = Run("archive");
  EXPECT_EQ(report.cases_added, 2);
  EXPECT_EQ(report.cases_added_labelled, 1);
  EXPECT_EQ(report.deid.files, 13);
  EXPECT_TRUE(report.rejected.empty()) << IngestToJson(report);
  const Catalog catalog = Cases();
  ASSERT_EQ(catalog.cases.size(), 2u);
  EXPECT_NE(catalog.cases[0].patient, catalog.cases[1].patient);
  for (const CaseRecord& record : catalog.cases) {
    EXPECT_EQ(record.modality, "MR");
    EXPECT_EQ(record.image_files, 6);
    EXPECT_EQ(record.geometry.size_xyz, (std::array<int64_t, 3>{7, 5, 6}));
    if (!record.labelled()) continue;
    EXPECT_THAT(record.segment_labels, testing::ElementsAre("Anterior", "Posterior"));
    // The label on the de-identified images is the label on the identified ones.
    const auto paths = CaseImagePaths(Path("home"), record.case_id);
    ASSERT_TRUE(paths.ok());
    const auto series = imaging::AssembleSeries(*paths);
    ASSERT_TRUE(series.ok()) << series.status();
    const auto label = imaging::ReadSegmentation(CaseLabelPath(Path("home"), record.case_id),
                                                 series->volume.geometry, TestLabels());
    ASSERT_TRUE(label.ok()) << label.status();
    const auto original = imaging::AssembleSeries(images);
    ASSERT_TRUE(original.ok());
    const auto truth = imaging::ReadSegmentation(seg, original->volume.geometry, TestLabels());
    ASSERT_TRUE(truth.ok());
    EXPECT_EQ(label->voxels, truth->voxels);
    EXPECT_EQ(series->volume.voxels, original->volume.voxels);
  }
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* planted : {"PHANTOM-", "Phantom", "Mahoney", "19500102", "20200304"}) {
    EXPECT_FALSE(absl::StrContains(all, planted)) << planted;
  }
  EXPECT_FALSE(absl::StrContains(all, std::string("2.25.12\0", 8)));
}

TEST_F(IngestTest, TwiceAddsNothingAndSaysSo) {
  WriteLabel(WriteSeries(Path("archive")), Path("archive/seg"));
  EXPECT_EQ(Run("archive").cases_added, 1);
  const std::string before = BytesBelowFolder(Path("home"));
  const IngestReport again = Run("archive");
  EXPECT_EQ(again.cases_added, 0);
  EXPECT_EQ(again.labels_added, 0);
  EXPECT_EQ(again.already_in_store, 1);
  EXPECT_EQ(BytesBelowFolder(Path("home")), before);
}

TEST_F(IngestTest, ALabelThatComesLaterFindsItsCase) {
  const auto images = WriteSeries(Path("archive"));
  WriteLabel(images, Path("later"));
  EXPECT_EQ(Run("archive").cases_added_labelled, 0);
  const IngestReport later = Run("later");
  EXPECT_EQ(later.labels_added, 1);
  const Catalog catalog = Cases();
  ASSERT_EQ(catalog.cases.size(), 1u);
  EXPECT_TRUE(catalog.cases[0].labelled());
  EXPECT_EQ(CaseImagePaths(Path("home"), catalog.cases[0].case_id)->size(), 6u);
  EXPECT_EQ(Run("later").labels_added, 0);
}

TEST_F(IngestTest, ALabelOfAnotherPatientIsNotAdded) {
  WriteSeries(Path("archive"));
  EXPECT_EQ(Run("archive").cases_added, 1);
  const auto images = WriteSeries(Path("other"));  // the same series UID
  PatchFiles(images, {{"PHANTOM-1", "PHANTOM-2"}});
  WriteLabel(images, Path("other/seg"));
  const IngestReport report = Run("other");
  EXPECT_EQ(report.already_in_store, 1);
  EXPECT_EQ(report.labels_added, 0);
  EXPECT_EQ(report.rejected.at(RejectReason::kLabelSurplus).files, 1);
  EXPECT_FALSE(Cases().cases[0].labelled());
}

TEST_F(IngestTest, ALaterLabelWithoutPatientIdGoesByItsStudy) {
  const auto images = WriteSeries(Path("archive"));
  PatchFiles(images, {{"PHANTOM-1", "         "}});
  EXPECT_EQ(Run("archive").cases_added, 1);
  WriteLabel(images, Path("archive/seg"));
  EXPECT_EQ(Run("archive").labels_added, 1);
}

TEST_F(IngestTest, SaysWhyASeriesWasNotTakenIn) {
  PatchFiles(WriteSeries(Path("archive/localizer")),
             {{"ORIGINAL\\PRIMARY\\M", "A\\B\\LOCALIZER     "},
              {std::string("2.25.12\0", 8), std::string("2.25.31\0", 8)}});
  auto few = WriteSeries(Path("archive/few"));
  PatchFiles(few, {{std::string("2.25.12\0", 8), std::string("2.25.32\0", 8)}});
  for (size_t i = 3; i < few.size(); ++i) std::filesystem::remove(few[i]);
  const auto gap = WriteSeries(Path("archive/gap"));
  PatchFiles(gap, {{std::string("2.25.12\0", 8), std::string("2.25.33\0", 8)}});
  std::filesystem::remove(gap[2]);
  PatchFiles(WriteSeries(Path("archive/capture")),
             {{std::string("2.25.12\0", 8), std::string("2.25.34\0", 8)},
              {"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"}});
  PatchFiles(WriteSeries(Path("archive/secondary")),
             {{std::string("2.25.12\0", 8), std::string("2.25.35\0", 8)},
              {"ORIGINAL\\PRIMARY\\M", "DERIVED\\SECONDARY "}});
  const auto elsewhere = WriteSeries(Path("elsewhere"));
  WriteLabel(elsewhere, Path("archive/orphan"));
  ASSERT_TRUE(WriteFileAtomic(Path("archive/note.txt"), "call Okafor").ok());
  const IngestReport report = Run("archive");
  EXPECT_EQ(report.cases_added, 0);
  const auto series = [&](RejectReason reason) {
    const auto found = report.rejected.find(reason);
    return found == report.rejected.end() ? -1 : found->second.series;
  };
  EXPECT_EQ(series(RejectReason::kLocalizer), 1);
  EXPECT_EQ(series(RejectReason::kTooFewSlices), 1);
  EXPECT_EQ(series(RejectReason::kNotAVolume), 1);
  EXPECT_EQ(series(RejectReason::kUnsupportedClass), 1);
  EXPECT_EQ(series(RejectReason::kHeldBack), 1);
  EXPECT_EQ(report.rejected.at(RejectReason::kLabelWithoutImage).files, 1);
  EXPECT_EQ(report.rejected.at(RejectReason::kUnreadable).files, 1);
  EXPECT_FALSE(report.rejected.at(RejectReason::kNotAVolume).details.empty());
  EXPECT_GT(IngestTable(report).size(), 6u);
  EXPECT_THAT(IngestToJson(report), testing::Not(testing::HasSubstr("Okafor")));
  // Nothing half done stays.
  EXPECT_EQ(FilesBelowFolder(Path("home/store")).size(), 1u);  // the lock
}

TEST_F(IngestTest, WhatACrashLeftIsRemovedAndTheCaseTakenInAgain) {
  WriteSeries(Path("archive"));
  EXPECT_EQ(Run("archive").cases_added, 1);
  const std::string case_id = Cases().cases[0].case_id;
  // A crash between staging and publishing leaves the stage only.
  std::filesystem::rename(CaseFolder(Path("home"), case_id), Path("home/store/.stage-") + case_id);
  std::filesystem::remove(Path("home/store/.stage-" + case_id + "/case.json"));
  EXPECT_TRUE(Cases().cases.empty());
  EXPECT_EQ(Run("archive").cases_added, 1);
  EXPECT_EQ(Cases().cases.size(), 1u);
  EXPECT_FALSE(PathExists(Path("home/store/.stage-" + case_id)));
}

TEST_F(IngestTest, OneAtATime) {
  WriteSeries(Path("archive"));
  const auto held = CaseStore::Open(Path("home"));
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Ingest(Path("home"), {Path("archive")}, {}, nullptr, nullptr).status()));
}

TEST_F(IngestTest, TheSiteKeyIsPrivateAndStays) {
  const auto key = LoadOrCreateSiteKey(Path("home"));
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(LoadOrCreateSiteKey(Path("home"))->view(), key->view());
  struct stat info;
  ASSERT_EQ(::stat(Path("home/site.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ::chmod(Path("home/site.key").c_str(), 0644);
  EXPECT_TRUE(absl::IsFailedPrecondition(LoadOrCreateSiteKey(Path("home")).status()));
}

TEST_F(IngestTest, ADamagedRecordIsListedAndNotFatal) {
  WriteSeries(Path("archive"));
  Run("archive");
  const std::string case_id = Cases().cases[0].case_id;
  ASSERT_TRUE(
      WriteFileAtomic(JoinPath(CaseFolder(Path("home"), case_id), "case.json"), "{").ok());
  EXPECT_THAT(Cases().damaged, testing::ElementsAre(case_id));
}

TEST_F(IngestTest, DeidentifyAloneWritesPseudonymsOnly) {
  WriteLabel(WriteSeries(Path("in/Phantom")), Path("in/Phantom"));
  ASSERT_TRUE(WriteFileAtomic(Path("in/Phantom.txt"), "no DICOM").ok());
  const auto run = [&](const std::string& out) {
    return DeidentifyFolder(Path("in"), Path(out),
                            {.site_key = privacy::SecretBytes(std::string(32, 'k'))}, nullptr,
                            nullptr);
  };
  const auto report = run("out");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files_written, 7);
  EXPECT_EQ(report->held_back.at(RejectReason::kUnreadable), 1);
  EXPECT_EQ(FilesBelowFolder(Path("out")).size(), 7u);
  EXPECT_FALSE(absl::StrContains(BytesBelowFolder(Path("out")), "Phantom"));
  EXPECT_TRUE(absl::IsFailedPrecondition(run("out").status()));     // not empty
  EXPECT_TRUE(absl::IsFailedPrecondition(run("in/x").status()));    // inside the input
}

TEST_F(IngestTest, WhatIsHeldBackWaitsInAQueueForAPerson) {
  PatchFiles(WriteSeries(Path("in/Phantom")),
             {{"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"}});  // secondary capture
  const auto run = [&](const std::string& out, const std::string& hold) {
    return DeidentifyFolder(Path("in"), Path(out),
                            {.site_key = privacy::SecretBytes(std::string(32, 'k')),
                             .hold = Path(hold)},
                            nullptr, nullptr);
  };
  const auto report = run("out", "hold");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->files_written, 0);
  EXPECT_EQ(report->files_queued, report->held_back.at(RejectReason::kHeldBack));
  EXPECT_TRUE(FilesBelowFolder(Path("out")).empty());
  EXPECT_FALSE(absl::StrContains(BytesBelowFolder(Path("hold")), "Phantom"));
  const HeldQueue queue(Path("hold"));
  const auto waiting = queue.List();
  ASSERT_TRUE(waiting.ok()) << waiting.status();
  ASSERT_EQ(static_cast<int64_t>(waiting->size()), report->files_queued);
  ASSERT_GE(waiting->size(), 2u);
  EXPECT_TRUE(PathExists(Path("hold/" + waiting->front().id + "/image.png")));
  ASSERT_TRUE(queue.Release(waiting->front().id, Path("out")).ok());
  EXPECT_TRUE(PathExists(Path("out/" + waiting->front().place)));
  ASSERT_TRUE(queue.Reject(waiting->back().id).ok());
  EXPECT_EQ(queue.List()->size(), waiting->size() - 2);
  EXPECT_TRUE(absl::IsNotFound(queue.Release(waiting->back().id, Path("out"))));
  EXPECT_TRUE(absl::IsNotFound(queue.Reject("../out")));
  EXPECT_TRUE(absl::IsFailedPrecondition(run("out2", "in/hold").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(run("out2", "out2/hold").status()));
}

TEST_F(IngestTest, HostileFilesAreCountedAndNothingElse) {
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/generated/hostile";
  if (!PathExists(corpus)) GTEST_SKIP() << "no shared corpus";
  const auto report = Ingest(Path("home"), {corpus}, {}, nullptr, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->cases_added, 0);
  EXPECT_GT(report->rejected.at(RejectReason::kUnreadable).files, 10);
}

}  // namespace
}  // namespace consilium::agent
