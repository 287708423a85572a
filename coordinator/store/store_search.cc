// Searching the audit log by its indexes.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "coordinator/store/audit_index.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_rep.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kAuditScanMax = 1000;  // most entries one search returns

bool Fits(const AuditQuery& query, const AuditView& view) {
  const AuditFacts& facts = view.facts;
  const auto fits = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  return view.stamp.time_us >= query.since_us && view.stamp.time_us < query.until_us &&
         (fits(query.actor, facts.actor) || fits(query.actor, facts.site)) &&
         fits(query.action, facts.action) && fits(query.study, facts.study) &&
         fits(query.version, facts.version) && (query.round < 0 || facts.round == query.round);
}

// The entries of one value, in order. Prefix and index are all of its keys.
class Posting {
 public:
  Posting(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, std::string prefix)
      : prefix_(std::move(prefix)), it_(db.NewIterator(rocksdb::ReadOptions(), family)) {}
  // The first index >= `at_least`, which never goes back; none: there is no more.
  absl::StatusOr<std::optional<uint64_t>> Seek(uint64_t at_least) {
    // Usually it is near, and a few steps cost less than a search from the top.
    for (int step = 0; begun_ && step < kStepsMax; ++step) {
      CSL_ASSIGN_OR_RETURN(const std::optional<uint64_t> here, Here());
      if (!here || *here >= at_least) return here;
      it_->Next();
    }
    begun_ = true;
    it_->Seek(prefix_ + BigEndian64(at_least));
    return Here();
  }

 private:
  static constexpr int kStepsMax = 32;

  absl::StatusOr<std::optional<uint64_t>> Here() const {
    CSL_RETURN_IF_ERROR(FromRocks(it_->status(), "search"));
    if (!it_->Valid()) return std::nullopt;
    const absl::string_view key = ToView(it_->key());
    if (key.size() != prefix_.size() + 8 || !absl::StartsWith(key, prefix_)) return std::nullopt;
    return LoadBigEndian64(key.substr(prefix_.size()));
  }

  const std::string prefix_;
  std::unique_ptr<rocksdb::Iterator> it_;
  bool begun_ = false;
};

std::vector<std::string> Prefixes(const AuditQuery& query) {
  std::vector<std::string> prefixes;
  const auto add = [&](IndexKind kind, const std::string& value) {
    if (!value.empty()) prefixes.push_back(IndexPrefix(kind, value));
  };
  add(IndexKind::kVersion, query.version);
  if (query.round >= 0) prefixes.push_back(RoundPrefix(query.round));
  add(IndexKind::kActor, query.actor);
  add(IndexKind::kAction, query.action);
  add(IndexKind::kStudy, query.study);
  return prefixes;
}

// The first index >= `at_least` that all have: whoever is behind is moved to whoever is ahead.
absl::StatusOr<std::optional<uint64_t>> NextInAll(std::vector<Posting>& postings,
                                                  uint64_t at_least) {
  for (size_t agree = 0, i = 0; agree < postings.size(); i = (i + 1) % postings.size()) {
    CSL_ASSIGN_OR_RETURN(const std::optional<uint64_t> index, postings[i].Seek(at_least));
    if (!index) return std::nullopt;
    agree = *index == at_least ? agree + 1 : 1;
    at_least = *index;
  }
  return at_least;
}

// Where in the log a query's times begin and end. Within one run of the clock times only go
// forward, so the part of a run that fits is one stretch of the log.
class TimeWindow {
 public:
  TimeWindow(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family, const AuditQuery& query)
      : since_us_(query.since_us),
        until_us_(query.until_us),
        it_(db.NewIterator(rocksdb::ReadOptions(), family)) {}
  // The first index >= `at_least` of an entry in the window; none: there is no more.
  absl::StatusOr<std::optional<uint64_t>> Next(uint64_t at_least, uint64_t size) {
    if (since_us_ <= 0 && until_us_ == INT64_MAX) {
      return at_least < size ? std::optional(at_least) : std::nullopt;
    }
    while (at_least >= end_) {
      CSL_ASSIGN_OR_RETURN(const bool more, NextRun());
      if (!more) return std::nullopt;
    }
    return std::max(at_least, begin_);
  }

 private:
  // [begin_, end_) of the next run that has entries in the window.
  absl::StatusOr<bool> NextRun() {
    for (; ; ++run_) {
      TimeKeyParts first, last;
      it_->Seek(TimePrefix(run_, since_us_));
      CSL_RETURN_IF_ERROR(FromRocks(it_->status(), "search"));
      if (!it_->Valid() || !ParseTimeKey(ToView(it_->key()), first)) return false;
      if (first.run != run_) {
        run_ = first.run - 1;  // nothing in this run is late enough
        continue;
      }
      it_->SeekForPrev(TimePrefix(run_, until_us_));  // no entry's key is as short
      CSL_RETURN_IF_ERROR(FromRocks(it_->status(), "search"));
      if (!it_->Valid() || !ParseTimeKey(ToView(it_->key()), last) || last.run != run_ ||
          last.index < first.index) {
        continue;
      }
      begin_ = first.index;
      end_ = last.index + 1;
      ++run_;
      return true;
    }
  }

  const int64_t since_us_, until_us_;
  std::unique_ptr<rocksdb::Iterator> it_;
  uint32_t run_ = 0;
  uint64_t begin_ = 0, end_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<AuditLine>> Store::SearchAudit(const AuditQuery& query) const {
  const size_t count_max = std::min(query.count_max, kAuditScanMax);
  const uint64_t size = AuditSize();
  rocksdb::ColumnFamilyHandle* const index_family = rep_->family(Family::kAuditIndex);
  std::vector<Posting> postings;
  for (std::string& prefix : Prefixes(query)) {
    postings.emplace_back(*rep_->db, index_family, std::move(prefix));
  }
  TimeWindow window(*rep_->db, index_family, query);
  std::vector<AuditLine> lines;
  for (uint64_t at = query.from_index; lines.size() < count_max;) {
    CSL_ASSIGN_OR_RETURN(const std::optional<uint64_t> in_time, window.Next(at, size));
    if (!in_time || *in_time >= size) break;
    CSL_ASSIGN_OR_RETURN(const std::optional<uint64_t> index, NextInAll(postings, *in_time));
    if (!index || *index >= size) break;
    at = *index;
    if (at != *in_time) {  // it may lie past this stretch of time
      CSL_ASSIGN_OR_RETURN(const std::optional<uint64_t> still, window.Next(at, size));
      if (!still) break;
      if (*still != at) {
        at = *still;
        continue;
      }
    }
    CSL_ASSIGN_OR_RETURN(AuditLine line, AuditEntry(at++));
    CSL_ASSIGN_OR_RETURN(const AuditView view, DecodeAudit(line.json, line.disclosed));
    if (Fits(query, view)) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace consilium::coordinator
