// What an examination of a home finds: a list that the parts of the doctor add to.
#ifndef CONSILIUM_COORDINATOR_UPKEEP_FINDINGS_H_
#define CONSILIUM_COORDINATOR_UPKEEP_FINDINGS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace consilium::coordinator {

enum class Severity { kError, kWarning };
struct HomeFinding {
  Severity severity = Severity::kError;
  std::string what;    // which record or file, and what is wrong with it
  std::string remedy;
};
struct Diagnosis {
  std::vector<HomeFinding> findings;
  uint64_t records = 0;  // looked at
  uint64_t chunks = 0;
  bool has_error() const {
    return std::any_of(findings.begin(), findings.end(), [](const HomeFinding& finding) {
      return finding.severity == Severity::kError;
    });
  }
};

// Adds to a diagnosis, which must outlive it. Thread-compatible.
class Findings {
 public:
  explicit Findings(Diagnosis& diagnosis) : diagnosis_(diagnosis) {}
  void Error(std::string what, absl::string_view remedy) {
    diagnosis_.findings.push_back({Severity::kError, std::move(what), std::string(remedy)});
  }
  void Warning(std::string what, absl::string_view remedy) {
    diagnosis_.findings.push_back({Severity::kWarning, std::move(what), std::string(remedy)});
  }
  void CountRecords(size_t count) { diagnosis_.records += count; }
  void CountChunk() { ++diagnosis_.chunks; }

 private:
  Diagnosis& diagnosis_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_UPKEEP_FINDINGS_H_
