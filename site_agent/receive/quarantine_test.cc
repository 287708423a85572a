#include "site_agent/receive/quarantine.h"

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

}  // namespace
}  // namespace consilium::agent
