// A hospital's audit repository for tests: rsyslogd with GnuTLS on loopback, and the certificates of both
// sides.
#ifndef CONSILIUM_PRIVACY_ATNA_TEST_REPOSITORY_H_
#define CONSILIUM_PRIVACY_ATNA_TEST_REPOSITORY_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "privacy/atna/atna_recorder.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

namespace consilium::privacy {

inline constexpr const char* kRsyslogd = "/usr/sbin/rsyslogd";
inline constexpr const char* kGtls = "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so";
inline constexpr absl::Duration kPatience = absl::Seconds(60);

inline bool Eventually(const std::function<bool()>& holds) {
  const absl::Time until = Clock::System().Now() + kPatience;
  while (!holds()) {
    if (Clock::System().Now() > until) return false;
    ::poll(nullptr, 0, 20);
  }
  return true;
}

inline int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Certificates of one root: the repository's, a client's, and those of a stranger.
class Pki {
 public:
  explicit Pki(const std::string& folder) : folder_(folder) {
    const absl::Time start = Clock::System().Now() - absl::Minutes(5);
    const KeyAndCertificate ca = *MakeRootCa("hospital", start, absl::Hours(1));
    const KeyAndCertificate other = *MakeRootCa("hospital", start, absl::Hours(1));
    Write("ca.crt", ca.certificate_pem);
    Write("other.crt", other.certificate_pem);
    Issue(ca, "server", {{"hospital", Role::kCoordinator, "repository"}, {"localhost"},
                         {"127.0.0.1"}, start, absl::Hours(1)});
    Issue(ca, "client", {{"hospital", Role::kSite, "north"}, {}, {}, start, absl::Hours(1)});
    Issue(other, "stranger", {{"hospital", Role::kSite, "north"}, {}, {}, start, absl::Hours(1)});
  }
  std::string Path(const std::string& name) const { return JoinPath(folder_, name); }
  AtnaTarget Target(int port, const std::string& who = "client",
                    const std::string& ca = "ca") const {
    return {"127.0.0.1", static_cast<uint16_t>(port), Path(ca + ".crt"), Path(who + ".crt"),
            Path(who + ".key")};
  }

 private:
  void Write(const std::string& name, absl::string_view text) {
    EXPECT_TRUE(WriteFileAtomic(Path(name), text, kPrivateFile).ok());
  }
  void Issue(const KeyAndCertificate& ca, const std::string& name, const IssueOptions& options) {
    const SecretBytes key = *GenerateKeyPem();
    Write(name + ".key", key.view());
    Write(name + ".crt", *IssueCertificate(ca, *MakeCsrPem(key, options.identity.name), options));
  }
  const std::string folder_;
};

class Rsyslog {
 public:
  Rsyslog(const std::string& folder, const Pki& pki, int port) : folder_(folder), port_(port) {
    const std::string config = absl::StrCat(
        "global(workDirectory=\"", folder, "\" defaultNetstreamDriver=\"gtls\"\n",
        "  defaultNetstreamDriverCAFile=\"", pki.Path("ca.crt"), "\"\n",
        "  defaultNetstreamDriverCertFile=\"", pki.Path("server.crt"), "\"\n",
        "  defaultNetstreamDriverKeyFile=\"", pki.Path("server.key"), "\")\n",
        "module(load=\"imtcp\" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\"\n",
        "  StreamDriver.AuthMode=\"x509/certvalid\")\n",
        "input(type=\"imtcp\" port=\"", port, "\" address=\"127.0.0.1\")\n",
        "template(name=\"line\" type=\"string\" "
        "string=\"%syslogfacility%.%syslogseverity% %app-name% %msg%\\n\")\n",
        "*.* action(type=\"omfile\" file=\"", folder, "/out\" template=\"line\")\n");
    EXPECT_TRUE(WriteFileAtomic(folder + "/rsyslog.conf", config).ok());
  }
  ~Rsyslog() { Stop(); }
  void Start() {
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      ::execl(kRsyslogd, kRsyslogd, "-n", "-f", (folder_ + "/rsyslog.conf").c_str(), "-i",
              (folder_ + "/pid").c_str(), nullptr);
      ::_exit(127);
    }
  }
  void Stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // What arrived about us, in order.
  std::vector<std::string> Lines() const {
    const auto text = ReadFile(folder_ + "/out", 10 << 20);
    std::vector<std::string> lines;
    for (absl::string_view line : absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty())) {
      if (absl::StrContains(line, "AuditMessage")) lines.emplace_back(line);
    }
    return lines;
  }

 private:
  const std::string folder_;
  const int port_;
  pid_t pid_ = 0;
};

inline bool HasRsyslog() { return ::access(kRsyslogd, X_OK) == 0 && PathExists(kGtls); }

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_ATNA_TEST_REPOSITORY_H_
