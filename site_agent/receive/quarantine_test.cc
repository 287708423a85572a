#include "site_agent/receive/quarantine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

class QuarantineTest : public testing::Test {
 protected:
  QuarantineTest() : dir_(TempDir::Create("quarantine_test").value()) {
    limits_.free_bytes_min = 0;
    images_ = WriteSeries(Path("archive"));
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  Quarantine Open() { return Quarantine::Open(Path("home"), limits_).value(); }

  static InboundObject::Claim ClaimOf(const std::string& path) {
    const auto header = imaging::ReadDicomHeader(path);
    return {header->sop_class_uid, header->sop_instance_uid};
  }
  static absl::Status Put(Quarantine& quarantine, int inbox, const std::string& bytes,
                          const InboundObject::Claim& claim) {
    auto object = InboundObject::Begin(quarantine, inbox);
    if (!object.ok()) return object.status();
    (void)object->Write(bytes);
    return object->Admit(claim);
  }

  TempDir dir_;
  QuarantineLimits limits_;
  std::vector<std::string> images_;
};

TEST_F(QuarantineTest, AnObjectThatComesAgainIsCountedOnce) {
  Quarantine quarantine = Open();
  const int inbox = quarantine.OpenInbox().value();
  const std::string bytes = ReadFile(images_[0], 1 << 20).value();
  EXPECT_TRUE(Put(quarantine, inbox, bytes, ClaimOf(images_[0])).ok());
  EXPECT_TRUE(Put(quarantine, inbox, bytes, ClaimOf(images_[0])).ok());
  EXPECT_EQ(quarantine.bytes_used(), bytes.size());
  EXPECT_EQ(FilesBelowFolder(Path("home/quarantine/patients")).size(), 1u);
  quarantine.CloseInbox(inbox);
  EXPECT_EQ(quarantine.bytes_used(), bytes.size());
}

TEST_F(QuarantineTest, WhatDoesNotHoldIsNotAdmitted) {
  Quarantine quarantine = Open();
  const int inbox = quarantine.OpenInbox().value();
  const std::string bytes = ReadFile(images_[0], 1 << 20).value();
  EXPECT_TRUE(absl::IsFailedPrecondition(Put(quarantine, inbox, bytes, ClaimOf(images_[1]))));
  const absl::Status cut =
      Put(quarantine, inbox, bytes.substr(0, bytes.size() / 2), ClaimOf(images_[0]));
  EXPECT_TRUE(absl::IsInvalidArgument(cut)) << cut;
  EXPECT_TRUE(absl::IsInvalidArgument(Put(quarantine, inbox, "call Okafor", ClaimOf(images_[0]))));
  EXPECT_EQ(quarantine.bytes_used(), 0u);
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/in")).empty());
}

TEST_F(QuarantineTest, WhatADeadAssociationLeftIsFreed) {
  Quarantine quarantine = Open();
  const int inbox = quarantine.OpenInbox().value();
  auto* object = new InboundObject(InboundObject::Begin(quarantine, inbox).value());
  ASSERT_TRUE(object->Write(std::string(5000, 'x')).ok());
  EXPECT_EQ(quarantine.bytes_used(), 5000u);
  quarantine.CloseInbox(inbox);  // its process died: nothing of `object` runs
  EXPECT_EQ(quarantine.bytes_used(), 0u);
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/in")).empty());
  ::operator delete(object);
}

TEST_F(QuarantineTest, OneProcessAtATime) {
  Quarantine quarantine = Open();
  EXPECT_TRUE(absl::IsFailedPrecondition(Quarantine::Open(Path("home"), limits_).status()));
}

TEST_F(QuarantineTest, TheDiskKeepsWhatOthersNeed) {
  limits_.free_bytes_min = uint64_t{1} << 62;
  Quarantine quarantine = Open();
  const int inbox = quarantine.OpenInbox().value();
  EXPECT_TRUE(absl::IsResourceExhausted(InboundObject::Begin(quarantine, inbox).status()));
}

TEST_F(QuarantineTest, WhatComesDuringTheTakingIsANewGroup) {
  Quarantine quarantine = Open();
  const int inbox = quarantine.OpenInbox().value();
  const auto put = [&](size_t i) {
    return Put(quarantine, inbox, ReadFile(images_[i], 1 << 20).value(), ClaimOf(images_[i]));
  };
  ASSERT_TRUE(put(0).ok());
  EXPECT_TRUE(quarantine.Settled(Clock::System().Now() - absl::Minutes(1))->empty());
  const auto settled = quarantine.Settled(absl::InfiniteFuture());
  ASSERT_EQ(settled->size(), 1u);
  ASSERT_TRUE(quarantine.BeginTaking(settled->front()).ok());
  ASSERT_TRUE(put(1).ok());
  EXPECT_EQ(*quarantine.Begun(), *settled);
  EXPECT_EQ(*quarantine.Settled(absl::InfiniteFuture()), *settled);
  ASSERT_TRUE(quarantine.FinishTaking(settled->front()).ok());
  EXPECT_TRUE(quarantine.Begun()->empty());
  EXPECT_EQ(FilesBelowFolder(Path("home/quarantine/patients")).size(), 1u);
}

class SettlingTest : public QuarantineTest {
 protected:
  SettlingTest() : quarantine_(Open()) {}
  absl::Status PutOne(int inbox, size_t i) {
    return Put(quarantine_, inbox, ReadFile(images_[i], 1 << 20).value(), ClaimOf(images_[i]));
  }
  // As if `ago` had passed since anything came.
  void Age(absl::Duration ago) {
    const timespec then = absl::ToTimespec(Clock::System().Now() - ago);
    const timespec times[] = {then, then};
    std::vector<std::string> paths = {Path("home/quarantine/unfinished")};
    for (const char* folder : {"patients", "unfinished"}) {
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(Path("home/quarantine/") + folder)) {
        paths.push_back(entry.path().string());
      }
    }
    for (const std::string& path : paths) {
      ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    }
  }
  // With a settle of two minutes.
  size_t Settled() const {
    return quarantine_.Settled(Clock::System().Now() - absl::Minutes(2))->size();
  }
  Quarantine quarantine_;
};

