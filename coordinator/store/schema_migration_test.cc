// A store as the program of schema 1 left it, written here with that program's keys.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "rocksdb/db.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class SchemaMigrationTest : public ::testing::Test {
 protected:
  // What schema 1 called an entry.
  static std::string OldEntry(uint64_t index) {
    return absl::StrCat("{\"action\":\"round.commit\",\"actor\":\"coordinator\",\"index\":", index,
                        ",\"outcome\":\"ok\",\"role\":\"coordinator\",\"round\":", index % 7,
                        ",\"study\":\"hippo\",\"time_us\":", 1'000'000 + index, ",\"v\":1}");
  }

  void WriteOldStore(uint64_t entries, const std::string& schema = "1") {
    const std::vector<std::string> names = {
        "meta",    "admins",  "sites",    "invitations", "studies", "rounds",     "versions",
        "digests", "aliases", "releases", "uploads",     "audit",   "evaluations"};
    rocksdb::DBOptions options;
    options.create_if_missing = options.create_missing_column_families = true;
    options.atomic_flush = true;
    std::vector<rocksdb::ColumnFamilyDescriptor> families = {{"default", {}}};
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* opened = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path_, families, &handles, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    ASSERT_TRUE(db->Put({}, handles[1], "schema", schema).ok());
    for (uint64_t i = 0; i < entries; ++i) {
      ASSERT_TRUE(db->Put({}, handles[12], BigEndian64(i), OldEntry(i)).ok());
    }
    AdminRecord admin;
    admin.name = "alice";
    ASSERT_TRUE(db->Put({}, handles[2], admin.name, Encode(admin)).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    }
    ASSERT_TRUE(db->Close().ok());
  }

  const TempDir temp_ = TempDir::Create("migration").value();
  const std::string path_ = JoinPath(temp_.path(), "store");
};

TEST_F(SchemaMigrationTest, OldEntriesBecomeLeavesAsTheyAre) {
  constexpr uint64_t kEntries = 2500;  // several tiles, several writes
  WriteOldStore(kEntries);
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = Store::Open(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ((*store)->AuditSize(), kEntries);
    EXPECT_THAT(*(*store)->Admins(), SizeIs(1));
    EXPECT_EQ((*store)->AuditEntry(300)->json, OldEntry(300));
    privacy::Frontier expected;
    for (uint64_t i = 0; i < kEntries; ++i) expected.Append(privacy::LeafHash(OldEntry(i)));
    EXPECT_EQ(*(*store)->RootAt(kEntries), expected.Root());
    EXPECT_TRUE((*store)->VerifyAudit().ok());
    AuditQuery query;
    query.study = "hippo";
    query.round = 3;
    query.since_us = 1'000'000 + 700;
    const auto lines = (*store)->SearchAudit(query);
    ASSERT_TRUE(lines.ok()) << lines.status();
    ASSERT_THAT(*lines, SizeIs(100));
    EXPECT_EQ(lines->front().index, 703u);
  }
  const auto store = Store::Open(path_);
  Batch batch;
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "coordinator.start";
  batch.Audit(facts);
  EXPECT_EQ((*store)->Commit(batch, absl::FromUnixSeconds(1'800'000'000)).value(), kEntries);
  EXPECT_TRUE((*store)->VerifyAudit().ok());
}

TEST_F(SchemaMigrationTest, AnEmptyOldStoreIsBroughtForward) {
  WriteOldStore(0);
  const auto store = Store::Open(path_);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->AuditSize(), 0u);
}

TEST_F(SchemaMigrationTest, ANewerSchemaIsRefused) {
  WriteOldStore(1, absl::StrCat(kSchemaVersion + 1));
  const absl::Status status = Store::Open(path_).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("newer program"));
}

}  // namespace
}  // namespace consilium::coordinator
