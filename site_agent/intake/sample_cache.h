// Prepared cases: read, resampled and normalised once, then loaded in milliseconds at every step.
//
// HOME/cache/<first 16 hex digits of the preparation's digest>/<case id>.bin. The digest covers what
// of a plan changes the arrays (labels, spacing, normalisation of each channel), so a new learning rate
// keeps the cache. A file that is damaged, or older than its case, is rebuilt without a word. What a
// file is made of, and how it is verified and encrypted: sample_file.h.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_CACHE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_CACHE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "privacy/crypto/secret_bytes.h"
#include "proto/wire/plan.h"
#include "site_agent/imaging/volume.h"
#include "site_agent/intake/cohort.h"
#include "site_agent/intake/study_index.h"

namespace consilium::agent {

// One case as the network sees it. image is [C][D][H][W], label [D][H][W] on `grid` (W = x fastest).
struct PreparedCase {
  std::string case_id;
  imaging::Geometry grid;    // the plan's spacing, nearest patient axes
  imaging::Geometry source;  // of the first channel's series, before resampling
  std::vector<float> image;
  std::vector<uint8_t> label;  // empty: unlabelled
  std::string label_path;      // the SEG in the store, for evaluation on `source`; empty: unlabelled
  std::array<int64_t, 3> size_dhw() const {
    return {grid.size_xyz[2], grid.size_xyz[1], grid.size_xyz[0]};
  }
  int64_t channels() const { return static_cast<int64_t>(image.size()) / grid.voxels(); }
};

// Load and Ensure may be called by several threads at once; two caches on one folder are safe (files
// are replaced whole).
class SampleCache {
 public:
  struct Options {
    std::string home;
    wire::Plan plan;
    uint64_t bytes_max = uint64_t{20} << 30;  // of HOME/cache; the least recently used go first
    // Files are sealed with HOME/cache.key, which is made at the first time, and those that are not
    // are removed. Without the key the cases are prepared again.
    bool is_encrypted = false;
  };
  // FAILED_PRECONDITION: others may read cache.key. Errors of the disk.
  static absl::StatusOr<SampleCache> Open(Options options);

  // From the cache, or prepared and put there. DATA_LOSS or INVALID_ARGUMENT: the case in the store
  // cannot be read or prepared (the message names the case).
  absl::StatusOr<PreparedCase> Load(const CohortCase& item);

  // As Load, without reading what is there but its header: damage further on shows when it is loaded,
  // and is repaired then.
  absl::Status Ensure(const CohortCase& item);

  // Prepares what is not there yet. Progress counts cases. CANCELLED: `stop` became true.
  absl::Status Prepare(const Cohort& cohort, const IntakeProgress& progress,
                       const std::atomic<bool>* stop);

  const std::string& folder() const { return folder_; }

 private:
  SampleCache(Options options, std::string folder)
      : options_(std::move(options)), folder_(std::move(folder)) {}
  // In the unit that the plan's channel asks for.
  absl::StatusOr<imaging::Volume> ReadChannel(const CaseRecord& record, size_t channel) const;
  std::string PathOf(const CohortCase& item) const;
  absl::StatusOr<PreparedCase> Build(const CohortCase& item) const;
  absl::StatusOr<PreparedCase> BuildAndStore(const CohortCase& item, absl::string_view origin) const;
  void Store(const PreparedCase& prepared, const std::string& path, absl::string_view origin) const;

  const privacy::SecretBytes* key() const { return options_.is_encrypted ? &key_ : nullptr; }

  Options options_;
  std::string folder_;
  privacy::SecretBytes key_;
  // One writer at a time, so that the cache keeps to its size.
  std::unique_ptr<absl::Mutex> storing_ = std::make_unique<absl::Mutex>();
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_SAMPLE_CACHE_H_
