#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/merkle.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "rocksdb/db.h"

namespace consilium::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

AuditFacts Facts(const std::string& action, const std::string& actor = "coordinator",
                 const std::string& role = "coordinator") {
  AuditFacts facts;
  facts.actor = actor;
  facts.role = role;
  facts.action = action;
  return facts;
}

class StoreAuditTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() {
    auto store = Store::Open(path_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  static uint64_t Add(Store& store, AuditFacts facts, absl::Time now = kNow) {
    Batch batch;
    batch.Audit(std::move(facts));
    return store.Commit(batch, now).value();
  }
  // Entries 0 .. count-1, several to a batch so that it is quick.
  static void Fill(Store& store, uint64_t count) {
    while (store.AuditSize() < count) {
      Batch batch;
      const uint64_t n = std::min<uint64_t>(100, count - store.AuditSize());
      for (uint64_t i = 0; i < n; ++i) batch.Audit(Facts("fill"));
      ASSERT_TRUE(store.Commit(batch, kNow).ok());
    }
  }
  // Changes the store behind its back.
  void Tamper(const std::function<void(rocksdb::DB&, rocksdb::ColumnFamilyHandle* audit,
                                       rocksdb::ColumnFamilyHandle* tiles)>& change) {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, path_, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* opened = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, path_, families, &handles, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    const auto named = [&](const std::string& name) {
      return handles[static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin())];
    };
    change(*db, named("audit"), named("audit_tiles"));
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    }
    ASSERT_TRUE(db->Close().ok());
  }
  // The first error that opening or checking the whole log gives.
  absl::Status OpenAndVerify() {
    const auto store = Store::Open(path_);
    return store.ok() ? (*store)->VerifyAudit() : store.status();
  }

  const TempDir temp_ = TempDir::Create("store").value();
  const std::string path_ = JoinPath(temp_.path(), "store");
};

TEST_F(StoreAuditTest, RootsAndProofsAreThoseOfTheEntriesBeforeAndAfterReopening) {
  constexpr uint64_t kEntries = 256 * 3 + 17;
  std::vector<privacy::Hash> roots = {privacy::EmptyRoot()};
  privacy::Frontier frontier;
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = Open();
    Fill(*store, kEntries);
    if (opening == 0) {
      for (uint64_t i = 0; i < kEntries; ++i) {
        frontier.Append(privacy::LeafHash(store->AuditEntry(i)->json));
        roots.push_back(frontier.Root());
      }
    }
    for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{255}, uint64_t{256},
                                uint64_t{257}, uint64_t{700}, kEntries}) {
      EXPECT_EQ(*store->RootAt(size), roots[size]) << size;
      for (const uint64_t index : {uint64_t{0}, size / 2, size - 1}) {
        if (size == 0) continue;
        const auto proof = store->InclusionProof(index, size);
        ASSERT_TRUE(proof.ok()) << proof.status();
        EXPECT_TRUE(privacy::VerifyInclusion(privacy::LeafHash(store->AuditEntry(index)->json),
                                             index, size, *proof, roots[size])
                        .ok());
      }
      if (size == 0) continue;
      const auto proof = store->ConsistencyProof(size, kEntries);
      ASSERT_TRUE(proof.ok()) << proof.status();
      EXPECT_TRUE(privacy::VerifyConsistency(size, kEntries, *proof, roots[size], roots[kEntries])
                      .ok());
    }
    EXPECT_TRUE(absl::IsOutOfRange(store->RootAt(kEntries + 1).status()));
    EXPECT_TRUE(absl::IsOutOfRange(store->InclusionProof(5, 5).status()));
    EXPECT_TRUE(absl::IsOutOfRange(store->AuditEntry(kEntries).status()));
    EXPECT_TRUE(store->VerifyAudit().ok());
  }
}

TEST_F(StoreAuditTest, WritersAtOnceGetOneIndexEachAndNothingIsLost) {
  constexpr int kThreads = 8, kEach = 60;
  {
    const auto store = Open();
    std::vector<std::vector<uint64_t>> indexes(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          AuditFacts facts = Facts("write");
          facts.request = absl::StrCat(t, "/", i);
          Batch batch;
          batch.Audit(facts);
          batch.Audit(facts);
          indexes[static_cast<size_t>(t)].push_back(store->Commit(batch, kNow).value());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int t = 0; t < kThreads; ++t) {
      for (int i = 0; i < kEach; ++i) {
        const uint64_t index = indexes[static_cast<size_t>(t)][static_cast<size_t>(i)];
        for (const uint64_t at : {index, index + 1}) {
          EXPECT_EQ(DecodeAudit(store->AuditEntry(at)->json)->facts.request,
                    absl::StrCat(t, "/", i));
        }
      }
    }
  }
  const auto store = Open();
  EXPECT_EQ(store->AuditSize(), uint64_t{2 * kThreads * kEach});
  EXPECT_TRUE(store->VerifyAudit().ok());
}

