// Backups of a coordinator's home, made while it runs, and homes made from them.
//
//   FOLDER/chunks/ab/cd/<sha256>   weights, shared by all backups in the folder: a chunk is copied once
//   FOLDER/<UTC time>/store/       the records (a RocksDB checkpoint)
//   FOLDER/<UTC time>/home/        configuration, certificates and keys (0600): guard it like the home
//   FOLDER/<UTC time>/backup.json  written last
// Left out: staging/ (the sites are asked again for the updates of a round under way) and run/.
//
// A backup is built under a name that begins with ".partial-", verified by reading it back (RocksDB's
// checksums, the audit log, every chunk's digest), and renamed; so whatever has a plain name is whole.
// Errors: INVALID_ARGUMENT: the folder cannot be used; says why. DATA_LOSS: a record or chunk is
// damaged; names it. RESOURCE_EXHAUSTED: no space.
#ifndef CONSILIUM_COORDINATOR_UPKEEP_BACKUP_H_
#define CONSILIUM_COORDINATOR_UPKEEP_BACKUP_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/round/model_registry.h"
#include "coordinator/store/model_store.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

struct BackupReport {
  std::string name;  // of the new folder in FOLDER
  uint64_t bytes = 0;   // of weights
  uint64_t chunks = 0;
  uint64_t chunks_copied = 0;
  uint64_t audit_size = 0;
};

// What a backup is made of; all outlive the call.
struct BackupSource {
  Store& store;
  ModelStore& models;
  ModelRegistry& registry;
  std::string home;
};

// `folder` is absolute and not in the home; it is made if it is not there. Recorded in the audit log
// under `by`. Blocks collections of garbage, nothing else.
absl::StatusOr<BackupReport> CreateBackup(const BackupSource& source, const std::string& folder,
                                          const std::string& by, const Clock& clock);

// `backup`: FOLDER/<time>, or FOLDER for the newest in it. `home` must not exist, or be an empty
// folder; a failure leaves it as it was. The new home is verified like a backup.
absl::StatusOr<BackupReport> RestoreBackup(const std::string& backup, const std::string& home);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_UPKEEP_BACKUP_H_
