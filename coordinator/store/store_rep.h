// What Store keeps behind its header. For the store_*.cc files only.
#ifndef CONSILIUM_COORDINATOR_STORE_STORE_REP_H_
#define CONSILIUM_COORDINATOR_STORE_STORE_REP_H_

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/store/audit_tree.h"
#include "coordinator/store/ballast.h"
#include "coordinator/store/rocks.h"
#include "coordinator/store/store.h"

namespace consilium::coordinator {

// DATA_LOSS in the words of every check of the audit log.
absl::Status FirstBadIndex(uint64_t index, absl::string_view how);

// What the next entry depends on. A snapshot: replaced as a whole after a write, never changed.
struct Store::AuditState {
  AuditTree tree;
  int64_t last_us = 0;        // time of the last entry
  uint32_t clock_run = 0;     // counts how often the clock was set back
  uint64_t size() const { return tree.size(); }
};

// One Commit that waits to be written.
struct Store::Turn {
  const Batch* batch = nullptr;
  absl::Time now;
  std::vector<AuditDraft> drafts;
  absl::StatusOr<uint64_t> first = absl::InternalError("not written yet");
};

// Something that happens once, for many threads that wait: they sleep on the word itself and on no
// mutex, so that waking all is one call of the system and none waits for another to run. Not
// std::atomic::wait, which yields the processor several times before it sleeps.
class Happening {
 public:
  void Await() const {
    while (word_.load(std::memory_order_acquire) == 0) Futex(FUTEX_WAIT_PRIVATE, 0);
  }
  void Announce() {
    word_.store(1, std::memory_order_release);
    Futex(FUTEX_WAKE_PRIVATE, INT_MAX);
  }

 private:
  // An error (interrupted, or it has happened by now) leaves it to the caller's loop.
  void Futex(int operation, int value) const {
    (void)::syscall(SYS_futex, &word_, operation, value, nullptr, nullptr, 0);
  }
  std::atomic<int> word_ = 0;
  static_assert(sizeof(std::atomic<int>) == sizeof(int));
};

// Commits that share one write and one sync. The first to come leads: it waits for the group before,
// writes, and lets all others go at once.
struct Store::Group {
  std::vector<Turn*> turns;  // guarded by the queue's mutex until the group is out of the queue
  size_t entries = 0;        // likewise
  std::shared_ptr<Group> before;  // the leader's
  Happening done;  // turns and what they point to are their callers' again
};

struct Store::Rep {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  AuditOrigin origin;
  Ballast ballast{"", 0};
  std::function<void(const CommitNotice&)> observer;

  absl::Mutex queue_mutex;
  std::deque<std::shared_ptr<Group>> queue ABSL_GUARDED_BY(queue_mutex);  // not yet being written
  std::shared_ptr<Group> newest ABSL_GUARDED_BY(queue_mutex);
  // Who committed lately: so many turns the next group is worth waiting for, for as long as the last
  // write took, because each that misses it costs a sync of its own.
  size_t turns_expected ABSL_GUARDED_BY(queue_mutex) = 1;
  absl::Duration last_write ABSL_GUARDED_BY(queue_mutex);
  absl::CondVar gathered;

  // Held for a moment only, never while the disk works.
  mutable absl::Mutex state_mutex;
  std::shared_ptr<const AuditState> state ABSL_GUARDED_BY(state_mutex);
  absl::Status frozen ABSL_GUARDED_BY(state_mutex);
  absl::Status full ABSL_GUARDED_BY(state_mutex);
  bool broken ABSL_GUARDED_BY(state_mutex) = false;  // a write failed: only a restart goes on

  ~Rep() {
    for (rocksdb::ColumnFamilyHandle* family : families) {
      db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    }
    if (db != nullptr) db->Close().PermitUncheckedError();
  }
  rocksdb::ColumnFamilyHandle* family(Family f) const {
    // RocksDB opened them in the order of their names in store_open.cc, after "default".
    return families[static_cast<size_t>(f) + 1];
  }
  absl::Status Put(rocksdb::WriteBatch& write, Family f, absl::string_view key,
                   absl::string_view value) const {
    return FromRocks(write.Put(family(f), ToSlice(key), ToSlice(value)), "batch");
  }
  // Adds the leaf of an entry, its tiles and its index keys to `write`, and moves `next` on.
  absl::Status AppendLeaf(rocksdb::WriteBatch& write, AuditState& next, absl::string_view entry,
                          const AuditFacts& facts, const AuditStamp& stamp) const;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_STORE_REP_H_
