// How fast the audit log takes entries and proves them, beside what the disk itself does.
//
//   audit_bench FOLDER [ENTRIES]
//
// FOLDER is made on the disk to measure and removed again. ENTRIES (default 10 million, 0: none) are
// put in before proofs are timed. Prints one line a figure; ratios are against fdatasync of 4 KiB
// on the same disk in the same run.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/store/store.h"
#include "privacy/transparency/merkle.h"
#include "proto/base/clock.h"

namespace {

using consilium::coordinator::AuditFacts;
using consilium::coordinator::AuditQuery;
using consilium::coordinator::Batch;
using consilium::coordinator::Store;
using SteadyClock = std::chrono::steady_clock;

constexpr double kSeconds = 3;
constexpr int kProofs = 2000;
constexpr uint64_t kSearches = 100;
constexpr int kFillBatch = 1000;
constexpr int kFillWriters = 2;

double Since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// A day of a federation as one would look: forty sites, five studies, and among the sites' updates a
// round committed, now and then an administrator.
AuditFacts Facts(uint64_t number = 0) {
  constexpr uint64_t kSites = 40, kStudies = 5, kEntriesOfRound = 100, kEntriesOfAdmin = 1000;
  const uint64_t round = number / kEntriesOfRound;
  AuditFacts facts;
  facts.study = absl::StrCat("study-", round % kStudies);
  facts.round = static_cast<int64_t>(round / kStudies);
  facts.digest = std::string(64, 'a');
  if (number % kEntriesOfAdmin == 1) {
    facts.actor = "alice", facts.role = "admin", facts.action = "study.update";
  } else if (number % kEntriesOfRound == kEntriesOfRound - 1) {
    facts.actor = facts.role = "coordinator", facts.action = "round.commit";
    facts.version = absl::StrCat(facts.study, "/", *facts.round);
  } else {
    facts.actor = facts.site = absl::StrCat("hospital-", number * 2654435761u % kSites);
    facts.role = "site", facts.action = "update.accept";
  }
  return facts;
}

double Fdatasyncs(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
  if (fd < 0) std::abort();
  const std::string block(4096, 'x');
  constexpr off_t kSpan = off_t{64} << 20;  // allocated before, as the store's log is
  if (::posix_fallocate(fd, 0, kSpan) != 0) std::abort();
  const auto start = SteadyClock::now();
  int count = 0;
  for (; Since(start) < kSeconds; ++count) {
    const off_t at = off_t{4096} * (count % (kSpan / 4096));
    if (::pwrite(fd, block.data(), block.size(), at) < 0 || ::fdatasync(fd) != 0) std::abort();
  }
  ::close(fd);
  return count / Since(start);
}

double CpuSeconds() {
  rusage usage;
  if (::getrusage(RUSAGE_SELF, &usage) != 0) std::abort();
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Rate {
  double per_second = 0;
  double cpu_us = 0;  // of the whole process, for one entry
};

Rate DurableEntries(Store& store, int writers) {
  std::atomic<int64_t> count = 0;
  const double cpu = CpuSeconds();
  const auto start = SteadyClock::now();
  std::vector<std::thread> threads;
  for (int t = 0; t < writers; ++t) {
    threads.emplace_back([&] {
      const AuditFacts facts = Facts();
      while (Since(start) < kSeconds) {
        Batch batch;
        batch.Audit(facts);
        if (!store.Commit(batch, consilium::Clock::System().Now()).ok()) std::abort();
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto entries = static_cast<double>(count);
  return {entries / Since(start), 1e6 * (CpuSeconds() - cpu) / entries};
}

void Fill(Store& store, uint64_t entries) {
  std::vector<std::thread> threads;
  std::atomic<uint64_t> number = 0;
  for (int t = 0; t < kFillWriters; ++t) {
    threads.emplace_back([&] {
      while (store.AuditSize() < entries) {
        Batch batch;
        for (int i = 0; i < kFillBatch; ++i) batch.Audit(Facts(number++));
        if (!store.Commit(batch, consilium::Clock::System().Now()).ok()) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void Print(const std::string& what, std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  std::printf("%s: median %.3f ms, p99 %.3f ms, most %.3f ms\n", what.c_str(),
              1e3 * seconds[seconds.size() / 2], 1e3 * seconds[seconds.size() * 99 / 100],
              1e3 * seconds.back());
}

void Proofs(const Store& store) {
  const uint64_t size = store.AuditSize();
  const auto root = store.RootAt(size);
  std::vector<double> times;
  uint64_t seed = 88172645463325252u;  // xorshift64
  for (int i = 0; i < kProofs; ++i) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    const uint64_t index = seed % size;
    const auto start = SteadyClock::now();
    const auto proof = store.InclusionProof(index, size);
    times.push_back(Since(start));
    const auto entry = store.AuditEntry(index);
    if (!proof.ok() || !entry.ok() ||
        !consilium::privacy::VerifyInclusion(consilium::privacy::LeafHash(entry->json), index, size,
                                             *proof, *root)
             .ok()) {
      std::abort();
    }
  }
  Print(absl::StrCat("inclusion proof of ", size, " entries"), times);
}

// Pages of 100 from places all over the log, by each index and by several at once.
void Searches(const Store& store) {
  struct Case {
    const char* name;
    AuditQuery query;
  };
  const std::vector<Case> cases = {
      {"any", {}},
      {"actor", {.actor = "hospital-7"}},
      {"rare actor", {.actor = "alice"}},
      {"action", {.action = "round.commit"}},
      {"study", {.study = "study-3"}},
      {"round", {.round = 100}},
      {"version", {.version = "study-3/100"}},
      {"actor, action, study", {.actor = "hospital-7", .action = "update.accept", .study = "study-3"}},
      {"never together", {.actor = "hospital-7", .action = "round.commit"}},
      {"no such actor", {.actor = "nobody"}}};
  for (const Case& one : cases) {
    std::vector<double> times;
    for (uint64_t i = 0; i < kSearches; ++i) {
      AuditQuery query = one.query;
      query.from_index = store.AuditSize() / kSearches * i;
      const auto start = SteadyClock::now();
      if (!store.SearchAudit(query).ok()) std::abort();
      times.push_back(Since(start));
    }
    Print(absl::StrCat("search by ", one.name), times);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: audit_bench FOLDER [ENTRIES]\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a long run
  const std::string folder = argv[1];
  const uint64_t entries = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000'000;
  if (!std::filesystem::create_directory(folder)) {
    std::fprintf(stderr, "audit_bench: FOLDER is there already; name a new one\n");
    return 2;
  }
  auto store = Store::Open(folder + "/store");
  if (!store.ok()) std::abort();
  const double disk = Fdatasyncs(folder + "/disk");
  std::printf("fdatasync of 4 KiB: %.0f /s\n", disk);
  for (const int writers : {1, 16, 64}) {
    const Rate rate = DurableEntries(**store, writers);
    std::printf("durable entries, %2d writers: %.0f /s, %.2f of the disk's syncs, %.0f us of CPU each\n",
                writers, rate.per_second, rate.per_second / disk, rate.cpu_us);
  }
  if (entries > 0) {
    const uint64_t before = (*store)->AuditSize();
    const auto start = SteadyClock::now();
    Fill(**store, entries);
    std::printf("filled in batches of %d: %.0f entries/s\n", kFillBatch,
                static_cast<double>((*store)->AuditSize() - before) / Since(start));
    Proofs(**store);
    Searches(**store);
    store->reset();
    const auto opening = SteadyClock::now();
    store = Store::Open(folder + "/store");
    if (!store.ok()) std::abort();
    std::printf("opened in %.2f s\n", Since(opening));
  }
  store->reset();
  std::filesystem::remove_all(folder);
  return 0;
}
