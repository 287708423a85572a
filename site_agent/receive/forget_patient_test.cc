#include "site_agent/receive/forget_patient.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/deidentify_folder.h"
#include "site_agent/intake/findings.h"
#include "site_agent/intake/held_queue.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/patient_register.h"
#include "site_agent/intake/sample_cache.h"
#include "site_agent/intake/test_archive.h"

namespace {

// Calls that change the disk until this process kills itself; below 0: never.
int calls_left = -1;

void Count() {
  if (calls_left == 0) ::kill(::getpid(), SIGKILL);
  if (calls_left > 0) --calls_left;
}

}  // namespace

// In the place of the C library's, for the standard library too.
extern "C" {
int rename(const char* from, const char* to) noexcept {
  Count();
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  Count();
  return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags));
}
int remove(const char* path) noexcept {
  Count();
  const auto removed = static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0));
  if (removed == 0 || errno != EISDIR) return removed;
  return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}
}

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;

absl::Status Ignore(const PatientHoldings&) { return absl::OkStatus(); }

// A home with two patients everywhere that a patient can be.
class ForgetPatientTest : public testing::Test {
 protected:
  ForgetPatientTest() : dir_(TempDir::Create("forget_test").value()), home_(Path("home")) {
    images_ = WriteSeries(Path("archive/a"));
    WriteLabel(images_, Path("archive/a"));
    WriteOtherPatient(Path("archive/b"));
    EXPECT_TRUE(Ingest(home_, {Path("archive")}, {}, nullptr, nullptr).ok());
    ada_ = SiteNames(home_).value().PatientPseudonym("PHANTOM-1");
    Prepare(TestPlan());
    wire::Plan other = TestPlan();
    other.spacing_xyz_mm = {2, 2, 2};
    Prepare(other);
    Receive();
    Hold(ada_, "aaaaaaaaaaaa");
    Hold(Bob(), "bbbbbbbbbbbb");
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  std::string Bob() const {
    const Catalog catalog = LoadCatalog(home_).value();
    for (const CaseRecord& record : catalog.cases) {
      if (record.patient != ada_) return record.patient;
    }
    return "";
  }
  void Prepare(const wire::Plan& plan) const {
    SampleCache cache = SampleCache::Open({.home = home_, .plan = plan}).value();
    const Cohort cohort = SelectCohort(LoadCatalog(home_).value(), plan).value();
    EXPECT_TRUE(cache.Prepare(cohort, nullptr, nullptr).ok());
  }
  void Receive() const {
    QuarantineLimits limits;
    limits.free_bytes_min = 0;
    Quarantine quarantine = Quarantine::Open(home_, limits).value();
    const int inbox = quarantine.OpenInbox().value();
    for (const std::string& image : images_) {
      InboundObject object = InboundObject::Begin(quarantine, inbox).value();
      EXPECT_TRUE(object.Write(ReadFile(image, 1 << 20).value()).ok());
      EXPECT_TRUE(object.Admit({}).ok());
    }
  }
  // As `deidentify --hold` leaves it; the picture does not matter here.
  void Hold(const std::string& patient, const std::string& id) const {
    const std::string folder = Path("queue/" + id);
    ASSERT_TRUE(MakeDirs(folder).ok());
    const std::string record = absl::StrCat(R"({"id":")", id, R"(","patient":")", patient,
                                            R"(","reason":"text","place":"a/b/)", id, R"(.dcm"})");
    ASSERT_TRUE(WriteFileAtomic(folder + "/held.json", record).ok());
    ASSERT_TRUE(RememberQueue(home_, Path("queue")).ok());
  }
  void ExpectGone() const {
    const PatientHoldings left = FindHoldings(home_, ada_).value();
    EXPECT_TRUE(left.cases.empty());
    EXPECT_EQ(left.cached_files + left.quarantined_files + left.held_files + left.series_known, 0);
    EXPECT_TRUE(BeingForgotten(home_)->empty());
    EXPECT_EQ(PatientRegister::Read(home_)->Objection(ada_), Withheld::kForgotten);
    // Nothing of the home but the register says that there was such a patient.
    for (const std::string& file : FilesBelowFolder(home_)) {
      if (BaseName(file) == "patients.json") continue;
      EXPECT_FALSE(absl::StrContains(ReadFile(file, 1 << 26).value(), ada_)) << file;
      for (const std::string& id : cases_) EXPECT_FALSE(absl::StrContains(file, id)) << file;
    }
    EXPECT_EQ(LoadCatalog(home_)->cases.size(), 1u);  // the other one is untouched
    EXPECT_TRUE(PathExists(Path("queue/bbbbbbbbbbbb/held.json")));
    const PatientHoldings other = FindHoldings(home_, Bob()).value();
    EXPECT_EQ(other.cached_files, 2);
    EXPECT_EQ(other.series_known, 1);
  }

  TempDir dir_;
  std::string home_, ada_;
  std::vector<std::string> images_;
  std::vector<std::string> cases_;
};

TEST_F(ForgetPatientTest, ADryRunCountsAndChangesNothing) {
  const std::string before = BytesBelowFolder(dir_.path());
  const PatientHoldings found = FindHoldings(home_, ada_).value();
  EXPECT_EQ(found.cases.size(), 1u);
  EXPECT_EQ(found.cached_files, 2);
  EXPECT_EQ(found.quarantined_files, 6);
  EXPECT_EQ(found.held_files, 1);
  EXPECT_EQ(found.series_known, 1);
  EXPECT_EQ(BytesBelowFolder(dir_.path()), before);
  EXPECT_TRUE(absl::IsInvalidArgument(FindHoldings(home_, "../store").status()));
}

