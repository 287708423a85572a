// Figures of privacy/transparency on one core: what a reviewer's machine verifies, and what a log and
// its witnesses sign. Not run by ctest:
//   build/check/tests/bench/transparency_bench
// The goal: 100,000 inclusion proofs verified a second, the leaf hash included.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

constexpr size_t kEntryBytes = 300;

std::string Entry(uint64_t index) {
  std::string entry = absl::StrCat("{\"index\":", index, "}");
  entry.resize(kEntryBytes, ' ');
  return entry;
}

// A tree of 2^levels entries whose nodes are made up, except on the path of one entry: its proof has
// the length, and the verification the cost, of a real one of that size.
struct Proven {
  std::string entry;
  uint64_t index;
  std::vector<Hash> proof;
  Hash root;
};

Proven Prove(uint64_t index, int levels) {
  Proven proven{.entry = Entry(index), .index = index, .proof = {}, .root = {}};
  proven.root = LeafHash(proven.entry);
  for (int level = 0; level < levels; ++level) {
    const Hash sibling = LeafHash(absl::StrCat("sibling ", level));
    proven.proof.push_back(sibling);
    proven.root = (index >> level & 1) == 0 ? NodeHash(proven.root, sibling)
                                            : NodeHash(sibling, proven.root);
  }
  return proven;
}

void VerifyInclusionProofs(benchmark::State& state) {
  const int levels = static_cast<int>(state.range(0));
  const Proven proven = Prove(0x5a5a5a & ((uint64_t{1} << levels) - 1), levels);
  for (auto _ : state) {
    const absl::Status status = VerifyInclusion(LeafHash(proven.entry), proven.index,
                                                uint64_t{1} << levels, proven.proof, proven.root);
    CSL_CHECK(status.ok());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(VerifyInclusionProofs)->Arg(10)->Arg(17)->Arg(20)->Arg(24);  // 1 k to 16 M entries

void HashLeaves(benchmark::State& state) {
  const std::string entry = Entry(7);
  for (auto _ : state) benchmark::DoNotOptimize(LeafHash(entry));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(HashLeaves);

void AppendToFrontier(benchmark::State& state) {
  const std::string entry = Entry(7);
  Frontier frontier;
  for (auto _ : state) frontier.Append(LeafHash(entry));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(AppendToFrontier);

void SignCheckpoints(benchmark::State& state) {
  const NoteSigner signer = *NoteSigner::Generate("bench.example/log", kNoteEd25519);
  const Checkpoint checkpoint{.origin = signer.name(), .size = 7, .root = LeafHash("x")};
  for (auto _ : state) benchmark::DoNotOptimize(SignCheckpoint(checkpoint, signer));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(SignCheckpoints);

void VerifyCheckpoints(benchmark::State& state) {
  const NoteSigner signer = *NoteSigner::Generate("bench.example/log", kNoteEd25519);
  const std::string note =
      SignCheckpoint({.origin = signer.name(), .size = 7, .root = LeafHash("x")}, signer);
  for (auto _ : state) CSL_CHECK(OpenCheckpoint(note, signer.verifier()).ok());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(VerifyCheckpoints);

void Ed25519Signs(benchmark::State& state) {
  const Ed25519Key key = Ed25519Key::Generate();
  const std::string message(200, 'm');
  for (auto _ : state) benchmark::DoNotOptimize(key.Sign(message));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Ed25519Signs);

void Ed25519Verifies(benchmark::State& state) {
  const Ed25519Key key = Ed25519Key::Generate();
  const std::string message(200, 'm'), signature = key.Sign(message);
  for (auto _ : state) CSL_CHECK(Ed25519Verify(key.public_key(), message, signature).ok());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Ed25519Verifies);

}  // namespace
}  // namespace consilium::privacy

BENCHMARK_MAIN();
