// Writing: commits that wait together are written together, by the one that waits longest.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/store/audit_index.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_rep.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// Of one write: enough to share a sync among many, little enough to keep the wait short.
constexpr size_t kGroupTurnsMax = 256;
constexpr size_t kGroupEntriesMax = 4096;
constexpr absl::Duration kGatherMax = absl::Milliseconds(1);
// Callers read the clock before they queue, so two of them may be a moment out of order. That is
// not a clock that was set back: the later one gets the earlier one's time.
constexpr int64_t kClockSlackUs = 1'000'000;
constexpr const char* kRoundCommit = "round.commit";

AuditStamp NextStamp(uint64_t size, int64_t last_us, absl::Time now) {
  AuditStamp stamp;
  stamp.index = size;
  stamp.time_us = absl::ToUnixMicros(now);
  stamp.mono_us = absl::ToInt64Microseconds(Clock::System().Monotonic());
  if (stamp.time_us >= last_us) return stamp;
  if (last_us - stamp.time_us <= kClockSlackUs) {
    stamp.time_us = last_us;
  } else {
    stamp.clock_back_us = last_us;
  }
  return stamp;
}

uint64_t CurrentLog(rocksdb::DB& db) {
  std::unique_ptr<rocksdb::LogFile> file;
  return db.GetCurrentWalFile(&file).ok() ? file->LogNumber() : 0;
}

AuditFacts StoreFacts(absl::string_view action, absl::string_view reason) {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = std::string(action);
  facts.reason = std::string(reason);
  return facts;
}

}  // namespace