TEST_F(SettlingTest, ASeriesThatAnOpenAssociationBringsIsNotCut) {
  const int inbox = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(inbox, 0).ok());
  Age(absl::Minutes(10));
  EXPECT_EQ(Settled(), 0u);  // the scanner pauses
  ASSERT_TRUE(PutOne(inbox, 1).ok());
  Age(absl::Minutes(10));
  quarantine_.CloseInbox(inbox);
  EXPECT_EQ(Settled(), 0u);  // it may come again at once
  Age(absl::Minutes(3));
  EXPECT_EQ(Settled(), 1u);
}

TEST_F(SettlingTest, AnAssociationThatStaysOpenHoldsNothingUpForEver) {
  const int inbox = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(inbox, 0).ok());
  Age(kOpenHold);
  EXPECT_EQ(Settled(), 0u);
  Age(kOpenHold + absl::Minutes(3));
  EXPECT_EQ(Settled(), 1u);
}

TEST_F(SettlingTest, AnotherPatientsAssociationHoldsNothingUp) {
  const int first = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(first, 0).ok());
  quarantine_.CloseInbox(first);
  images_ = WriteOtherPatient(Path("other"));
  const int second = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(second, 0).ok());
  Age(absl::Minutes(3));
  EXPECT_EQ(Settled(), 1u);
  // The same inbox again, for a patient who has settled and comes back.
  quarantine_.CloseInbox(second);
  Age(absl::Minutes(3));
  EXPECT_EQ(Settled(), 2u);
  const int third = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(third, 1).ok());
  Age(absl::Minutes(3));
  EXPECT_EQ(Settled(), 1u);
}

