#include "coordinator/round/model_registry.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/round/model_diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"
#include "proto/wire/safetensors.h"
#include "tests/support/random.h"

namespace consilium::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

AuditFacts Facts(const std::string& action) {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = action;
  return facts;
}

class ModelRegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open(JoinPath(temp_.path(), "store"));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    models_ = std::make_unique<ModelStore>(*store_, JoinPath(temp_.path(), "chunks"));
    ASSERT_TRUE(models_->Prepare(JoinPath(temp_.path(), "models"), Clock::System().Now()).ok());
  }
  ModelRegistry Registry(int64_t retention) {
    return ModelRegistry(*store_, *models_, Clock::System(), retention);
  }
  // A model of two tensors; the next version of the study, and its `latest`.
  std::string Add(const std::string& study, const std::vector<float>& values) {
    wire::TensorMap map;
    map.layout = {{{.name = "a", .shape = {2}},
                   {.name = "b", .shape = {static_cast<int64_t>(values.size()) - 2}}}};
    map.values = values;
    const int64_t number = next_[study]++;
    const std::string name = absl::StrCat(study, "/", number);
    ChunkWriter writer = models_->NewWriter();
    EXPECT_TRUE(wire::WriteSafetensors([&](absl::string_view data) { return writer.Append(data); },
                                       map, {{"version", name}})
                    .ok());
    const ManifestRecord manifest = writer.Finish().value();
    VersionRecord version;
    version.study = study;
    version.number = number;
    version.version = name;
    version.sha256 = manifest.sha256;
    version.bytes = manifest.bytes;
    Batch batch;
    batch.Put(version);
    batch.Put(manifest);
    batch.Put(AliasRecord{study, kLatestAlias, name});
    batch.Audit(Facts("round.commit"));
    EXPECT_TRUE(store_->Commit(batch, Clock::System().Now()).ok());
    return name;
  }
  std::string AddPlain(const std::string& study) {
    return Add(study, {1, 2, 3, static_cast<float>(next_[study])});
  }
  absl::StatusOr<ModelReader> Open(const ModelRegistry& registry, const std::string& version) {
    auto view = registry.Get(version);
    if (!view.ok()) return view.status();
    return models_->Open(view->version.sha256);
  }
  absl::Status SetAlias(ModelRegistry& registry, const std::string& alias,
                        const std::string& version) {
    return registry
        .SetAlias({version.substr(0, version.find('/')), alias, version, "*"}, "admin")
        .status();
  }

  TempDir temp_ = TempDir::Create("registry").value();
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelStore> models_;
  std::map<std::string, int64_t> next_;
};

TEST_F(ModelRegistryTest, ProductionLeavesPreviousAndRollsBackToIt) {
  ModelRegistry registry = Registry(0);
  AddPlain("hippo"), AddPlain("hippo"), AddPlain("hippo");
  EXPECT_TRUE(absl::IsFailedPrecondition(registry.Rollback("hippo", "bad", "ann").status()));
  ASSERT_TRUE(SetAlias(registry, "production", "hippo/0").ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(registry.Rollback("hippo", "bad", "ann").status()));
  ASSERT_TRUE(SetAlias(registry, "production", "hippo/2").ok());
  ASSERT_TRUE(SetAlias(registry, "production", "hippo/2").ok()) << "no move, so previous stays";
  EXPECT_EQ(registry.Get("hippo@previous")->version.version, "hippo/0");
  EXPECT_TRUE(absl::IsInvalidArgument(SetAlias(registry, "previous", "hippo/1")));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Rollback("hippo", "", "ann").status()));
  EXPECT_EQ(registry.Rollback("hippo", "worse at umc", "ann")->version.version, "hippo/0");
  EXPECT_EQ(registry.Get("hippo@production")->version.version, "hippo/0");
  EXPECT_EQ(registry.Get("hippo@previous")->version.version, "hippo/2");
  AuditQuery query;
  query.action = "alias.rollback";
  const auto lines = store_->SearchAudit(query);
  ASSERT_THAT(*lines, SizeIs(1));
  EXPECT_THAT(lines->front().json, HasSubstr("production=hippo/2"));
}

