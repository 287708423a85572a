// Puts cases into a home's store so that each is there whole or not at all.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_CASE_STORE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_CASE_STORE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

// One for each home at a time, in all processes. Thread-compatible.
class CaseStore {
 public:
  // Removes what a crash left over. FAILED_PRECONDITION: another one holds the store.
  static absl::StatusOr<CaseStore> Open(const std::string& home);
  CaseStore(CaseStore&& other) noexcept;
  CaseStore& operator=(CaseStore&&) = delete;
  ~CaseStore();

  bool Has(absl::string_view case_id) const;
  // An empty folder for the case, with image/ and label/ in it, on the store's file system.
  absl::StatusOr<std::string> Stage(absl::string_view case_id) const;
  // Makes the staged folder the case, in the place of one that is there; durable on return.
  absl::Status Publish(absl::string_view case_id) const;
  void Abandon(absl::string_view case_id) const;
  // Takes the case out, if it is there; it is gone for readers at once, and for good on return. What a
  // crash leaves of it is removed by the next Open.
  absl::Status Remove(absl::string_view case_id) const;
  // Where Stage makes the folder.
  std::string StagePath(absl::string_view case_id) const;

 private:
  CaseStore(std::string home, int lock) : home_(std::move(home)), lock_(lock) {}

  std::string home_;
  int lock_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_CASE_STORE_H_
