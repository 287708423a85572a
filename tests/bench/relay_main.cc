// A line between two programs: so many bits a second and so much delay each way.
//
//   relay TARGET_PORT BYTES_PER_SECOND ONE_WAY_MS    prints its port; ends by a signal
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr size_t kReadBytes = 64 * 1024;

struct Line {
  double bytes_per_second;
  std::chrono::milliseconds delay;
  size_t queue_max;  // what the line holds, and a router's buffer of the same size
};

struct Part {
  Time due;
  std::vector<char> bytes;
};

void Fill(int from, const Line& line, std::mutex& mutex, std::condition_variable& changed,
          std::deque<Part>& queue, size_t& queued) {
  Time free_at = std::chrono::steady_clock::now();  // when the line has sent what it was given
  while (true) {
    std::vector<char> bytes(kReadBytes);
    const ssize_t got = ::read(from, bytes.data(), bytes.size());
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
    const Time now = std::chrono::steady_clock::now();
    if (free_at < now) free_at = now;
    free_at += std::chrono::nanoseconds(
        static_cast<int64_t>(1e9 * static_cast<double>(bytes.size()) / line.bytes_per_second));
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return queued < line.queue_max; });
    queued += bytes.size();
    queue.push_back({free_at + line.delay, std::move(bytes)});
    changed.notify_all();
    if (got <= 0) return;  // an empty part is the end
  }
}

void Pump(int from, int to, const Line& line) {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Part> queue;
  size_t queued = 0;
  std::thread filler([&] { Fill(from, line, mutex, changed, queue, queued); });
  while (true) {
    Part part;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return !queue.empty(); });
      part = std::move(queue.front());
      queue.pop_front();
    }
    std::this_thread::sleep_until(part.due);
    size_t sent = 0;
    while (sent < part.bytes.size()) {
      const ssize_t wrote = ::write(to, part.bytes.data() + sent, part.bytes.size() - sent);
      if (wrote <= 0) break;
      sent += static_cast<size_t>(wrote);
    }
    const std::lock_guard lock(mutex);
    queued -= part.bytes.size();
    changed.notify_all();
    if (part.bytes.empty()) break;
    if (sent < part.bytes.size()) ::shutdown(from, SHUT_RD);
  }
  filler.join();
  ::shutdown(to, SHUT_WR);
}

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  const int target = std::atoi(argv[1]);
  Line line = {std::atof(argv[2]), std::chrono::milliseconds(std::atoi(argv[3])), 0};
  line.queue_max = kReadBytes + static_cast<size_t>(4e-3 * line.bytes_per_second *
                                                    static_cast<double>(line.delay.count()));
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener, 64) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return 1;
  }
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  while (true) {
    const int client = ::accept(listener, nullptr, nullptr);
    if (client < 0) return 1;
    const int server = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to = Loopback(target);
    if (::connect(server, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
      ::close(client);
      ::close(server);
      continue;
    }
    const int on = 1;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    std::thread([client, server, line] {
      std::thread back([&] { Pump(server, client, line); });
      Pump(client, server, line);
      back.join();
      ::close(client);
      ::close(server);
    }).detach();
  }
}