TEST_F(ModelRegistryTest, DiffIsThatOfTheValues) {
  ModelRegistry registry = Registry(0);
  Add("hippo", {3, 4, 1, 0, 0});
  Add("hippo", {3, 4, 1, 2, -2});
  Add("other", {3, 4, 1});
  const auto a = Open(registry, "hippo/0"), b = Open(registry, "hippo/1");
  const auto diff = DiffModels(*a, *b);
  ASSERT_TRUE(diff.ok()) << diff.status();
  ASSERT_THAT(diff->tensors, SizeIs(2));
  EXPECT_EQ(diff->tensors[0].name, "a");
  EXPECT_EQ(diff->tensors[0].difference.l2, 0);
  EXPECT_DOUBLE_EQ(diff->tensors[0].difference.cosine, 1);
  EXPECT_EQ(diff->tensors[1].name, "b");
  EXPECT_DOUBLE_EQ(diff->tensors[1].difference.l2, std::sqrt(8.0));
  EXPECT_DOUBLE_EQ(diff->tensors[1].difference.relative_l2, std::sqrt(8.0));
  EXPECT_EQ(diff->tensors[1].difference.max_abs, 2);
  EXPECT_DOUBLE_EQ(diff->tensors[1].difference.cosine, 1.0 / 3);
  EXPECT_DOUBLE_EQ(diff->whole.l2, std::sqrt(8.0));
  const auto other = Open(registry, "other/0");
  EXPECT_TRUE(absl::IsFailedPrecondition(DiffModels(*a, *other).status()));
}

TEST_F(ModelRegistryTest, RetentionRemovesOldWeightsAndKeepsTheirRecord) {
  ModelRegistry registry = Registry(2);
  for (int i = 0; i < 5; ++i) AddPlain("hippo");
  AddPlain("other");
  ASSERT_TRUE(SetAlias(registry, "candidate", "hippo/1").ok());
  const auto planned = registry.CollectGarbage(GarbageMode::kDryRun, "ann");
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_THAT(planned->versions, ElementsAre("hippo/0", "hippo/2"));
  EXPECT_EQ(planned->chunks, 2u);
  EXPECT_TRUE(Open(registry, "hippo/0").ok()) << "a dry run touches nothing";
  const auto done = registry.CollectGarbage(GarbageMode::kRemove, "ann");
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->versions, planned->versions);
  EXPECT_EQ(done->bytes, planned->bytes);
  EXPECT_THAT(*models_->chunks().List(nullptr), SizeIs(4));
  EXPECT_TRUE(absl::IsNotFound(Open(registry, "hippo/0").status()));
  EXPECT_NE(registry.Get("hippo/0")->version.weights_gone_us, 0);
  for (const char* kept : {"hippo/1", "hippo/3", "hippo/4", "other/0"}) {
    EXPECT_TRUE(Open(registry, kept).ok()) << kept;
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(SetAlias(registry, "candidate", "hippo/0")));
  EXPECT_TRUE(absl::IsFailedPrecondition(registry.CreateRelease("hippo/2", "ann").status()));
  AuditQuery query;
  query.action = "model.collect";
  EXPECT_THAT(*store_->SearchAudit(query), SizeIs(2));
  EXPECT_THAT(registry.CollectGarbage(GarbageMode::kRemove, "")->versions, IsEmpty());
}

