// One libFuzzer program per target: compiled with CONSILIUM_FUZZ_TARGET="plan" and the function that
// lists it as CONSILIUM_FUZZ_LIST.
//   fuzz_plan --write-corpus FOLDER    writes the seeds and ends
//   fuzz_plan -max_total_time=60 FOLDER
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "proto/base/check.h"
#include "proto/base/file.h"
#include "tests/fuzz/target.h"

namespace {

const consilium::fuzz::Target& TheTarget() {
  static const consilium::fuzz::Target target = [] {
    for (const consilium::fuzz::Target& one : consilium::fuzz::CONSILIUM_FUZZ_LIST()) {
      if (std::strcmp(one.name, CONSILIUM_FUZZ_TARGET) == 0) return one;
    }
    CSL_CHECK(false);
  }();
  return target;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::strcmp((*argv)[1], "--write-corpus") != 0) return 0;
  const std::string folder = (*argv)[2];
  CSL_CHECK(consilium::MakeDirs(folder).ok());
  int number = 0;
  for (const std::string& seed : TheTarget().seeds()) {
    const std::string path = consilium::JoinPath(folder, std::to_string(number++));
    CSL_CHECK(consilium::ReplaceFile(path, seed).ok());
  }
  std::printf("%d seeds\n", number);
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  TheTarget().run({reinterpret_cast<const char*>(data), size});
  return 0;
}
