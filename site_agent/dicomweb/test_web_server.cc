#include "site_agent/dicomweb/test_web_server.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "httplib.h"

namespace consilium::dicomweb {

struct TestWebServer::Rep {
  std::unique_ptr<httplib::Server> server;
  int port = 0;
  std::thread thread;
  mutable absl::Mutex mutex;
  std::vector<std::string> asked;
};

TestWebServer::TestWebServer(std::function<TestAnswer(const std::string&)> answer,
                             const std::string& tls_folder, const std::string& authorization)
    : rep_(std::make_unique<Rep>()) {
  rep_->server = tls_folder.empty()
                     ? std::make_unique<httplib::Server>()
                     : std::make_unique<httplib::SSLServer>((tls_folder + "/server.crt").c_str(),
                                                            (tls_folder + "/server.key").c_str(),
                                                            (tls_folder + "/ca.crt").c_str());
  rep_->server->Get(".*", [this, authorization, answer = std::move(answer)](
                              const httplib::Request& request, httplib::Response& response) {
    {
      absl::MutexLock lock(&rep_->mutex);
      rep_->asked.push_back(request.target);
    }
    const bool known =
        authorization.empty() || request.get_header_value("Authorization") == authorization;
    const TestAnswer told = known ? answer(request.target) : TestAnswer{.status = 401};
    response.status = told.status;
    for (const auto& [name, value] : told.fields) response.set_header(name, value);
    if (told.cut_after >= told.body.size()) {
      response.set_content(told.body, told.content_type);
      return;
    }
    response.set_content_provider(told.body.size(), told.content_type,
                                  [told](size_t offset, size_t, httplib::DataSink& sink) {
                                    if (offset >= told.cut_after) return false;
                                    return sink.write(told.body.data() + offset,
                                                      told.cut_after - offset);
                                  });
  });
  rep_->port = rep_->server->bind_to_any_port("127.0.0.1");
  rep_->thread = std::thread([this] { rep_->server->listen_after_bind(); });
  while (!rep_->server->is_running()) std::this_thread::yield();
}

TestWebServer::~TestWebServer() {
  rep_->server->stop();
  rep_->thread.join();
}

int TestWebServer::port() const { return rep_->port; }

std::vector<std::string> TestWebServer::asked() const {
  absl::MutexLock lock(&rep_->mutex);
  return rep_->asked;
}

std::string TestMultipart(const std::vector<std::string>& objects) {
  std::string body;
  for (const std::string& object : objects) {
    absl::StrAppend(&body, "--b\r\nContent-Type: application/dicom\r\n\r\n", object, "\r\n");
  }
  return body + "--b--\r\n";
}

}  // namespace consilium::dicomweb