TEST_F(ModelRegistryTest, LeftoversGoOnlyWhenTheirLeaseIsOver) {
  ModelRegistry registry = Registry(0);
  AddPlain("hippo");
  std::string leftover;
  {
    ChunkWriter writer = models_->NewWriter();
    ASSERT_TRUE(writer.Append("never committed").ok());
    leftover = writer.Finish()->chunks[0];
  }
  EXPECT_EQ(registry.CollectGarbage(GarbageMode::kRemove, "")->chunks, 0u);
  const std::string path = models_->chunks().ChunkPath(leftover);
  const timespec old[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
  EXPECT_EQ(registry.CollectGarbage(GarbageMode::kRemove, "")->chunks, 1u);
  EXPECT_FALSE(PathExists(path));
  EXPECT_TRUE(Open(registry, "hippo/0").ok());
}

// A random history of versions, aliases, releases, rounds, evaluations, readers and collections,
// against a model of what is pinned: nothing pinned ever goes, all else past the retention does.
class GarbageModelTest : public ModelRegistryTest, public ::testing::WithParamInterface<int> {};

TEST_P(GarbageModelTest, NothingPinnedIsEverCollected) {
  phantom::Random random(static_cast<uint64_t>(GetParam()), "garbage");
  const int64_t retention = 1 + random.Index(3);
  ModelRegistry registry = Registry(retention);
  std::map<std::string, std::string> aliases;  // study@alias
  std::set<std::string> releases;
  std::map<std::string, ModelReader> readers;
  std::optional<RoundRecord> round;
  std::optional<EvaluationRecord> evaluation;
  StudyRecord study;
  study.name = "a";
  std::set<std::string> gone;
  const auto has_weights = [&](const std::string& v) { return !gone.contains(v); };
  for (int step = 0; step < 60; ++step) {
    const std::string name = random.Index(3) == 0 ? "b" : "a";
    if (next_[name] == 0) AddPlain(name);
    const std::string any = absl::StrCat(name, "/", random.Index(next_[name]));
    switch (random.Index(8)) {
      case 0:
      case 1:
        AddPlain(name);
        break;
      case 2: {
        const char* alias = random.Index(2) == 0 ? "candidate" : "production";
        const bool moved = SetAlias(registry, alias, any).ok();
        EXPECT_EQ(moved, has_weights(any));
        if (!moved) break;
        std::string& at = aliases[absl::StrCat(name, "@", alias)];
        if (alias == std::string("production") && !at.empty() && at != any) {
          aliases[absl::StrCat(name, "@previous")] = at;
        }
        at = any;
        break;
      }
      case 3:
        if (registry.CreateRelease(any, "ann").ok()) releases.insert(any);
        break;
      case 4:
        if (readers.erase(any) == 0 && has_weights(any)) {
          auto reader = Open(registry, any);
          ASSERT_TRUE(reader.ok()) << reader.status();
          readers.emplace(any, *std::move(reader));
        }
        break;
      case 5: {  // a round or an evaluation of study a begins or ends
        if (next_["a"] == 0) break;
        const std::string latest = absl::StrCat("a/", next_["a"] - 1);
        const VersionRecord version = registry.Get(latest)->version;
        Batch batch;
        if (random.Index(2) == 0) {
          if (!round) {
            round = RoundRecord{};
            round->study = "a";
            round->number = step;
            round->base_version = latest;
            round->base_sha256 = version.sha256;
            batch.Put(*round);
          } else {
            round->phase = RoundPhase::kCommitted;
            batch.Put(*round);
            round.reset();
          }
        } else if (!evaluation) {
          evaluation = EvaluationRecord{};
          evaluation->study = "a";
          evaluation->version = latest;
          evaluation->number = step;
          batch.Put(*evaluation);
        } else {
          evaluation->ended_us = 1;
          batch.Put(*evaluation);
          evaluation.reset();
        }
        study.latest_sha256 = version.sha256;
        batch.Put(study);
        batch.Audit(Facts("round.open"));
        ASSERT_TRUE(store_->Commit(batch, Clock::System().Now()).ok());
        break;
      }
      default:
        ASSERT_TRUE(registry.CollectGarbage(GarbageMode::kRemove, "").ok());
        std::set<std::string> pinned = releases;
        for (const auto& [alias, version] : aliases) pinned.insert(version);
        for (const auto& [version, reader] : readers) pinned.insert(version);
        if (round) pinned.insert(round->base_version);
        if (evaluation) pinned.insert(evaluation->version);
        for (const auto& [one, next] : next_) {
          for (int64_t n = 0; n < next; ++n) {
            const std::string version = absl::StrCat(one, "/", n);
            const VersionRecord record = registry.Get(version)->version;
            const bool stays = n >= next - retention || pinned.contains(version) ||
                               record.sha256 == study.latest_sha256;
            if (!stays) gone.insert(version);
            const auto reader = Open(registry, version);
            EXPECT_EQ(reader.ok(), has_weights(version))
                << "seed " << GetParam() << " step " << step << " " << version;
            EXPECT_EQ(record.weights_gone_us != 0, !has_weights(version));
            EXPECT_TRUE(!reader.ok() || reader->Chunk(0).ok());
          }
        }
    }
    for (const auto& [version, reader] : readers) ASSERT_TRUE(reader.Chunk(0).ok()) << version;
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, GarbageModelTest, ::testing::Range(0, 8));

}  // namespace
}  // namespace consilium::coordinator
