// TLS handshakes that this process refused: a foreign certificate, none, TLS 1.2. They end before
// there is a call, so that gRPC's own log is the only place that knows of them.
//
// Order: WatchHandshakes once, then TakeRefusedHandshakes now and then. Thread-safe.
#ifndef CONSILIUM_PROTO_WIRE_HANDSHAKE_LOG_H_
#define CONSILIUM_PROTO_WIRE_HANDSHAKE_LOG_H_

#include <cstdint>
#include <map>
#include <string>

namespace consilium::wire {

// Takes gRPC's log over: what it says of handshakes is counted, all else is dropped.
void WatchHandshakes();

// How many were refused since the last call, by OpenSSL's reason ("certificate verify failed"). At
// most 16 reasons; the rest is counted under "other".
std::map<std::string, int64_t> TakeRefusedHandshakes();

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_HANDSHAKE_LOG_H_
