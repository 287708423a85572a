// Nanoseconds a parameter of the robust rules on one thread: ten updates of 20 M parameters that
// lie in memory, gone through in the blocks that a coordinator reads, both passes of rules that
// have two. Beside them what merely reading the same bytes costs in the same run. Not run by ctest:
//   build/check/tests/bench/robust_bench [--quick] [--updates N]
// --quick: 2 M parameters. The goal: median and trimmed mean of ten at most 10 ns a parameter.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "aggregation/robust_aggregator.h"

namespace consilium::aggregation {
namespace {

constexpr size_t kParameters = 20'000'000;
constexpr size_t kQuickParameters = 2'000'000;
constexpr size_t kBlock = size_t{1} << 18;
constexpr size_t kReadFloats = 32;
constexpr int kRepeats = 3;

using Updates = std::vector<std::vector<float>>;

// Values without structure that a sort could profit from (SplitMix64, uniform in +-0.01).
Updates MakeUpdates(size_t updates, size_t parameters) {
  Updates made(updates, std::vector<float>(parameters));
  uint64_t state = 1;
  for (auto& update : made) {
    for (float& value : update) {
      uint64_t z = state += 0x9e3779b97f4a7c15;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      value = static_cast<float>(static_cast<int32_t>(z >> 32)) * (0.01f / 2147483648.0f);
    }
  }
  return made;
}

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "robust_bench: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}

template <typename Visit>
void OverBlocks(const Updates& updates, Visit visit) {
  const size_t parameters = updates.front().size();
  std::vector<absl::Span<const float>> rows(updates.size());
  for (size_t at = 0; at < parameters; at += kBlock) {
    const size_t count = std::min(kBlock, parameters - at);
    for (size_t i = 0; i < updates.size(); ++i) {
      rows[i] = absl::MakeConstSpan(updates[i]).subspan(at, count);
    }
    visit(at, rows);
  }
}

// Of the thread, not of the clock on the wall: a machine that does something else too is no slower.
double ThreadNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double BestNanoseconds(size_t parameters, const std::function<void()>& work) {
  double best = 1e300;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const double start = ThreadNanoseconds();
    work();
    best = std::min(best, (ThreadNanoseconds() - start) / static_cast<double>(parameters));
  }
  return best;
}

void Apply(const RobustOptions& options, const Updates& updates, const std::vector<float>& root,
           std::vector<float>& delta) {
  auto rule = RobustAggregator::Create(options, static_cast<int64_t>(updates.front().size()),
                                       std::vector<int64_t>(updates.size(), 1000));
  Must(rule.status());
  if ((*rule)->NeedsFirstPass()) {
    OverBlocks(updates, [&](size_t at, Rows rows) {
      const auto of_root = absl::MakeConstSpan(root).subspan(at, rows.front().size());
      Must((*rule)->Observe(static_cast<int64_t>(at), rows,
                            (*rule)->NeedsRoot() ? of_root : absl::Span<const float>()));
    });
  }
  const absl::StatusOr<Decision> decision = (*rule)->Decide();
  Must(decision.status());
  OverBlocks(updates, [&](size_t, Rows rows) {
    Must((*rule)->Combine(*decision, rows, absl::MakeSpan(delta).first(rows.front().size())));
  });
}

int Main(size_t update_count, size_t parameters) {
  const Updates updates = MakeUpdates(update_count, parameters);
  const std::vector<float> root = updates.front();
  std::vector<float> delta(kBlock);
  uint64_t seen = 0;
  const double read = BestNanoseconds(parameters, [&] {
    OverBlocks(updates, [&](size_t, Rows rows) {
      for (const absl::Span<const float> row : rows) {
        for (size_t i = 0; i + kReadFloats <= row.size(); i += kReadFloats) {
          uint64_t words[kReadFloats / 2];
          std::memcpy(words, row.data() + i, sizeof(words));
          for (const uint64_t word : words) seen ^= word;
        }
      }
    });
  });
  std::printf("%zu updates of %zu parameters, one thread, best of %d\n", update_count, parameters,
              kRepeats);
  std::printf("%-14s %8s %8s\n", "", "ns/param", "x read");
  std::printf("%-14s %8.2f %8.2f\n", "read", read, 1.0);
  const auto f = static_cast<int64_t>((update_count - 3) / 2);
  for (const Rule rule : {Rule::kWeightedMean, Rule::kMedian, Rule::kTrimmedMean, Rule::kNormBound,
                          Rule::kMultiKrum, Rule::kDnc, Rule::kFlTrust}) {
    const RobustOptions options = {
        .rule = rule,
        .hostile_max = rule == Rule::kWeightedMean ? 0 : std::min<int64_t>(f, 2),
        .norm_max = 1,
        .dnc = {.seed = "bench"}};
    const double ns = BestNanoseconds(parameters, [&] { Apply(options, updates, root, delta); });
    std::printf("%-14s %8.2f %8.2f\n", std::string(RuleName(rule)).c_str(), ns, ns / read);
  }
  return seen == 1 ? 2 : 0;  // so that the reading is not left out
}

}  // namespace
}  // namespace consilium::aggregation

int main(int argc, char** argv) {
  size_t parameters = consilium::aggregation::kParameters;
  uint64_t updates = 10;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick") {
      parameters = consilium::aggregation::kQuickParameters;
    } else if (argument == "--updates" && i + 1 < argc && absl::SimpleAtoi(argv[i + 1], &updates) &&
               updates >= 5 && updates <= 200) {
      ++i;
    } else {
      std::fprintf(stderr, "usage: robust_bench [--quick] [--updates 5..200]\n");
      return 2;
    }
  }
  return consilium::aggregation::Main(updates, parameters);
}
