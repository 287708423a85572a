#include "coordinator/http/http_server.h"

#include <sys/socket.h>

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "httplib.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kKeepAliveRequestsMax = 100;
constexpr int kBindToAny = -1;

// httplib's own pool queues without an end. Here the accepting thread waits for room, and what comes
// meanwhile stays in the kernel's backlog, which is bounded.
class BoundedTasks final : public httplib::TaskQueue {
 public:
  BoundedTasks() {
    for (int i = 0; i < kHttpThreads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~BoundedTasks() override = default;  // httplib calls shutdown() first

  void enqueue(std::function<void()> task) override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &BoundedTasks::HasRoom));
    tasks_.push_back(std::move(task));
  }

  void shutdown() override {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  bool HasRoom() const { return tasks_.size() < kHttpWaitingMax; }
  bool HasWorkOrStopped() const { return stopped_ || !tasks_.empty(); }

  void Work() {
    while (true) {
      std::function<void()> task;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &BoundedTasks::HasWorkOrStopped));
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

struct HostPort {
  std::string host;
  int port = 0;
};

absl::StatusOr<HostPort> Split(absl::string_view address) {
  HostPort result;
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &result.port) || result.port < 0 ||
      result.port > 65535) {
    return absl::InvalidArgumentError("an address must be HOST:PORT, such as 127.0.0.1:7445");
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  }
  result.host = std::string(host);
  return result;
}

const HttpRoute* Find(const std::vector<HttpRoute>& routes, const std::string& path) {
  for (const HttpRoute& route : routes) {
    if (route.path == path) return &route;
    if (absl::EndsWith(route.path, "/") && absl::StartsWith(path, route.path)) return &route;
  }
  return nullptr;
}

void Answer(const std::vector<HttpRoute>& routes, const httplib::Request& request,
            httplib::Response& response) {
  const HttpRoute* route = Find(routes, request.path);
  const HttpResponse answer =
      route == nullptr ? HttpResponse{404, "text/plain; charset=utf-8", "not found\n"}
                       : route->handle(request.path);
  response.status = answer.status;
  response.set_content(answer.body, answer.content_type);
}

}  // namespace

struct HttpServer::Rep {
  httplib::Server server;
  std::vector<HttpRoute> routes;
  std::atomic<bool> ended = false;  // the acceptor, for whatever reason
  std::thread acceptor;
};

HttpServer::HttpServer() : rep_(std::make_unique<Rep>()) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              std::vector<HttpRoute> routes) {
  CSL_ASSIGN_OR_RETURN(const HostPort where, Split(address));
  std::unique_ptr<HttpServer> self(new HttpServer);
  Rep& rep = *self->rep_;
  rep.routes = std::move(routes);
  httplib::Server& server = rep.server;
  server.new_task_queue = [] { return new BoundedTasks; };
  // Without httplib's SO_REUSEPORT, with which two coordinators could share a port unnoticed.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.set_read_timeout(absl::ToChronoSeconds(kHttpTimeout));
  server.set_write_timeout(absl::ToChronoSeconds(kHttpTimeout));
  server.set_keep_alive_timeout(absl::ToInt64Seconds(kHttpKeepAlive));
  server.set_keep_alive_max_count(kKeepAliveRequestsMax);
  server.set_payload_max_length(kHttpRequestBytesMax);
  server.set_default_headers({{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
  server.Get(".*", [&rep](const httplib::Request& request, httplib::Response& response) {
    Answer(rep.routes, request, response);
  });
  self->port_ = where.port == 0 ? server.bind_to_any_port(where.host)
                : server.bind_to_port(where.host, where.port) ? where.port
                                                              : kBindToAny;
  if (self->port_ <= 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address));
  }
  rep.acceptor = std::thread([&rep] {
    rep.server.listen_after_bind();
    rep.ended = true;
  });
  return self;
}

HttpServer::~HttpServer() {
  if (!rep_->acceptor.joinable()) return;
  // stop() does nothing before the acceptor has begun to listen.
  while (!rep_->server.is_running() && !rep_->ended) std::this_thread::yield();
  rep_->server.stop();
  rep_->acceptor.join();
}

}  // namespace consilium::coordinator
