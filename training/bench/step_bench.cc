// Voxels per second of training steps on a synthetic phantom, for any machine with LibTorch.
// CPU seconds are the steadier number where the machine has other work.
//
//   step_bench [--allocator caching|system] [--threads N] [--steps N] [--batch N]
//              [--patch D,H,W] [--features F,F,...] [--consistency W] [--device cpu|cuda]
//              [--patients N]
//
// With --patients it compares instead: a private step of N patients with --batch patches each
// against a plain step of the same N * batch patches, in turns, and prints the ratio.
//
// Without --allocator it runs itself once with each (LibTorch keeps the allocator it started with)
// and prints both.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "training/session.h"
#include "training/testing/phantom.h"

namespace {

namespace tr = consilium::training;

struct Settings {
  std::string allocator;
  int64_t steps = 5;
  int64_t patients = 0;
  tr::SessionOptions session;
};

std::vector<int64_t> Numbers(const char* text) {
  std::vector<int64_t> numbers;
  for (const char* at = text; *at != '\0';) {
    char* end = nullptr;
    numbers.push_back(std::strtoll(at, &end, 10));
    if (end == at) break;
    at = *end == ',' ? end + 1 : end;
  }
  return numbers;
}

Settings Parse(int argc, char** argv) {
  Settings s;
  s.session.device = "cpu";
  s.session.training.consistency_weight = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = argv[i + 1];
    if (name == "--allocator") s.allocator = value;
    if (name == "--threads") s.session.threads = std::atoi(value);
    if (name == "--patients") s.patients = std::atoll(value);
    if (name == "--steps") s.steps = std::atoll(value);
    if (name == "--batch") s.session.training.batch = std::atoll(value);
    if (name == "--consistency") s.session.training.consistency_weight = std::atof(value);
    if (name == "--device") s.session.device = value;
    if (name == "--features") {
      s.session.network.features = Numbers(value);
      s.session.network.strides.assign(s.session.network.features.size(), {2, 2, 2});
      s.session.network.strides[0] = {1, 1, 1};
    }
    if (name == "--patch") {
      const std::vector<int64_t> n = Numbers(value);
      for (size_t axis = 0; axis < 3 && axis < n.size(); ++axis) {
        s.session.training.patch[axis] = n[axis];
      }
    }
  }
  return s;
}

double CpuSeconds(const rusage& usage) {
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int Measure(const Settings& s) {
  tr::PhantomSource cases(6, s.session.training.patch, s.session.network.classes, 1);
  if (s.session.training.consistency_weight > 0) cases.DropLabelsFrom(3);
  auto session = tr::Session::Create(s.session);
  session->Run(cases, {.steps = 2, .seed = 1}, nullptr, nullptr);
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  session->Run(cases, {.steps = s.steps, .seed = 2}, nullptr, nullptr);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  getrusage(RUSAGE_SELF, &after);
  const tr::SizeDhw& p = s.session.training.patch;
  const double voxels =
      static_cast<double>(s.steps * s.session.training.batch * p[0] * p[1] * p[2]);
  const double steps = static_cast<double>(s.steps);
  std::printf("%-8s %7.3f s/step %7.3f CPU s/step %10.0f voxels/s %8ld faults/step %6ld MiB peak\n",
              s.allocator.c_str(), took.count() / steps,
              (CpuSeconds(after) - CpuSeconds(before)) / steps, voxels / took.count(),
              (after.ru_minflt - before.ru_minflt) / s.steps, after.ru_maxrss / 1024);
  return 0;
}

// CPU seconds, and elapsed ones, of one run.
struct Took {
  double cpu = 0;
  double elapsed = 0;
};

Took Time(tr::Session& session, tr::CaseSource& cases, const tr::RunOptions& run) {
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  session.Run(cases, run, nullptr, nullptr);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  getrusage(RUSAGE_SELF, &after);
  return {CpuSeconds(after) - CpuSeconds(before), elapsed.count()};
}

// Every patient drawn and nothing noised: the price of one gradient per patient, clip and sum.
int ComparePrivate(const Settings& s) {
  const tr::TrainingConfig& training = s.session.training;
  tr::PhantomSource cases(s.patients, training.patch, s.session.network.classes, 1);
  tr::PrivateTraining rules;
  rules.clip = 1;
  rules.expected_patients = static_cast<double>(s.patients);
  rules.sampling_rate = 1;
  for (int64_t i = 0; i < s.patients; ++i) rules.patient_of_case.push_back(i);
  rules.uniform = [] { return 0.5; };
  rules.add_noise = [](std::span<float>, double) {};
  tr::SessionOptions plain_options = s.session;
  plain_options.training.batch = training.batch * s.patients;
  auto plain = tr::Session::Create(plain_options);
  auto guarded = tr::Session::Create(s.session);
  Took took[2];
  for (int64_t turn = 0; turn <= s.steps; ++turn) {
    const Took a = Time(*plain, cases, {.steps = 1, .seed = 1});
    const Took b = Time(*guarded, cases, {.steps = 1, .seed = 1, .private_training = rules});
    if (turn == 0) continue;  // warms up
    took[0] = {took[0].cpu + a.cpu, took[0].elapsed + a.elapsed};
    took[1] = {took[1].cpu + b.cpu, took[1].elapsed + b.elapsed};
  }
  const double steps = static_cast<double>(s.steps);
  for (int i = 0; i < 2; ++i) {
    std::printf("%-8s %7.3f s/step %7.3f CPU s/step\n", i == 0 ? "plain" : "private",
                took[i].elapsed / steps, took[i].cpu / steps);
  }
  std::printf("ratio    %7.3f        %7.3f\n", took[1].elapsed / took[0].elapsed,
              took[1].cpu / took[0].cpu);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Settings settings = Parse(argc, argv);
    if (settings.patients > 0) return ComparePrivate(settings);
    if (!settings.allocator.empty()) {
      // Read when the first session installs the allocator.
      if (settings.allocator == "system") setenv("CONSILIUM_TORCH_MALLOC", "system", 1);
      return Measure(settings);
    }
    for (const char* allocator : {"system", "caching"}) {
      const pid_t child = fork();
      if (child == 0) {
        std::vector<char*> args(argv, argv + argc);
        std::string flag = "--allocator", value = allocator;
        args.insert(args.begin() + 1, {flag.data(), value.data()});
        args.push_back(nullptr);
        execv("/proc/self/exe", args.data());
        _exit(127);
      }
      int status = 0;
      waitpid(child, &status, 0);
      if (status != 0) return 1;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_bench: %s\n", error.what());
    return 1;
  }
}
