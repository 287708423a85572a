// A server for the tests that answers as it is told to, faults included.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_TEST_WEB_SERVER_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_TEST_WEB_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace consilium::dicomweb {

struct TestAnswer {
  int status = 200;
  std::string content_type = {};
  std::string body = {};
  std::map<std::string, std::string> fields = {};
  size_t cut_after = std::string::npos;  // bytes of the body, then it hangs up
};

// Serves GETs on the loopback until it goes, on threads of its own.
class TestWebServer {
 public:
  // `answer` is given the path with its query. With TLS, and asking for a certificate of the
  // client's, where `tls_folder` has those of WriteCertificates. `authorization`: what the header
  // of that name has to say, or 401 is the answer.
  explicit TestWebServer(std::function<TestAnswer(const std::string& target)> answer,
                         const std::string& tls_folder = "", const std::string& authorization = "");
  ~TestWebServer();
  int port() const;
  std::vector<std::string> asked() const;  // the targets so far

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

// multipart/related of DICOM objects, with boundary "b".
inline constexpr const char* kTestMultipart =
    "multipart/related; type=\"application/dicom\"; boundary=b";
std::string TestMultipart(const std::vector<std::string>& objects);

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_TEST_WEB_SERVER_H_
