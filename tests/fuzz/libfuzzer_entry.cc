// One libFuzzer program per target: compiled with CONSILIUM_FUZZ_TARGET="plan".
#include <cstdint>
#include <cstring>

#include "proto/base/check.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const consilium::fuzz::Target target = [] {
    for (const consilium::fuzz::Target& one : consilium::fuzz::AllTargets()) {
      if (std::strcmp(one.name, CONSILIUM_FUZZ_TARGET) == 0) return one;
    }
    CSL_CHECK(false);
  }();
  target.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
