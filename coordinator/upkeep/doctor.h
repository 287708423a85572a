// Finds every inconsistency of a coordinator's home and says what to do about it. Changes nothing.
//
// Thread-safe. While the coordinator runs, records move under the examination: what was written or
// collected in the meantime is looked at once more before it is called wrong.
#ifndef CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_
#define CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/store/chunk_store.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

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
  bool has_error() const;
};

// kQuick: without reading every chunk, every block of the store and every audit entry.
enum class DoctorMode { kQuick, kFull };

// The home of a coordinator that does not run: its store is opened for reading only.
Diagnosis ExamineHome(const std::string& home, DoctorMode mode, const Clock& clock);
// The same through the store and the chunks of the coordinator that runs in it.
Diagnosis ExamineRunning(const Store& store, const ChunkStore& chunks, const std::string& home,
                         DoctorMode mode, const Clock& clock);

// --- for doctor.cc and doctor_home.cc ---
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
// Keys, certificates, free space, leftovers: what is not in the store. `largest_model` in bytes.
void ExamineFiles(const std::string& home, uint64_t largest_model, const Clock& clock,
                  Findings& findings);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_