TEST_F(ForgetPatientTest, NothingOfThePatientIsLeftAndNothingComesBack) {
  cases_ = FindHoldings(home_, ada_)->cases;
  ASSERT_TRUE(BeginForgetting(home_, ada_).ok());
  std::vector<PatientHoldings> removed;
  ASSERT_TRUE(FinishForgetting(home_, nullptr, [&](const PatientHoldings& one) {
                removed.push_back(one);
                return absl::OkStatus();
              }).ok());
  ASSERT_EQ(removed.size(), 1u);
  EXPECT_EQ(removed[0].patient, ada_);
  EXPECT_EQ(removed[0].cases, cases_);
  EXPECT_EQ(removed[0].cached_files, 2);
  ExpectGone();
  const auto again = Ingest(home_, {Path("archive")}, {}, nullptr, nullptr);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->cases_added, 0);
  EXPECT_EQ(again->rejected.at(RejectReason::kForgotten).files, 7);
  ExpectGone();
}

// The process is killed before each of its calls that change the disk, one after the other, and the
// next one finishes.
TEST_F(ForgetPatientTest, AKillAtAnyStepIsFinishedByTheNextStart) {
  cases_ = FindHoldings(home_, ada_)->cases;
  const std::string kept = dir_.path() + "-kept";
  fs::copy(dir_.path(), kept, fs::copy_options::recursive);
  int kills = 0;
  for (bool ended = false; !ended; ++kills) {
    SCOPED_TRACE(kills);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      calls_left = kills;
      const bool good =
          BeginForgetting(home_, ada_).ok() && FinishForgetting(home_, nullptr, Ignore).ok();
      ::_exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ended = WIFEXITED(status);
    ASSERT_EQ(ended ? WEXITSTATUS(status) : 0, 0);
    ASSERT_TRUE(ended || WTERMSIG(status) == SIGKILL);
    if (!ended && BeingForgotten(home_)->empty() &&
        PatientRegister::Read(home_)->Objection(ada_) != Withheld::kForgotten) {
      EXPECT_EQ(FindHoldings(home_, ada_)->cases, cases_);  // it had not begun: nothing is missing
      EXPECT_EQ(FindHoldings(home_, ada_)->cached_files, 2);
      ASSERT_TRUE(BeginForgetting(home_, ada_).ok());
    }
    ASSERT_TRUE(FinishForgetting(home_, nullptr, Ignore).ok());
    ExpectGone();
    for (const auto& entry : fs::directory_iterator(dir_.path())) fs::remove_all(entry.path());
    fs::copy(kept, dir_.path(), fs::copy_options::recursive);
  }
  fs::remove_all(kept);
  EXPECT_GT(kills, 30);
}

TEST_F(ForgetPatientTest, WhatCannotBeRecordedIsDoneAgain) {
  ASSERT_TRUE(BeginForgetting(home_, ada_).ok());
  const absl::Status status = FinishForgetting(
      home_, nullptr, [](const PatientHoldings&) { return absl::UnavailableError("disk full"); });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(BeingForgotten(home_)->size(), 1u);
  ASSERT_TRUE(FinishForgetting(home_, nullptr, Ignore).ok());
  ExpectGone();
}

TEST_F(ForgetPatientTest, AnotherProcesssQuarantineIsEmptiedByThatProcess) {
  QuarantineLimits limits;
  limits.free_bytes_min = 0;
  Quarantine listening = Quarantine::Open(home_, limits).value();
  const uint64_t used = listening.bytes_used();
  ASSERT_GT(used, 0u);
  ASSERT_TRUE(BeginForgetting(home_, ada_).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(FinishForgetting(home_, nullptr, Ignore)));
  EXPECT_TRUE(FindHoldings(home_, ada_)->cases.empty());  // the rest is done
  EXPECT_EQ(BeingForgotten(home_)->size(), 1u);
  ASSERT_TRUE(FinishForgetting(home_, &listening, Ignore).ok());
  EXPECT_EQ(listening.bytes_used(), 0u);
  ExpectGone();
}

TEST_F(ForgetPatientTest, ACaseWithADamagedRecordGoesToo) {
  const std::string id = FindHoldings(home_, ada_)->cases.at(0);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(CaseFolder(home_, id), "case.json"), "{").ok());
  const PatientHoldings found = FindHoldings(home_, ada_).value();
  EXPECT_EQ(found.cases, std::vector<std::string>{id});
  EXPECT_EQ(found.unreadable_cases, 0);
  const std::vector<std::string> images = CaseImagePaths(home_, id).value();
  for (const std::string& image : images) {
    ASSERT_TRUE(WriteFileAtomic(image, "no DICOM").ok());
  }
  EXPECT_EQ(FindHoldings(home_, ada_)->unreadable_cases, 1);
}

TEST_F(ForgetPatientTest, ASampleThatWasInTheMakingIsNotKept) {
  SampleCache cache = SampleCache::Open({.home = home_, .plan = TestPlan()}).value();
  const Cohort cohort = SelectCohort(LoadCatalog(home_).value(), TestPlan()).value();
  const CohortCase& item =
      cohort.cases[0].record.patient == ada_ ? cohort.cases[0] : cohort.cases[1];
  ASSERT_TRUE(BeginForgetting(home_, ada_).ok());
  ASSERT_TRUE(FinishForgetting(home_, nullptr, Ignore).ok());
  EXPECT_FALSE(cache.Load(item).ok());  // a training that runs gets it no more
  ExpectGone();
}

}  // namespace
}  // namespace consilium::agent
