#include "site_agent/receive/dicomdir.h"

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class DicomdirTest : public testing::Test {
 protected:
  DicomdirTest() : dir_(TempDir::Create("dicomdir_test").value()) {}
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  // A directory that lists these file IDs, with backslashes.
  void WriteDicomdir(const std::vector<std::string>& ids) {
    DcmFileFormat file;
    DcmDataset& dataset = *file.getDataset();
    dataset.putAndInsertString(DCM_SOPClassUID, UID_MediaStorageDirectoryStorage);
    dataset.putAndInsertString(DCM_SOPInstanceUID, "2.25.1");
    for (const std::string& id : ids) {
      DcmItem* record = nullptr;
      dataset.findOrCreateSequenceItem(DCM_DirectoryRecordSequence, record, -2);
      record->putAndInsertString(DCM_DirectoryRecordType, "IMAGE");
      record->putAndInsertString(DCM_ReferencedFileID, id.c_str());
    }
    ASSERT_TRUE(MakeDirs(Path("medium")).ok());
    ASSERT_TRUE(file.saveFile(Path("medium/DICOMDIR").c_str(), EXS_LittleEndianExplicit).good());
  }

  TempDir dir_;
};

TEST_F(DicomdirTest, WhatItListsIsTakenInAndNothingElse) {
  const auto listed = WriteSeries(Path("medium/im"));
  WriteOtherPatient(Path("medium/other"));
  std::vector<std::string> ids;
  for (const std::string& path : listed) {
    ids.push_back("IM\\" + absl::AsciiStrToUpper(BaseName(path)));  // shown in small letters
  }
  WriteDicomdir(ids);
  const auto files = ExpandDicomdirs({Path("medium/DICOMDIR")});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files, testing::ElementsAreArray(listed));
  const auto report = Ingest(Path("home"), *files, {}, nullptr, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->cases_added, 1);
}

TEST_F(DicomdirTest, NothingOutsideTheMediumIsListed) {
  WriteSeries(Path("outside"));
  ASSERT_TRUE(MakeDirs(Path("medium")).ok());
  std::filesystem::create_directory_symlink(Path("outside"), Path("medium/LINK"));
  WriteDicomdir({"..\\outside\\slice0.dcm", "/etc/passwd", "LINK\\slice0.dcm", ""});
  EXPECT_TRUE(absl::IsNotFound(ExpandDicomdirs({Path("medium/DICOMDIR")}).status()));
}

TEST_F(DicomdirTest, ABrokenOneIsRefusedAndOtherPathsStay) {
  ASSERT_TRUE(MakeDirs(Path("medium")).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("medium/DICOMDIR"), "call Okafor").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ExpandDicomdirs({Path("medium/DICOMDIR")}).status()));
  EXPECT_THAT(*ExpandDicomdirs({Path("medium"), Path("none")}),
              testing::ElementsAre(Path("medium"), Path("none")));
}

TEST_F(DicomdirTest, TheCorpusHasRealOnes) {
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/dicomdir";
  if (!PathExists(corpus)) GTEST_SKIP() << "no shared corpus";
  size_t read = 0;
  for (const std::string& path : FilesBelowFolder(corpus)) {
    if (!absl::EqualsIgnoreCase(BaseName(path), "DICOMDIR")) continue;
    const auto files = ExpandDicomdirs({path});
    ++read;
    EXPECT_TRUE(files.ok() || absl::IsNotFound(files.status())) << path << files.status();
  }
  RecordProperty("read", static_cast<int>(read));
}

}  // namespace
}  // namespace consilium::agent