absl::Status Store::Rep::AppendLeaf(rocksdb::WriteBatch& write, AuditState& next,
                                    absl::string_view entry, const AuditFacts& facts,
                                    const AuditStamp& stamp) const {
  if (stamp.time_us < next.last_us) ++next.clock_run;
  next.last_us = stamp.time_us;
  const privacy::Hash leaf = privacy::LeafHash(entry);
  std::vector<AuditTile> tiles;
  next.tree.Append(leaf, tiles);
  for (const AuditTile& tile : tiles) {
    CSL_RETURN_IF_ERROR(Put(write, Family::kAuditTiles, TileKey(tile.level, tile.index), tile.bytes));
  }
  CSL_RETURN_IF_ERROR(Put(write, Family::kAuditIndex, TimeKey(next.clock_run, stamp),
                          privacy::HashBytes(leaf)));
  for (const std::string& key : IndexKeys(facts, stamp.index)) {
    CSL_RETURN_IF_ERROR(Put(write, Family::kAuditIndex, key, ""));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Store::Commit(const Batch& batch, absl::Time now) {
  CSL_CHECK(!batch.audit_.empty());
  Turn turn;
  turn.batch = &batch;
  turn.now = now;
  turn.drafts.reserve(batch.audit_.size());
  for (const AuditFacts& facts : batch.audit_) turn.drafts.emplace_back(facts, rep_->origin);

  std::shared_ptr<Group> group;
  bool leads = false;
  {
    absl::MutexLock lock(&rep_->queue_mutex);
    leads = rep_->queue.empty() || rep_->queue.back()->turns.size() == kGroupTurnsMax ||
            rep_->queue.back()->entries + turn.drafts.size() > kGroupEntriesMax;
    if (leads) {
      rep_->queue.push_back(std::make_shared<Group>());
      rep_->queue.back()->before = std::exchange(rep_->newest, rep_->queue.back());
    }
    group = rep_->queue.back();
    group->turns.push_back(&turn);
    group->entries += turn.drafts.size();
    if (group->turns.size() == rep_->turns_expected) rep_->gathered.Signal();
  }
  leads ? Lead(*group) : group->done.Await();
  return turn.first;
}

void Store::Lead(Group& group) {
  if (group.before != nullptr) group.before->done.Await();
  group.before.reset();
  {
    absl::MutexLock lock(&rep_->queue_mutex);
    absl::Duration left = std::min(rep_->last_write, kGatherMax);
    const absl::Duration until = Clock::System().Monotonic() + left;
    while (group.turns.size() < rep_->turns_expected && left > absl::ZeroDuration()) {
      rep_->gathered.WaitWithTimeout(&rep_->queue_mutex, left);
      left = until - Clock::System().Monotonic();
    }
    rep_->queue.pop_front();  // it is the front: all before it are done
  }
  const absl::Duration start = Clock::System().Monotonic();
  CommitGroup(group.turns);
  {
    absl::MutexLock lock(&rep_->queue_mutex);
    rep_->last_write = Clock::System().Monotonic() - start;
    rep_->turns_expected = group.turns.size();
    for (const auto& waiting : rep_->queue) rep_->turns_expected += waiting->turns.size();
    rep_->turns_expected = std::min(rep_->turns_expected, kGroupTurnsMax);
  }
  group.done.Announce();
}

void Store::CommitGroup(const std::vector<Turn*>& group) {
  absl::Status status = LeaveFull();
  if (status.ok()) status = Writable();
  const absl::Status space = status.ok() ? rep_->ballast.CheckSpace() : absl::OkStatus();
  if (!space.ok()) {
    EnterFull(group.front()->now, DiskError::kNone);
    status = Writable();
  } else if (status.ok()) {
    status = WriteGroup(group);
    if (absl::IsResourceExhausted(status)) EnterFull(group.front()->now, DiskError::kInWrite);
  }
  if (!status.ok()) {
    for (Turn* turn : group) turn->first = status;
    return;
  }
  if (!rep_->observer) return;
  CommitNotice notice;
  notice.size = State()->size();
  for (const Turn* turn : group) {
    for (const AuditDraft& draft : turn->drafts) {
      notice.round_committed |= draft.facts().action == kRoundCommit;
    }
  }
  rep_->observer(notice);
}

absl::Status Store::WriteGroup(const std::vector<Turn*>& group) {
  auto next = std::make_shared<AuditState>(*State());
  rocksdb::WriteBatch write = ProtectedBatch();
  for (Turn* turn : group) {
    const uint64_t first = next->size();
    for (const Batch::Operation& op : turn->batch->operations_) {
      CSL_RETURN_IF_ERROR(
          op.value ? rep_->Put(write, op.family, op.key, *op.value)
                   : FromRocks(write.Delete(rep_->family(op.family), ToSlice(op.key)), "batch"));
    }
    for (VersionRecord version : turn->batch->versions_) {
      version.audit_index = static_cast<int64_t>(first);
      const std::string key = NumberKey(version.study, version.number);
      CSL_RETURN_IF_ERROR(rep_->Put(write, Family::kVersions, key, Encode(version)));
      CSL_RETURN_IF_ERROR(rep_->Put(write, Family::kDigests, version.sha256, key));
    }
    for (const AuditDraft& draft : turn->drafts) {
      const AuditStamp stamp = NextStamp(next->size(), next->last_us, turn->now);
      const std::string entry = draft.Seal(stamp);
      CSL_CHECK(entry.size() <= kAuditEntryBytesMax);
      const std::string key = BigEndian64(stamp.index);
      CSL_RETURN_IF_ERROR(rep_->Put(write, Family::kAudit, key, entry));
      CSL_RETURN_IF_ERROR(rep_->AppendLeaf(write, *next, entry, draft.facts(), stamp));
      for (const AuditDisclosure& secret : draft.secrets()) {
        CSL_RETURN_IF_ERROR(rep_->Put(write, Family::kAuditSalts, key + secret.field,
                                      secret.salt + secret.value));
      }
    }
    turn->first = first;
  }
  CSL_RETURN_IF_ERROR(FromRocks(rep_->db->Write(Synced(), &write), "write"));
  absl::MutexLock lock(&rep_->state_mutex);
  rep_->state = std::move(next);
  return absl::OkStatus();
}

// A full disk: the reserve makes room for one entry that says so. Until there is space for the
// reserve again nothing else is written, so that the room left is not used up either.
void Store::EnterFull(absl::Time now, DiskError error) {
  if (!rep_->ballast.configured()) return;
  absl::Status full = absl::ResourceExhaustedError(
      "store: the disk is full; nothing is recorded, so nothing is changed, until space is free");
  {
    absl::MutexLock lock(&rep_->state_mutex);
    if (!rep_->full.ok()) return;
    rep_->full = full;
  }
  const uint64_t broken_log = CurrentLog(*rep_->db);
  rep_->ballast.Free();
  if (error == DiskError::kInWrite) {
    // Going on is safe once the log with the failed write was left for a new one.
    const absl::Status resumed = FromRocks(rep_->db->Resume(), "resume");
    if (!resumed.ok() || CurrentLog(*rep_->db) == broken_log) {
      absl::MutexLock lock(&rep_->state_mutex);
      rep_->full = Annotate(full, "restart the coordinator when there is space");
      rep_->broken = true;
      return;
    }
  }
  AuditFacts facts = StoreFacts("store.full", "the disk is full");
  facts.outcome = "failed";
  Batch batch;
  Turn turn;
  turn.batch = &batch;
  turn.now = now;
  turn.drafts.emplace_back(std::move(facts), rep_->origin);
  if (const absl::Status told = WriteGroup({&turn}); !told.ok()) {
    full = Annotate(full, absl::StrCat("not even that could be recorded (", told.message(), ")"));
    absl::MutexLock lock(&rep_->state_mutex);
    rep_->full = full;
  }
}

absl::Status Store::LeaveFull() {
  {
    absl::MutexLock lock(&rep_->state_mutex);
    if (rep_->full.ok() || rep_->broken) return absl::OkStatus();
  }
  if (!rep_->ballast.Make().ok()) return absl::OkStatus();  // Writable says why not
  Batch batch;
  Turn turn;
  turn.batch = &batch;
  turn.now = Clock::System().Now();
  turn.drafts.emplace_back(StoreFacts("store.resume", "there is space again"), rep_->origin);
  CSL_RETURN_IF_ERROR(WriteGroup({&turn}));
  absl::MutexLock lock(&rep_->state_mutex);
  rep_->full = absl::OkStatus();
  return absl::OkStatus();
}

void Store::Freeze(absl::Status why) {
  CSL_CHECK(!why.ok());
  absl::MutexLock lock(&rep_->state_mutex);
  if (rep_->frozen.ok()) rep_->frozen = std::move(why);
}

absl::Status Store::Writable() const {
  absl::MutexLock lock(&rep_->state_mutex);
  return rep_->frozen.ok() ? rep_->full : rep_->frozen;
}

void Store::SetObserver(std::function<void(const CommitNotice&)> observer) {
  rep_->observer = std::move(observer);
}

std::shared_ptr<const Store::AuditState> Store::State() const {
  absl::MutexLock lock(&rep_->state_mutex);
  return rep_->state;
}

}  // namespace consilium::coordinator
