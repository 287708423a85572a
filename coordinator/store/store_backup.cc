// What backups and the doctor need of RocksDB.
#include <memory>

#include "coordinator/store/store.h"
#include "coordinator/store/store_rep.h"
#include "proto/base/status.h"
#include "rocksdb/utilities/checkpoint.h"

namespace consilium::coordinator {

absl::Status Store::CreateCheckpoint(const std::string& folder) const {
  rocksdb::Checkpoint* made = nullptr;
  CSL_RETURN_IF_ERROR(
      FromRocks(rocksdb::Checkpoint::Create(rep_->db.get(), &made), "checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  return FromRocks(checkpoint->CreateCheckpoint(folder), "checkpoint");
}

absl::Status Store::VerifyChecksums() const {
  return FromRocks(rep_->db->VerifyChecksum(), "verify");
}

}  // namespace consilium::coordinator
