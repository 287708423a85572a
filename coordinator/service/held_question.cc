#include "coordinator/service/held_question.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/service/convert.h"

namespace consilium::coordinator {
namespace {

constexpr int kSpooledIdsMax = 64;

// Outlives the reactor: the answer may end the call while the question is still being put.
struct Asked {
  std::atomic<uint64_t> id{0};
  std::atomic<bool> cancelled{false};
};

class HeldQuestion final : public grpc::ServerUnaryReactor {
 public:
  HeldQuestion(FederationDriver& driver, SiteRegistry& sites, AccessGate& gate,
               grpc::CallbackServerContext* context, v1::NextTaskReply* reply,
               std::function<uint64_t()> checkpoint_size)
      : driver_(driver),
        call_(gate, sites, context, "task.next"),
        reply_(reply),
        checkpoint_size_(std::move(checkpoint_size)) {}

  void Start(const v1::NextTaskRequest& request) {
    if (!call_.admitted().ok()) {
      Finish(call_.End(call_.admitted()));
      return;
    }
    if (request.spooled_task_ids_size() > kSpooledIdsMax) {
      Finish(call_.End(absl::InvalidArgumentError("spooled_task_ids: too many")));
      return;
    }
    spooled_ = {request.spooled_task_ids().begin(), request.spooled_task_ids().end()};
    const std::shared_ptr<Asked> asked = asked_;
    FederationDriver& driver = driver_;
    // From here on `this` may be gone at any time.
    asked->id = driver.AskTask(call_.site(), absl::Seconds(request.wait_seconds()),
                               [this](std::optional<SiteTask> task) { Answer(std::move(task)); });
    if (asked->cancelled) driver.CancelAsk(asked->id);
  }

  void OnCancel() override {
    asked_->cancelled = true;
    driver_.CancelAsk(asked_->id);  // 0 while it is being put: Start looks again
  }

  void OnDone() override { delete this; }

 private:
  void Answer(std::optional<SiteTask> task) {
    if (task) *reply_->mutable_task() = ToMessage(*task, driver_.sealing_public_key());
    reply_->set_checkpoint_size(checkpoint_size_());
    for (std::string& ended : driver_.EndedTasks(call_.site(), std::move(spooled_))) {
      reply_->add_ended_task_ids(std::move(ended));
    }
    Finish(call_.End(absl::OkStatus()));
  }

  FederationDriver& driver_;
  SiteCall call_;
  v1::NextTaskReply* const reply_;
  const std::function<uint64_t()> checkpoint_size_;
  std::vector<std::string> spooled_;  // task ids
  const std::shared_ptr<Asked> asked_ = std::make_shared<Asked>();
};

}  // namespace

grpc::ServerUnaryReactor* HoldQuestion(FederationDriver& driver, SiteRegistry& sites,
                                       AccessGate& gate, grpc::CallbackServerContext* context,
                                       const v1::NextTaskRequest& request,
                                       v1::NextTaskReply* reply,
                                       std::function<uint64_t()> checkpoint_size) {
  auto* question =
      new HeldQuestion(driver, sites, gate, context, reply, std::move(checkpoint_size));
  question->Start(request);
  return question;
}

}  // namespace consilium::coordinator