TEST_F(SettlingTest, WhatComesBetweenTheLookAndTheTakingIsNotCutOff) {
  const int inbox = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(inbox, 0).ok());
  quarantine_.CloseInbox(inbox);
  Age(absl::Minutes(3));
  const absl::Time before = Clock::System().Now() - absl::Minutes(2);
  const auto settled = quarantine_.Settled(before);
  ASSERT_EQ(settled->size(), 1u);
  const int next = quarantine_.OpenInbox().value();
  ASSERT_TRUE(PutOne(next, 1).ok());
  EXPECT_TRUE(absl::IsAborted(quarantine_.BeginTaking(settled->front(), before).status()));
  EXPECT_EQ(FilesBelowFolder(Path("home/quarantine/patients")).size(), 2u);
}

TEST_F(SettlingTest, AnUnfinishedStudyWaitsAndIsDroppedAfterADay) {
  const int inbox = quarantine_.OpenInbox().value();
  const std::string study = quarantine_.Pseudonym("study", "2.25.11");
  ASSERT_TRUE(MarkUnfinished(Path("home"), study).ok());
  ASSERT_TRUE(PutOne(inbox, 0).ok());
  quarantine_.CloseInbox(inbox);
  Age(absl::Hours(2));
  EXPECT_EQ(Settled(), 0u);
  EXPECT_TRUE(quarantine_.Settled(absl::InfiniteFuture())->empty());
  // It survives whoever fetches, and is whole when they say so.
  ASSERT_TRUE(MarkFinished(Path("home"), study).ok());
  EXPECT_EQ(Settled(), 1u);
  ASSERT_TRUE(MarkUnfinished(Path("home"), study).ok());
  Age(absl::Hours(2));
  const absl::Time before = Clock::System().Now() - kUnfinishedKept;
  ASSERT_TRUE(quarantine_.DropUnfinished(before).ok());
  EXPECT_EQ(quarantine_.InstancesOf("2.25.11")->size(), 1u);
  Age(kUnfinishedKept + absl::Hours(1));
  ASSERT_TRUE(quarantine_.DropUnfinished(before).ok());
  EXPECT_TRUE(quarantine_.InstancesOf("2.25.11")->empty());
  EXPECT_EQ(quarantine_.bytes_used(), 0u);
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/unfinished")).empty());
}

// Many processes bring a patient's objects while another sets them apart: each lies in one place or
// the other, and a series is never in both.
TEST_F(SettlingTest, BringingAndTakingDoNotMeet) {
  std::vector<pid_t> bringers;
  for (int i = 0; i < 4; ++i) {
    const int inbox = quarantine_.OpenInbox().value();
    const pid_t child = ::fork();
    if (child == 0) {
      bool good = true;
      for (int round = 0; round < 50; ++round) {
        good = good && PutOne(inbox, static_cast<size_t>(round) % images_.size()).ok();
      }
      ::_exit(good ? 0 : 1);
    }
    bringers.push_back(child);
  }
  for (int i = 0; i < 50; ++i) {
    // Old enough for the look, so that it is the mark of the open association that has to hold.
    const absl::Time before = Clock::System().Now() + absl::Minutes(1);
    const auto there = quarantine_.Settled(absl::InfiniteFuture());
    for (const std::string& patient : *there) {
      EXPECT_TRUE(absl::IsAborted(quarantine_.BeginTaking(patient, before).status()));
    }
  }
  for (const pid_t child : bringers) {
    int ended = 0;
    ASSERT_EQ(::waitpid(child, &ended, 0), child);
    EXPECT_EQ(ended, 0);
  }
  EXPECT_EQ(FilesBelowFolder(Path("home/quarantine/patients")).size(), images_.size());
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/taking")).empty());
}

}  // namespace
}  // namespace consilium::agent
