// NextTask: a question for work that is held without a thread until there is an answer.
#ifndef CONSILIUM_COORDINATOR_SERVICE_HELD_QUESTION_H_
#define CONSILIUM_COORDINATOR_SERVICE_HELD_QUESTION_H_

#include <cstdint>
#include <functional>

#include "consilium/v1/federation.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/service/site_call.h"
#include "grpcpp/grpcpp.h"

namespace consilium::coordinator {

// Starts one; it owns itself and goes with the call. `checkpoint_size` is for the reply. All must outlive the server.
grpc::ServerUnaryReactor* HoldQuestion(FederationDriver& driver, SiteRegistry& sites,
                                       AccessGate& gate, grpc::CallbackServerContext* context,
                                       const v1::NextTaskRequest& request,
                                       v1::NextTaskReply* reply,
                                       std::function<uint64_t()> checkpoint_size);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_HELD_QUESTION_H_
