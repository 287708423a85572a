// How fast the audit log takes entries and proves them, beside what the disk itself does.
//
//   audit_bench FOLDER [ENTRIES]
//
// FOLDER is made on the disk to measure and removed again. ENTRIES (default 10 million, 0: none) are
// put in before proofs are timed. Prints one line a figure; ratios are against fdatasync of 4 KiB
// on the same disk in the same run.
#include <fcntl.h>
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

#include "coordinator/store/store.h"
#include "privacy/transparency/merkle.h"
#include "proto/base/clock.h"

namespace {

using consilium::coordinator::AuditFacts;
using consilium::coordinator::Batch;
using consilium::coordinator::Store;
using SteadyClock = std::chrono::steady_clock;

constexpr double kSeconds = 3;
constexpr int kProofs = 2000;
constexpr int kFillBatch = 1000;
constexpr int kFillWriters = 2;

double Since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

AuditFacts Facts() {
  AuditFacts facts;
  facts.actor = facts.site = "hospital-north";
  facts.role = "site";
  facts.action = "update.accept";
  facts.study = "hippocampus";
  facts.round = 17;
  facts.digest = std::string(64, 'a');
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

double DurableEntries(Store& store, int writers) {
  std::atomic<int64_t> count = 0;
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
  return static_cast<double>(count) / Since(start);
}

void Fill(Store& store, uint64_t entries) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kFillWriters; ++t) {
    threads.emplace_back([&] {
      const AuditFacts facts = Facts();
      while (store.AuditSize() < entries) {
        Batch batch;
        for (int i = 0; i < kFillBatch; ++i) batch.Audit(facts);
        if (!store.Commit(batch, consilium::Clock::System().Now()).ok()) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
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
  std::sort(times.begin(), times.end());
  std::printf("inclusion proof of %llu entries: median %.3f ms, p99 %.3f ms, most %.3f ms\n",
              static_cast<unsigned long long>(size), 1e3 * times[kProofs / 2],
              1e3 * times[kProofs * 99 / 100], 1e3 * times.back());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: audit_bench FOLDER [ENTRIES]\n");
    return 2;
  }
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
  for (const int writers : {1, 16}) {
    const double rate = DurableEntries(**store, writers);
    std::printf("durable entries, %d writers: %.0f /s, %.2f of the disk's syncs\n", writers, rate,
                rate / disk);
  }
  if (entries > 0) {
    const uint64_t before = (*store)->AuditSize();
    const auto start = SteadyClock::now();
    Fill(**store, entries);
    std::printf("filled in batches of %d: %.0f entries/s\n", kFillBatch,
                static_cast<double>((*store)->AuditSize() - before) / Since(start));
    Proofs(**store);
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
