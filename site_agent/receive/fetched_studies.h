// The studies that pulls have fetched whole, by pseudonym, in HOME/quarantine/fetched.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_FETCHED_STUDIES_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_FETCHED_STUDIES_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace consilium::agent {

// Thread-compatible.
class FetchedStudies {
 public:
  static absl::StatusOr<FetchedStudies> Load(const std::string& home);
  bool Has(const std::string& study) const { return studies_.contains(study); }
  // Durably.
  absl::Status Add(const std::string& study);

 private:
  std::string path_;
  std::set<std::string> studies_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_FETCHED_STUDIES_H_
