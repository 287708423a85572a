#include "training/session.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

#include "training/data/patch_sampler.h"
#include "training/infer/sliding_window.h"
#include "training/loop/local_layers.h"
#include "training/loop/trainer.h"
#include "training/memory/caching_allocator.h"
#include "training/models/unet3d.h"

namespace consilium::training {
namespace {

// c10::Error is a std::exception only, and its text holds a stack trace.
template <typename Function>
auto Translated(Function&& function) {
  try {
    return function();
  } catch (const c10::Error& error) {
    throw std::runtime_error(std::string("LibTorch: ") + error.what_without_backtrace());
  }
}

at::Device ChooseDevice(const std::string& name) {
  if (name.empty()) return at::Device(at::hasCUDA() ? at::kCUDA : at::kCPU);
  if (name == "cpu") return at::Device(at::kCPU);
  if (name != "cuda") throw std::invalid_argument("device must be cpu or cuda");
  if (!at::hasCUDA()) throw std::invalid_argument("device cuda: this machine or LibTorch has none");
  return at::Device(at::kCUDA, 0);
}

class TorchSession final : public Session {
 public:
  TorchSession(const SessionOptions& options, at::Device device, int threads)
      : options_(options),
        device_(device),
        threads_(threads),
        network_(options.network, options.init_seed, device) {
    std::vector<std::string> names;
    for (const NamedTensor& parameter : network_.parameters()) names.push_back(parameter.name);
    CheckLocalLayers(names, options.training.local_layers);
  }

  std::vector<NamedArray> ExportWeights() const override {
    return Translated([&] { return ExportFrom(network_); });
  }

  void ImportWeights(const std::vector<NamedArray>& weights) override {
    Translated([&] { ImportInto(network_, weights); });
  }

  void ImportGlobal(const std::vector<NamedArray>& global,
                    const std::vector<NamedArray>& own) override {
    Translated([&] {
      // Also what `own` replaces: a global model that does not fit is refused by every site.
      CheckArrays(network_, global, "weights");
      ImportInto(network_, WithOwnLocal(global, own, options_.training.local_layers));
    });
  }

  std::vector<NamedArray> ExportLocal() const override {
    return Translated([&] {
      std::vector<NamedTensor> local;
      for (const NamedTensor& parameter : network_.parameters()) {
        if (IsLocal(parameter.name, options_.training.local_layers)) local.push_back(parameter);
      }
      return ArraysFrom(local);
    });
  }

  RunResult Run(CaseSource& cases, const RunOptions& options,
                const std::function<void(const StepReport&)>& observe,
                const std::atomic<bool>* stop) override {
    return Translated([&] {
      UseThreads();
      return Train(network_, network_, options_.network, options_.training, device_, cases, options,
                   observe, stop);
    });
  }

  RunResult RunPersonal(std::vector<NamedArray>& personal, double lambda, CaseSource& cases,
                        const RunOptions& options,
                        const std::function<void(const StepReport&)>& observe,
                        const std::atomic<bool>* stop) override {
    if (options.private_training || options.scaffold) {
      throw std::invalid_argument("a personal model has neither noise nor control variates");
    }
    return Translated([&] {
      UseThreads();
      TrainingConfig config = options_.training;
      config.proximal_mu = lambda;
      CheckTrainingConfig(config, options_.network);
      Unet3d network(options_.network, /*seed=*/0, device_);
      if (personal.empty()) {
        network.CopyFrom(network_);
      } else {
        ImportInto(network, personal);
      }
      RunResult result = Train(network, network_, options_.network, config, device_, cases,
                               options, observe, stop);
      personal = ExportFrom(network);
      return result;
    });
  }

  std::vector<float> Predict(const Case& volume,
                             const std::function<void(double)>& progress) override {
    return Translated([&] {
      UseThreads();
      CheckCase(volume, options_.network.in_channels, options_.network.classes);
      const SizeDhw& s = volume.size;
      at::Tensor image = at::empty({options_.network.in_channels, s[0], s[1], s[2]}, at::kFloat);
      std::memcpy(image.data_ptr<float>(), volume.image.data(),
                  volume.image.size() * sizeof(float));
      SlidingWindowOptions window;
      window.window = options_.training.patch;
      window.batch = device_.is_cuda() ? 8 : 2;
      const at::Tensor probabilities = SlidingWindow(
          image, window, device_,
          [&](const at::Tensor& x) { return at::softmax(network_.Forward(x), 1); }, progress);
      const float* begin = probabilities.data_ptr<float>();
      return std::vector<float>(begin, begin + probabilities.numel());
    });
  }

  std::string device_name() const override { return device_.str(); }

 private:
  // The number of threads is LibTorch's, for the whole process; another session may have set it.
  void UseThreads() const {
    if (at::get_num_threads() != threads_) at::set_num_threads(threads_);
  }

  const SessionOptions options_;
  const at::Device device_;
  const int threads_;
  Unet3d network_;
};

}  // namespace

std::unique_ptr<Session> Session::Create(const SessionOptions& options) {
  CheckTrainingConfig(options.training, options.network);
  if (options.threads < 0 || options.threads > 1024) {
    throw std::invalid_argument("threads must be in 0..1024");
  }
  InstallCachingAllocator();  // before the first tensor
  return Translated([&]() -> std::unique_ptr<Session> {
    const at::Device device = ChooseDevice(options.device);
    const int threads =
        options.threads > 0 ? options.threads
                            : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    at::set_num_threads(threads);
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    return std::make_unique<TorchSession>(options, device, threads);
  });
}

}  // namespace consilium::training
