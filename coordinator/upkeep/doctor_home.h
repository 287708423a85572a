// The part of the doctor that looks at a home's files: keys, certificates, free space, leftovers.
#ifndef CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_HOME_H_
#define CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_HOME_H_

#include <cstdint>
#include <string>

#include "coordinator/upkeep/findings.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

// What is not in the store. `largest_model` in bytes.
void ExamineFiles(const std::string& home, uint64_t largest_model, const Clock& clock,
                  Findings& findings);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_UPKEEP_DOCTOR_HOME_H_
