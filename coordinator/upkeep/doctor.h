// Finds every inconsistency of a coordinator's home and says what to do about it. Changes nothing.
//
// Thread-safe. While the coordinator runs, records move under the examination: what was written or
// collected in the meantime is looked at once more before it is called wrong.
#ifndef CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_
#define CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_

#include <string>

#include "coordinator/store/chunk_store.h"
#include "coordinator/store/store.h"
#include "coordinator/upkeep/findings.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

// kQuick: without reading every chunk, every block of the store and every audit entry.
enum class DoctorMode { kQuick, kFull };

// The home of a coordinator that does not run: its store is opened for reading only.
Diagnosis ExamineHome(const std::string& home, DoctorMode mode, const Clock& clock);
// The same through the store and the chunks of the coordinator that runs in it.
Diagnosis ExamineRunning(const Store& store, const ChunkStore& chunks, const std::string& home,
                         DoctorMode mode, const Clock& clock);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_H_
