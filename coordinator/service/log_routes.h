// The audit log's tree for monitors, over HTTP as C2SP tlog-tiles lays it out:
//   /log/checkpoint        the newest checkpoint that enough witnesses cosigned
//   /log/tile/<L>/<N>[.p/W]  hashes of its tree
// Who keeps a checkpoint can check without an account that the log only grew. The entries are not
// served here: they say who did what, and go to those who ask with a certificate.
#ifndef CONSILIUM_COORDINATOR_SERVICE_LOG_ROUTES_H_
#define CONSILIUM_COORDINATOR_SERVICE_LOG_ROUTES_H_

#include <vector>

#include "coordinator/audit/audit_log.h"
#include "coordinator/http/http_server.h"
#include "coordinator/store/store.h"

namespace consilium::coordinator {

// Both must outlive the server that the routes are given to. The handlers are thread-safe.
std::vector<HttpRoute> LogRoutes(const Store& store, AuditLog& log);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_LOG_ROUTES_H_
