// An export made readable: the .jsonl as CSV or PDF. Both name the digest of the .jsonl that they were made
// from. Whether that holds is the verifier's to say (export_verifier.h), not theirs.
//
// Memory: a line for CSV, the document for PDF. Thread-safe functions.
// Errors: NOT_FOUND, INVALID_ARGUMENT: the .jsonl does not read; RESOURCE_EXHAUSTED: too long for a PDF, or
// the disk is full.
#ifndef CONSILIUM_COORDINATOR_AUDIT_RENDER_H_
#define CONSILIUM_COORDINATOR_AUDIT_RENDER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/audit/report.h"

namespace consilium::coordinator {

struct RenderJob {
  std::string jsonl_path;
  std::string jsonl_sha256;  // hex
  std::string out_path;      // written atomically
  absl::Time made;
  std::function<void(uint64_t)> on_entry;  // with the number of entries so far; may be empty
};

absl::Status RenderCsv(const RenderJob& job, const AuditReport& report);
absl::Status RenderPdf(const RenderJob& job, const AuditReport& report);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_RENDER_H_
