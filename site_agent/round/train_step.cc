#include "site_agent/round/train_step.h"

#include <new>
#include <span>
#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "training/metrics/dice.h"

namespace consilium::agent {
namespace {

constexpr size_t kMessageBytesMax = 200;

std::string FirstLine(const char* text) {
  std::string line(text);
  line = line.substr(0, std::min(line.find('\n'), kMessageBytesMax));
  for (char& c : line) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = ' ';
  }
  return line;
}

// Runs `function`, which may throw, and returns what it returns or the status for what it threw.
template <typename Function>
auto Guard(Function function) -> absl::StatusOr<decltype(function())> {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory for the network");
  } catch (const std::invalid_argument& error) {
    return absl::InvalidArgumentError(FirstLine(error.what()));
  } catch (const std::exception& error) {
    return absl::InternalError(FirstLine(error.what()));
  }
}

// Turns a loader's status into an exception that crosses training/ and comes back as the status.
class LoaderSource final : public training::CaseSource {
 public:
  explicit LoaderSource(const CaseSet& cases) : cases_(cases) {}
  int64_t size() const override { return static_cast<int64_t>(cases_.labelled.size()); }
  bool labelled(int64_t index) const override {
    return cases_.labelled[static_cast<size_t>(index)];
  }
  training::Case Load(int64_t index) override {
    absl::StatusOr<training::Case> loaded = cases_.load(index);
    if (!loaded.ok()) {
      status_ = loaded.status();
      throw std::runtime_error("a case could not be loaded");
    }
    return *std::move(loaded);
  }
  const absl::Status& status() const { return status_; }

 private:
  const CaseSet& cases_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<training::Session>> MakeSession(
    const training::SessionOptions& options) {
  return Guard([&] { return training::Session::Create(options); });
}

absl::Status ImportWeights(training::Session& session, std::vector<training::NamedArray> weights) {
  return Guard([&] {
           session.ImportWeights(weights);
           return true;
         })
      .status();
}

absl::StatusOr<std::vector<training::NamedArray>> ExportWeights(const training::Session& session) {
  return Guard([&] { return session.ExportWeights(); });
}

absl::Status ImportGlobal(training::Session& session, std::vector<training::NamedArray> global,
                          const std::vector<training::NamedArray>& own) {
  return Guard([&] {
           session.ImportGlobal(global, own);
           return true;
         })
      .status();
}

absl::StatusOr<std::vector<training::NamedArray>> ExportLocal(const training::Session& session) {
  return Guard([&] { return session.ExportLocal(); });
}

absl::StatusOr<training::RunResult> RunPersonalSteps(
    training::Session& session, std::vector<training::NamedArray>& personal, double lambda,
    const CaseSet& cases, const training::RunOptions& options,
    const std::function<void(const training::StepReport&)>& observe,
    const std::atomic<bool>* stop) {
  LoaderSource source(cases);
  auto result = Guard(
      [&] { return session.RunPersonal(personal, lambda, source, options, observe, stop); });
  if (!source.status().ok()) return source.status();
  return result;
}

absl::StatusOr<training::RunResult> RunSteps(
    training::Session& session, const CaseSet& cases, const training::RunOptions& options,
    const std::function<void(const training::StepReport&)>& observe,
    const std::atomic<bool>* stop) {
  LoaderSource source(cases);
  auto result = Guard([&] { return session.Run(source, options, observe, stop); });
  if (!source.status().ok()) return source.status();
  return result;
}

absl::StatusOr<std::vector<float>> PredictVolume(training::Session& session,
                                                 const training::Case& volume,
                                                 const std::function<void()>& moved) {
  std::function<void(double)> progress;
  if (moved) progress = [&moved](double) { moved(); };
  return Guard([&] { return session.Predict(volume, progress); });
}

absl::StatusOr<std::vector<double>> DiceByLabel(absl::Span<const uint8_t> prediction,
                                                absl::Span<const uint8_t> truth, int64_t classes) {
  return Guard([&] {
    return training::DiceByClass(std::span(prediction.data(), prediction.size()),
                                 std::span(truth.data(), truth.size()), classes);
  });
}

}  // namespace consilium::agent
