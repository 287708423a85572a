// Parsers of foreign bytes, each behind one entry function that a fuzzer or a fixed corpus can call.
//
// A run that ends is a good run: a target crashes (CSL_CHECK, sanitizer) when a property fails, such as
// "what was accepted reads back to the same". Thread-compatible.
#ifndef CONSILIUM_TESTS_FUZZ_TARGET_H_
#define CONSILIUM_TESTS_FUZZ_TARGET_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace consilium::fuzz {

struct Target {
  const char* name;
  void (*run)(absl::string_view bytes);
  // A small corpus, made each time: a good input of each form, and a few that are nearly good.
  std::vector<std::string> (*seeds)();
};

// X_targets.cc each.
std::vector<Target> ProtoTargets();
std::vector<Target> CoordinatorTargets();
std::vector<Target> AuditTargets();
std::vector<Target> SecaggTargets();
std::vector<Target> SiteTargets();
std::vector<Target> MessageTargets();
std::vector<Target> DeidTargets();
std::vector<Target> ImagingTargets();
std::vector<Target> WebTargets();

std::vector<Target> DicomTargets();  // of these, what reads DICOM

std::vector<Target> AllTargets();

}  // namespace consilium::fuzz

#endif  // CONSILIUM_TESTS_FUZZ_TARGET_H_
