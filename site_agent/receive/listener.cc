#include "site_agent/receive/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "proto/base/clock.h"
#include "proto/base/status.h"
#include "site_agent/receive/apart.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/store_scp.h"
#include "site_agent/receive/stow.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;

constexpr int kBacklog = 64;
constexpr int kRefusalsMax = 8;  // at a time, of associations there is no room for
constexpr absl::Duration kDrain = absl::Seconds(10);
constexpr int kDrainLookMilliseconds = 50;

using Hosts = std::map<std::string, std::vector<DicomPeer>>;  // by address

absl::StatusOr<Hosts> ResolveHosts(const std::vector<DicomPeer>& peers) {
  Hosts hosts;
  for (const DicomPeer& peer : peers) {
    if (!peer.may_send) continue;
    addrinfo hints = {};
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(peer.host.c_str(), nullptr, &hints, &found) != 0) {
      return absl::UnavailableError(
          absl::StrCat("dicom.yaml: the host of peer ", peer.name, " has no IPv4 address"));
    }
    for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
      char text[INET_ADDRSTRLEN];
      const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ai_addr);
      ::inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
      hosts[text].push_back(peer);
    }
    ::freeaddrinfo(found);
  }
  if (hosts.empty()) return absl::InvalidArgumentError("dicom.yaml: no peer has may_send: true");
  return hosts;
}

struct Listening {
  int socket = -1;
  int port = 0;
};

class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;

 private:
  int fd_;
};

absl::StatusOr<Listening> Listen(const DicomListen& options, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, options.address.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError("dicom.yaml: listen.address must be an IPv4 address");
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd, generic, length) != 0 || ::listen(fd, kBacklog) != 0 ||
      ::getsockname(fd, generic, &length) != 0) {
    ::close(fd);
    return absl::UnavailableError(
        absl::StrCat("port ", port, " cannot be listened on: is another listener there?"));
  }
  return Listening{fd, ntohs(address.sin_port)};
}

enum class Speech { kDimse, kHttp };

// What the door's process does.
class Door {
 public:
  // `web_socket`: -1 where there is none.
  Door(const DicomConfig& config, Hosts hosts, Quarantine& quarantine, int socket, int web_socket,
       int control)
      : config_(config),
        hosts_(std::move(hosts)),
        quarantine_(quarantine),
        socket_(socket),
        web_socket_(web_socket),
        control_(control) {}

