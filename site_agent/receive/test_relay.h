// A wire between a client and a server on the loopback that can be cut, and remembers what passed.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_TEST_RELAY_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_TEST_RELAY_H_

#include <cstddef>
#include <string>
#include <thread>

namespace consilium::agent {

// Serves one connection. Make it after whatever forks.
class TestRelay {
 public:
  // Both ends are reset once the client has sent `bytes_max`.
  TestRelay(int server_port, size_t bytes_max);
  ~TestRelay();
  int port() const { return port_; }
  // What the client has sent, after the connection's end.
  const std::string& WaitForSent();

 private:
  void Run(int server_port, size_t bytes_max);
  int listener_;
  int port_;
  std::string sent_;
  std::thread thread_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_TEST_RELAY_H_
