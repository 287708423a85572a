// Homes for simulated sites: enrolled by invitations that lie in a folder, or invited, enrolled and
// approved with an administrator's credentials.
#ifndef CONSILIUM_TESTS_SUPPORT_SIM_ENROL_H_
#define CONSILIUM_TESTS_SUPPORT_SIM_ENROL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/base/clock.h"

namespace consilium::simulated {

// HOMES/<site> for each *.json in `invitations`, in the order of the names. A home that is enrolled
// already is taken as it is.
absl::StatusOr<std::vector<std::string>> EnrolFromFolder(const std::string& invitations,
                                                         const std::string& homes,
                                                         const Clock& clock);

// HOMES/sim-0001 and so on, `count` of them, approved. `admin` is a coordinator's admin folder.
absl::StatusOr<std::vector<std::string>> EnrolAsAdmin(const std::string& admin,
                                                      const std::string& homes, int count,
                                                      const Clock& clock);

// The enrolled homes in `homes`, in the order of the names.
absl::StatusOr<std::vector<std::string>> EnrolledHomes(const std::string& homes);

}  // namespace consilium::simulated

#endif  // CONSILIUM_TESTS_SUPPORT_SIM_ENROL_H_