  void Run() {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &children, nullptr);
    signals_ = ::signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    while (true) {
      pollfd waited[] = {{control_, POLLIN, 0},
                         {signals_, POLLIN, 0},
                         {socket_, POLLIN, 0},
                         {web_socket_, POLLIN, 0}};  // not looked at where it is -1
      if (::poll(waited, 4, -1) < 0 && errno != EINTR) break;
      if (waited[0].revents != 0) break;
      if (waited[1].revents != 0) Reap();
      if (waited[2].revents != 0) Accept(socket_, Speech::kDimse);
      if (waited[3].revents != 0) Accept(web_socket_, Speech::kHttp);
    }
    CloseDoors();
    Drain();
  }

 private:
  static constexpr int kRefusing = -1;  // in the place of an inbox

  const DicomTlsFiles* tls() const { return config_.listen.tls ? &*config_.tls : nullptr; }

  void CloseDoors() {
    ::close(socket_);
    if (web_socket_ >= 0) ::close(web_socket_);
  }

  void Accept(int socket, Speech speech) {
    sockaddr_in from = {};
    socklen_t length = sizeof(from);
    const int fd = ::accept4(socket, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
    if (fd < 0) return;
    char host[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &from.sin_addr, host, sizeof(host));
    const auto known = hosts_.find(host);
    if (known == hosts_.end()) {
      Log(LogLevel::kWarning, "connection refused: its host is no peer's",
          {{LogField::Key::kPeer, host}});
    } else {
      Welcome(fd, speech, host, known->second);
    }
    ::close(fd);
  }

  void Welcome(int fd, Speech speech, const char* host, const std::vector<DicomPeer>& peers) {
    const int refusing = refusing_;
    const int serving = static_cast<int>(children_.size()) - refusing;
    absl::StatusOr<int> inbox = kRefusing;
    if (serving < config_.listen.associations_max) {
      inbox = quarantine_.OpenInbox();
    } else if (refusing >= kRefusalsMax) {
      return;
    }
    if (!inbox.ok()) return;
    const absl::StatusOr<pid_t> child = ForkApart([&] {
      CloseDoors();
      ::close(control_);
      if (*inbox != kRefusing) {
        Serve(fd, speech, host, peers, *inbox);
      } else if (speech == Speech::kDimse) {
        RefuseAssociation(fd, tls());
      } else {
        StoreCounts none;
        (void)ServeStow(fd, StowFor(peers), quarantine_, *inbox, StowHandler::Load::kBusy, none);
      }
    });
    if (child.ok()) {
      children_[*child] = *inbox;
      if (*inbox == kRefusing) ++refusing_;
    } else if (*inbox != kRefusing) {
      quarantine_.CloseInbox(*inbox);
    }
  }

  StowOptions StowFor(const std::vector<DicomPeer>& peers) const {
    return {*config_.tls, config_.listen.web->token_file, peers};
  }

  void Serve(int fd, Speech speech, const char* host, const std::vector<DicomPeer>& peers,
             int inbox) {
    const absl::Duration begin = Clock::System().Monotonic();
    StoreCounts counts;
    const bool web = speech == Speech::kHttp;
    const absl::Status status =
        web ? ServeStow(fd, StowFor(peers), quarantine_, inbox, StowHandler::Load::kReady, counts)
            : ServeAssociation(fd, {config_.ae_title, peers, tls()}, quarantine_, inbox, counts);
    const std::string reason = status.ok() ? counts.why : std::string(status.message());
    Log(status.ok() && counts.refused == 0 ? LogLevel::kInfo : LogLevel::kWarning,
        web ? privacy::LogMessage("HTTP connection ended")
            : privacy::LogMessage("association ended"),
        {{LogField::Key::kPeer, host},
         {LogField::Key::kCount, counts.stored},
         {LogField::Key::kTotal, counts.stored + counts.refused},
         {LogField::Key::kBytes, counts.bytes},
         {LogField::Key::kSeconds, absl::ToDoubleSeconds(Clock::System().Monotonic() - begin)},
         {LogField::Key::kReason, reason}});
  }

  void Reap() {
    signalfd_siginfo ignored;
    while (::read(signals_, &ignored, sizeof(ignored)) > 0) {
    }
    int ended = 0;
    for (pid_t child; (child = ::waitpid(-1, &ended, WNOHANG)) > 0;) {
      const auto found = children_.find(child);
      if (found == children_.end()) continue;
      if (found->second == kRefusing) {
        --refusing_;
      } else {
        quarantine_.CloseInbox(found->second);
      }
      if (WIFSIGNALED(ended)) {
        Log(LogLevel::kError, "the process of an association died",
            {{LogField::Key::kCode, WTERMSIG(ended)}});
      }
      children_.erase(found);
    }
  }

  void Drain() {
    const absl::Duration end = Clock::System().Monotonic() + kDrain;
    for (Reap(); !children_.empty(); Reap()) {
      if (Clock::System().Monotonic() >= end) {
        for (const auto& [child, inbox] : children_) ::kill(child, SIGKILL);
      }
      pollfd waited = {signals_, POLLIN, 0};
      ::poll(&waited, 1, kDrainLookMilliseconds);
    }
  }

  const DicomConfig& config_;
  const Hosts hosts_;
  Quarantine& quarantine_;
  const int socket_;
  const int web_socket_;
  const int control_;
  int signals_ = -1;
  std::map<pid_t, int> children_;  // process -> inbox
  int refusing_ = 0;
};

}  // namespace

absl::StatusOr<Listener> Listener::Start(const DicomConfig& config, Quarantine& quarantine) {
  PrepareNetwork();
  CSL_ASSIGN_OR_RETURN(Hosts hosts, ResolveHosts(config.peers));
  CSL_ASSIGN_OR_RETURN(const Listening dimse, Listen(config.listen, config.listen.port));
  const OwnedFd dimse_owner(dimse.socket);
  Listening web;
  if (config.listen.web) {
    CSL_ASSIGN_OR_RETURN(web, Listen(config.listen, config.listen.web->port));
  }
  const OwnedFd web_owner(web.socket);
  int control[2];
  if (::pipe2(control, O_CLOEXEC) != 0) return absl::UnavailableError("no pipe can be made");
  const absl::StatusOr<pid_t> door = ForkApart([&] {
    ::close(control[1]);
    Door(config, std::move(hosts), quarantine, dimse.socket, web.socket, control[0]).Run();
  });
  ::close(control[0]);
  if (!door.ok()) {
    ::close(control[1]);
    return door.status();
  }
  return Listener(*door, control[1], dimse.port, web.port);
}

Listener::Listener(Listener&& other) noexcept
    : door_(std::exchange(other.door_, 0)),
      control_(std::exchange(other.control_, -1)),
      port_(other.port_),
      web_port_(other.web_port_) {}

Listener::~Listener() { Stop(); }

bool Listener::Running() {
  if (door_ > 0 && ::waitpid(door_, nullptr, WNOHANG) == door_) door_ = 0;
  return door_ > 0;
}

void Listener::Stop() {
  if (control_ >= 0) ::close(std::exchange(control_, -1));
  if (door_ <= 0) return;
  while (::waitpid(door_, nullptr, 0) < 0 && errno == EINTR) {
  }
  door_ = 0;
}

}  // namespace consilium::agent