TEST_F(StoreAuditTest, MoreCommitsThanOneWriteTakesFollowInTheNext) {
  constexpr size_t kSmall = 300, kLarge = 4, kEntriesOfLarge = 3000;
  const auto store = Open();
  std::vector<uint64_t> first(kSmall + kLarge);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kSmall + kLarge; ++t) {
    threads.emplace_back([&, t] {
      Batch batch;
      for (size_t i = 0; i < (t < kSmall ? 1 : kEntriesOfLarge); ++i) batch.Audit(Facts("write"));
      first[t] = store->Commit(batch, kNow).value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::map<uint64_t, size_t> entries;
  for (size_t t = 0; t < first.size(); ++t) entries[first[t]] = t < kSmall ? 1 : kEntriesOfLarge;
  uint64_t next = 0;
  for (const auto& [index, count] : entries) {
    EXPECT_EQ(index, next);
    next = index + count;
  }
  EXPECT_EQ(next, kSmall + kLarge * kEntriesOfLarge);
  EXPECT_EQ(store->AuditSize(), next);
  EXPECT_TRUE(store->VerifyAudit().ok());
}

TEST_F(StoreAuditTest, EveryWaitingWriterLearnsThatTheLogIsFrozen) {
  constexpr int kThreads = 12;
  const auto store = Open();
  std::atomic<uint64_t> written = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Batch batch;
      batch.Audit(Facts("write"));
      while (store->Commit(batch, kNow).ok()) ++written;
    });
  }
  while (written < 5 * kThreads) std::this_thread::yield();
  store->Freeze(absl::DataLossError("forked"));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store->AuditSize(), written);
  EXPECT_TRUE(store->VerifyAudit().ok());
}

TEST_F(StoreAuditTest, SearchUsesWhatIsGivenAndReturnsTheOrderOfTheLog) {
  const auto store = Open();
  for (int64_t i = 0; i < 40; ++i) {
    AuditFacts facts = Facts(i % 2 == 0 ? "round.open" : "round.commit");
    facts.study = i % 4 < 2 ? "hippo" : "hippocampus";
    facts.round = i / 10;
    facts.version = absl::StrCat(facts.study, "/", i / 10);
    if (i % 5 == 0) facts.site = "north";
    Add(*store, facts, kNow + absl::Seconds(i));
  }
  AuditFacts by_alice = Facts("site.approve", "alice", "admin");
  by_alice.reason = "because";
  Add(*store, by_alice, kNow + absl::Seconds(40));
  const auto search = [&](const std::function<void(AuditQuery&)>& set) {
    AuditQuery query;
    set(query);
    std::vector<uint64_t> found;
    const std::vector<AuditLine> lines = store->SearchAudit(query).value();
    for (const AuditLine& line : lines) found.push_back(line.index);
    return found;
  };
  EXPECT_THAT(search([](AuditQuery&) {}), SizeIs(41));
  EXPECT_THAT(search([](AuditQuery& q) { q.study = "hipp"; }), IsEmpty()) << "no prefix";
  EXPECT_THAT(search([](AuditQuery& q) { q.actor = "alice"; }), ElementsAre(40));
  EXPECT_THAT(search([](AuditQuery& q) { q.actor = "north", q.round = 1; }), ElementsAre(10, 15));
  EXPECT_THAT(search([](AuditQuery& q) { q.version = "hippo/2", q.action = "round.commit"; }),
              ElementsAre(21, 25, 29));
  EXPECT_THAT(search([](AuditQuery& q) {
                q.study = "hippo", q.round = 3, q.from_index = 33, q.count_max = 2;
              }),
              ElementsAre(33, 36));
  EXPECT_THAT(search([](AuditQuery& q) {
                q.since_us = absl::ToUnixMicros(kNow + absl::Seconds(5));
                q.until_us = absl::ToUnixMicros(kNow + absl::Seconds(8));
              }),
              ElementsAre(5, 6, 7));
  EXPECT_THAT(search([](AuditQuery& q) {
                q.since_us = absl::ToUnixMicros(kNow + absl::Seconds(39));
                q.action = "site.approve";
              }),
              ElementsAre(40));
  EXPECT_THAT(search([](AuditQuery& q) { q.action = "nothing"; }), IsEmpty());
}

