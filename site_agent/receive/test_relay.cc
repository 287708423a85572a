#include "site_agent/receive/test_relay.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "site_agent/receive/test_peer.h"

namespace consilium::agent {

TestRelay::TestRelay(int server_port, size_t bytes_max) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ::bind(listener_, reinterpret_cast<sockaddr*>(&address), length);
  ::listen(listener_, 1);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, server_port, bytes_max] { Run(server_port, bytes_max); });
}

TestRelay::~TestRelay() {
  if (thread_.joinable()) thread_.join();
  ::close(listener_);
}

const std::string& TestRelay::WaitForSent() {
  if (thread_.joinable()) thread_.join();
  return sent_;
}

void TestRelay::Run(int server_port, size_t bytes_max) {
  pollfd coming = {listener_, POLLIN, 0};
  if (::poll(&coming, 1, 20'000) <= 0) return;
  const int client = ::accept(listener_, nullptr, nullptr);
  const int server = ConnectTo(server_port);
  char buffer[16384];
  while (server >= 0) {
    pollfd waited[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(waited, 2, 20'000) <= 0) break;
    if (waited[0].revents != 0) {
      const size_t room = std::min(sizeof(buffer), bytes_max - sent_.size());
      const ssize_t got = ::read(client, buffer, room);
      if (got <= 0) break;
      sent_.append(buffer, static_cast<size_t>(got));
      if (::write(server, buffer, static_cast<size_t>(got)) != got) break;
      if (sent_.size() == bytes_max) break;
    }
    if (waited[1].revents != 0) {
      const ssize_t got = ::read(server, buffer, sizeof(buffer));
      if (got <= 0 || ::write(client, buffer, static_cast<size_t>(got)) != got) break;
    }
  }
  ::close(client);
  if (server >= 0) ::close(server);
}

}  // namespace consilium::agent
