// Every target over its corpus and a fixed number of damaged copies, with any compiler: what keeps the
// targets themselves from rotting where there is no libFuzzer.
//
//   fuzz_regression [--copies N] [--only NAME] [--write-corpus DIR]
//                   [FILE...]                       such as a crash that libFuzzer found, with --only
#include <cstdio>
#include <iostream>
#include <random>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

// Cuts, repeats, swaps and flips; the same on every machine.
std::string Damaged(std::string bytes, const std::vector<std::string>& seeds, std::mt19937_64& random) {
  const auto below = [&random](size_t bound) { return bound == 0 ? 0 : random() % bound; };
  for (uint64_t step = 1 + below(4); step > 0; --step) {
    const size_t at = below(bytes.size());
    switch (below(6)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      case 3:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(64)));
        break;
      case 4:
        bytes.insert(at, 1, "0\"{}[]:,\n\\-9ex\xff"[below(15)]);
        break;
      default: {
        const std::string& other = seeds[below(seeds.size())];
        bytes = bytes.substr(0, at) + other.substr(below(other.size() + 1));
      }
    }
  }
  return bytes;
}

void RunTarget(const Target& target, uint64_t copies) {
  const std::vector<std::string> seeds = target.seeds();
  std::mt19937_64 random(20261121);
  for (const std::string& seed : seeds) {
    target.run(seed);
    for (uint64_t i = 0; i < copies; ++i) target.run(Damaged(seed, seeds, random));
  }
  std::cout << target.name << ": " << seeds.size() * (copies + 1) << " inputs\n" << std::flush;
}

void WriteCorpus(const Target& target, const std::string& folder) {
  const std::string under = JoinPath(folder, target.name);
  CSL_CHECK(MakeDirs(under).ok());
  int number = 0;
  for (const std::string& seed : target.seeds()) {
    CSL_CHECK(WriteFileAtomic(JoinPath(under, absl::StrCat("seed-", number++)), seed).ok());
  }
}

}  // namespace
}  // namespace consilium::fuzz

int main(int argc, char** argv) {
  uint64_t copies = 500;
  std::string only;
  std::string corpus;
  std::vector<std::string> files;
  CLI::App app("Runs the fuzz targets over their corpus");
  app.add_option("--copies", copies, "Damaged copies of each seed");
  app.add_option("--only", only, "One target");
  app.add_option("--write-corpus", corpus, "Write the seeds there, a folder for each target");
  app.add_option("FILE", files, "Inputs to run instead");
  CLI11_PARSE(app, argc, argv);
  for (const consilium::fuzz::Target& target : consilium::fuzz::AllTargets()) {
    if (!only.empty() && only != target.name) continue;
    if (!corpus.empty()) {
      consilium::fuzz::WriteCorpus(target, corpus);
    } else if (files.empty()) {
      consilium::fuzz::RunTarget(target, copies);
    }
    for (const std::string& file : files) {
      const auto bytes = consilium::ReadFile(file, 64 << 20);
      CSL_CHECK(bytes.ok());
      target.run(*bytes);
    }
  }
  return 0;
}
