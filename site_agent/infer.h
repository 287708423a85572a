// DICOM in, DICOM SEG and a report out: what consilium-infer does.
//
// OUTPUT/<series UID>/consilium.seg.dcm   one a segmented series; with several input channels it is
//                                         the first one's
// OUTPUT/report.json                      what was found, and why a series was not taken
//
// The same input gives the same bytes: no times, no order of the file system, no random UIDs.
// Privacy: works on identified files; a report names a series by its UID and nothing else.
#ifndef CONSILIUM_SITE_AGENT_INFER_H_
#define CONSILIUM_SITE_AGENT_INFER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/base/clock.h"
#include "site_agent/agent_options.h"

namespace consilium::agent {

struct InferOptions {
  std::string input;
  std::string output;
  std::string model;  // a safetensors file, or a folder with model.safetensors
  ComputeOptions compute;
};

enum class SeriesStatus {
  kSegmented,
  kNotEligible,  // the model is not for such a series: by its plan
  kUsed,         // a further input channel of a series that was segmented, or failed
  kFailed,       // it is for it, but cannot be read, segmented or written
};
const char* SeriesStatusName(SeriesStatus status);

struct StructureFound {
  int label = 0;
  std::string name;
  int64_t voxels = 0;
  double volume_ml = 0;
};

struct SeriesReport {
  std::string series_uid;
  SeriesStatus status = SeriesStatus::kFailed;
  std::string reason;  // when not segmented; no value of an attribute, no name of a file
  std::vector<std::string> channel_uids;  // of the further input series, in the plan's order
  std::vector<StructureFound> structures;
  double seconds = 0;
};

struct InferReport {
  std::string study;
  std::string model_version;
  std::string model_sha256;
  int64_t files_seen = 0;
  int64_t files_unreadable = 0;
  std::vector<SeriesReport> series;  // by series UID
  int64_t count(SeriesStatus status) const;
};

// `message` without the names of the series's files, which may be a patient's; a message that holds
// one elsewhere than in front gives way to a general one.
std::string ReasonWithoutFileNames(absl::string_view message,
                                   const std::vector<std::string>& paths);

enum class Timings { kLeaveOut, kInclude };
std::string InferReportToJson(const InferReport& report, Timings timings);
std::string SeriesReportToJson(const SeriesReport& report, Timings timings);  // one line
std::vector<std::vector<std::string>> InferTable(const InferReport& report);

using SeriesProgress = std::function<void(int64_t done, int64_t total)>;

// Segments every eligible series under `input`. A series that fails is in the report and is no
// error. Errors: the model cannot be loaded, the input cannot be walked, the output folder cannot
// be written. CANCELLED: `stop` became true; what was written stays.
absl::StatusOr<InferReport> Infer(const InferOptions& options, const Clock& clock,
                                  const SeriesProgress& progress, const std::atomic<bool>& stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INFER_H_
