// The coordinator's audit log as a hospital's audit repository reads it (privacy/atna/atna_feed.h).
#ifndef CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_
#define CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/home.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/store/store.h"
#include "privacy/atna/atna_feed.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

// What an entry is in the repository's terms; nothing: it is of no interest there.
std::optional<privacy::AtnaEvent> AtnaEventOf(const AuditFacts& facts);

// Without a repository in `options`: nullptr. INVALID_ARGUMENT: a file that they name. The others must
// outlive it.
absl::StatusOr<std::unique_ptr<privacy::AtnaFeed>> OpenAtnaFeed(const std::string& home,
                                                                const CoordinatorOptions& options,
                                                                const Store& store,
                                                                Metrics& metrics,
                                                                const Clock& clock);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_ATNA_FEED_H_