TEST_F(StoreAuditTest, SearchFindsWhatStandsTogetherNearAndFar) {
  constexpr int kEntries = 500, kTogether[] = {0, 3, 44, 45, 300, 499};
  const auto store = Open();
  Batch batch;
  for (int i = 0; i < kEntries; ++i) {
    const bool together = std::count(std::begin(kTogether), std::end(kTogether), i) > 0;
    AuditFacts facts = Facts(together || i % 3 == 1 ? "round.commit" : "round.open");
    facts.study = together || i % 100 == 60 ? "rare" : "hippo";
    batch.Audit(facts);
  }
  ASSERT_TRUE(store->Commit(batch, kNow).ok());
  const AuditQuery query = {.action = "round.commit", .study = "rare", .from_index = 1};
  std::vector<int> found;
  const std::vector<AuditLine> lines = store->SearchAudit(query).value();
  for (const AuditLine& line : lines) {
    found.push_back(static_cast<int>(line.index));
  }
  EXPECT_THAT(found, ElementsAre(3, 44, 45, 160, 300, 460, 499));
}

TEST_F(StoreAuditTest, AClockSetBackIsFlaggedAndTimesAreStillFound) {
  {
    const auto store = Open();
    Add(*store, Facts("a"), kNow);
    Add(*store, Facts("b"), kNow + absl::Seconds(10));
    Add(*store, Facts("c"), kNow + absl::Seconds(10) - absl::Milliseconds(5));  // a race, no step
    Add(*store, Facts("d"), kNow - absl::Hours(1));
    Add(*store, Facts("e"), kNow + absl::Seconds(1));
  }
  const auto store = Open();  // the run of the clock goes on after a start
  Add(*store, Facts("f"), kNow - absl::Hours(2));
  Add(*store, Facts("g"), kNow);
  const auto view = [&](uint64_t i) { return *DecodeAudit(store->AuditEntry(i)->json); };
  EXPECT_FALSE(view(2).stamp.clock_back_us.has_value());
  EXPECT_EQ(view(2).stamp.time_us, view(1).stamp.time_us);
  EXPECT_EQ(view(3).stamp.clock_back_us, view(2).stamp.time_us);
  EXPECT_EQ(view(3).stamp.time_us, absl::ToUnixMicros(kNow - absl::Hours(1)));
  EXPECT_FALSE(view(4).stamp.clock_back_us.has_value());
  EXPECT_EQ(view(5).stamp.clock_back_us, view(4).stamp.time_us);
  AuditQuery query;
  query.since_us = absl::ToUnixMicros(kNow);
  query.until_us = absl::ToUnixMicros(kNow + absl::Seconds(2));
  std::vector<uint64_t> found;
  const std::vector<AuditLine> lines = store->SearchAudit(query).value();
  for (const AuditLine& line : lines) found.push_back(line.index);
  EXPECT_THAT(found, ElementsAre(0, 4, 6));
  EXPECT_TRUE(store->VerifyAudit().ok());
}

TEST_F(StoreAuditTest, AnErasedNameIsGoneFromTheFilesAndTheTreeStillVerifies) {
  privacy::Hash before;
  {
    const auto store = Open();
    for (int i = 0; i < 3; ++i) {
      AuditFacts facts = Facts("site.suspend", "alice-jansen", "admin");
      facts.reason = i == 1 ? "asked by alice-jansen" : "quiet";
      facts.site = "north";
      Add(*store, facts);
    }
    Add(*store, Facts("site.approve", "bob", "admin"));
    before = *store->RootAt(4);
    AuditFacts facts = Facts("audit.erase", "bob", "admin");
    const auto erased = store->EraseAuditName("alice-jansen", facts, kNow);
    ASSERT_TRUE(erased.ok()) << erased.status();
    EXPECT_EQ(*erased, 4u);
    AuditQuery query;
    query.actor = "alice-jansen";
    EXPECT_THAT(*store->SearchAudit(query), IsEmpty());
    query.actor = "bob";
    EXPECT_THAT(*store->SearchAudit(query), SizeIs(2));
    EXPECT_EQ(*store->RootAt(4), before);
    EXPECT_TRUE(store->VerifyAudit().ok());
    const AuditLine line = *store->AuditEntry(0);
    EXPECT_THAT(*ReadableAudit(line.json, line.disclosed), HasSubstr("(erased)"));
    EXPECT_EQ(DecodeAudit(store->AuditEntry(4)->json)->facts.count, 4);
  }
  EXPECT_TRUE(OpenAndVerify().ok());
  for (const auto& file : std::filesystem::directory_iterator(path_)) {
    if (!file.is_regular_file()) continue;
    EXPECT_THAT(*ReadFile(file.path().string(), uint64_t{1} << 30), Not(HasSubstr("alice-jansen")))
        << file.path();
  }
}

struct Alteration {
  const char* what;
  std::function<void(rocksdb::DB&, rocksdb::ColumnFamilyHandle*, rocksdb::ColumnFamilyHandle*)>
      change;
  uint64_t first_bad;
};

