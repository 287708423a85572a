// The door for images: a process that accepts connections, of DICOM and of HTTP, and has each
// served by a process of its own, so that none can end another or the site agent.
//
// A host that no peer of dicom.yaml has is hung up on before a byte of it is read.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_LISTENER_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_LISTENER_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "site_agent/receive/dicom_config.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {

// Thread-compatible; made and stopped on one thread, which has to live as long (see ForkApart).
class Listener {
 public:
  // Make it before other threads. `quarantine` must outlive it. INVALID_ARGUMENT: no peer may send.
  // UNAVAILABLE: the address is taken, or a peer's host has no address.
  static absl::StatusOr<Listener> Start(const DicomConfig& config, Quarantine& quarantine);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  int port() const { return port_; }
  int web_port() const { return web_port_; }  // of STOW-RS; 0: none
  // False: the door is shut, and somebody has to make another.
  bool Running();
  // Accepts no more, gives running associations ten seconds, and ends them.
  void Stop();

 private:
  Listener(pid_t door, int control, int port, int web_port)
      : door_(door), control_(control), port_(port), web_port_(web_port) {}
  pid_t door_;
  int control_;  // closed: the door shuts
  int port_;
  int web_port_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_LISTENER_H_
