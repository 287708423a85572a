// What Store keeps behind its header. For the store_*.cc files only.
#ifndef CONSILIUM_COORDINATOR_STORE_STORE_REP_H_
#define CONSILIUM_COORDINATOR_STORE_STORE_REP_H_

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
  // Below: guarded by the queue's mutex once the turn is queued.
  absl::StatusOr<uint64_t> first = absl::InternalError("not written yet");
  bool done = false;
  absl::CondVar wake;
};

struct Store::Rep {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  AuditOrigin origin;
  Ballast ballast{"", 0};
  std::function<void(const CommitNotice&)> observer;

  absl::Mutex queue_mutex;
  std::deque<Turn*> queue ABSL_GUARDED_BY(queue_mutex);  // the front is the one that writes

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