TEST_F(StoreAuditTest, EachTamperingIsFoundAndTheFirstBadIndexNamed) {
  constexpr uint64_t kEntries = 256 * 2 + 40;
  {
    const auto store = Open();
    Fill(*store, kEntries);
  }
  const auto alter = [](uint64_t index) {
    return [index](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* audit,
                   rocksdb::ColumnFamilyHandle*) {
      std::string entry;
      ASSERT_TRUE(db.Get({}, audit, BigEndian64(index), &entry).ok());
      entry.replace(entry.find("fill"), 4, "evil");
      ASSERT_TRUE(db.Put({}, audit, BigEndian64(index), entry).ok());
    };
  };
  const auto drop = [](uint64_t from, uint64_t to) {
    return [from, to](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* audit,
                      rocksdb::ColumnFamilyHandle*) {
      for (uint64_t i = from; i < to; ++i) ASSERT_TRUE(db.Delete({}, audit, BigEndian64(i)).ok());
    };
  };
  const auto tile_key = [](uint64_t n) { return std::string(1, '\0') + BigEndian64(n); };
  const Alteration alterations[] = {
      {"an entry under a full tile", alter(300), 300},
      {"an entry of the last tile", alter(520), 520},
      {"the tail", drop(530, kEntries), 530},
      {"the tail across a tile", drop(500, kEntries), 500},
      {"the middle", drop(100, 103), 100},
      {"the middle of the last tile", drop(515, 516), 515},
      {"two exchanged",
       [](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* audit, rocksdb::ColumnFamilyHandle*) {
         std::string a, b;
         ASSERT_TRUE(db.Get({}, audit, BigEndian64(20), &a).ok());
         ASSERT_TRUE(db.Get({}, audit, BigEndian64(30), &b).ok());
         ASSERT_TRUE(db.Put({}, audit, BigEndian64(20), b).ok());
         ASSERT_TRUE(db.Put({}, audit, BigEndian64(30), a).ok());
       },
       20},
      {"a tile's hash",
       [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle*, rocksdb::ColumnFamilyHandle* tiles) {
         std::string tile;
         ASSERT_TRUE(db.Get({}, tiles, tile_key(1), &tile).ok());
         tile[32 * 9] ^= 1;
         ASSERT_TRUE(db.Put({}, tiles, tile_key(1), tile).ok());
       },
       256 + 9},
      {"a tile gone",
       [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle*, rocksdb::ColumnFamilyHandle* tiles) {
         ASSERT_TRUE(db.Delete({}, tiles, tile_key(1)).ok());
       },
       256},
  };
  const std::string whole = JoinPath(temp_.path(), "whole");
  std::filesystem::copy(path_, whole, std::filesystem::copy_options::recursive);
  for (const Alteration& alteration : alterations) {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(whole, path_, std::filesystem::copy_options::recursive);
    EXPECT_TRUE(OpenAndVerify().ok()) << "before " << alteration.what;
    Tamper(alteration.change);
    const absl::Status status = OpenAndVerify();
    EXPECT_TRUE(absl::IsDataLoss(status)) << alteration.what << ": " << status;
    EXPECT_THAT(status.message(),
                HasSubstr(absl::StrCat("first bad index is ", alteration.first_bad, ":")))
        << alteration.what;
  }
}

TEST_F(StoreAuditTest, AFrozenLogTakesNothing) {
  const auto store = Open();
  Add(*store, Facts("a"));
  store->Freeze(absl::DataLossError("why"));
  store->Freeze(absl::DataLossError("later"));
  Batch batch;
  batch.Audit(Facts("b"));
  EXPECT_EQ(store->Commit(batch, kNow).status().message(), "why");
  EXPECT_EQ(store->AuditSize(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(store->Writable()));
}

TEST_F(StoreAuditTest, TheObserverHearsOfRoundsThatAreCommitted) {
  const auto store = Open();
  std::vector<CommitNotice> notices;
  store->SetObserver([&](const CommitNotice& notice) { notices.push_back(notice); });
  Add(*store, Facts("round.open"));
  Add(*store, Facts("round.commit"));
  ASSERT_THAT(notices, SizeIs(2));
  EXPECT_FALSE(notices[0].round_committed);
  EXPECT_TRUE(notices[1].round_committed);
  EXPECT_EQ(notices[1].size, 2u);
}

TEST_F(StoreAuditTest, CheckpointsAreKept) {
  {
    const auto store = Open();
    EXPECT_TRUE(absl::IsNotFound(store->LoadCheckpoint(CheckpointKind::kNewest).status()));
    ASSERT_TRUE(store->SaveCheckpoint(CheckpointKind::kNewest, "new").ok());
    ASSERT_TRUE(store->SaveCheckpoint(CheckpointKind::kWitnessed, "seen").ok());
  }
  const auto store = Open();
  EXPECT_EQ(*store->LoadCheckpoint(CheckpointKind::kNewest), "new");
  EXPECT_EQ(*store->LoadCheckpoint(CheckpointKind::kWitnessed), "seen");
}

}  // namespace
}  // namespace consilium::coordinator
