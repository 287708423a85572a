// Somebody else's DICOM programs for the tests, and what they need.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_TEST_PEER_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_TEST_PEER_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace consilium::agent {

// Whether the program is on the PATH (/usr/sbin included).
bool HasProgram(const std::string& name);

struct ProgramResult {
  int exit_code = -1;  // -1: killed or not run
  std::string output;  // stdout and stderr
};
// Runs to the end, at most a minute. TCP_NODELAY=1 is in its environment.
ProgramResult RunProgram(const std::vector<std::string>& command);

// Runs until it is destroyed: SIGTERM, and SIGKILL five seconds later; or until the thread that
// made it ends, so that a test which crashes leaves nothing behind.
class BackgroundProgram {
 public:
  explicit BackgroundProgram(const std::vector<std::string>& command);
  ~BackgroundProgram();
  BackgroundProgram(const BackgroundProgram&) = delete;
  BackgroundProgram& operator=(const BackgroundProgram&) = delete;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// A port of the loopback that nobody listens on now.
int FreePort();
// Waits until somebody listens there; false after twenty seconds.
bool WaitForPort(int port);
// A connected socket to the loopback's port, or -1.
int ConnectTo(int port);

// ca.crt, site.crt/.key and scanner.crt/.key from it, stranger.crt/.key from nobody.
bool MakeTlsFiles(const std::string& folder);
// NAME.crt/.key from the ca.crt there, for the host of that name.
bool MakeTlsCertificate(const std::string& folder, const std::string& name);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_TEST_PEER_H_
