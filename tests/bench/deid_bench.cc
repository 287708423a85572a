// De-identification against a plain copy of the same files, in one run:
//   deid_bench /shared/dicom-corpus/ct/693_UNCR.dcm --folder /dev/shm/bench
// Best of the rounds; rounds of both kinds alternate, so that a busy machine hurts both.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "privacy/deid/deidentifier.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/thread_pool.h"

namespace consilium {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{1} << 30;

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Files {
  std::vector<std::string> in, out;
};

// As cp does it: a buffer, a file at a time.
void Copy(const Files& files) {
  for (size_t i = 0; i < files.in.size(); ++i) {
    const std::string bytes = ReadFile(files.in[i], kFileBytesMax).value();
    auto out = File::Open(files.out[i], File::Mode::kReadWriteCreate);
    CSL_CHECK(out.ok() && out->WriteAt(0, bytes).ok());
  }
}

void Deidentify(const privacy::Deidentifier& deidentifier, const Files& files, int threads) {
  privacy::PatientTokens tokens;
  ThreadPool pool(threads);
  std::vector<privacy::PatientTokens> by_file(files.in.size());
  for (size_t i = 0; i < files.in.size(); ++i) {
    pool.Schedule([&, i] { CSL_CHECK(deidentifier.CollectTokens(files.in[i], by_file[i]).ok()); });
  }
  pool.Wait();
  for (const privacy::PatientTokens& some : by_file) tokens.Merge(some);
  for (size_t i = 0; i < files.in.size(); ++i) {
    pool.Schedule([&, i] {
      CSL_CHECK(deidentifier.Deidentify(files.in[i], files.out[i], tokens).ok());
    });
  }
  pool.Wait();
}

void Clear(const Files& files) {
  for (const std::string& path : files.out) std::remove(path.c_str());
}

int Main(int argc, char** argv) {
  std::string file, folder = "/dev/shm/consilium-deid-bench";
  int copies = 500, rounds = 7;
  CLI::App app("De-identification against a copy.", "deid_bench");
  app.add_option("FILE", file, "a DICOM file that may be written")->required();
  app.add_option("--folder", folder, "where the copies go");
  app.add_option("--copies", copies, "files");
  app.add_option("--rounds", rounds, "of each kind");
  CLI11_PARSE(app, argc, argv);
  CSL_CHECK(MakeDirs(folder).ok());
  const std::string bytes = ReadFile(file, kFileBytesMax).value();
  Files files;
  for (int i = 0; i < copies; ++i) {
    files.in.push_back(JoinPath(folder, "in" + std::to_string(i)));
    files.out.push_back(JoinPath(folder, "out" + std::to_string(i)));
    CSL_CHECK(ReplaceFile(files.in.back(), bytes).ok());
  }
  const auto deidentifier =
      privacy::Deidentifier::Create(
          {.site_key = privacy::SecretBytes(std::string(privacy::kSiteKeyBytes, 'k'))})
          .value();
  double copy = 1e9, one = 1e9, two = 1e9;
  for (int round = 0; round < rounds; ++round) {
    Clear(files);
    copy = std::min(copy, SecondsOf([&] { Copy(files); }));
    Clear(files);
    one = std::min(one, SecondsOf([&] { Deidentify(deidentifier, files, 1); }));
    Clear(files);
    two = std::min(two, SecondsOf([&] { Deidentify(deidentifier, files, 2); }));
  }
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const double count = copies;
  std::printf("%d files of %zu bytes, best of %d\n", copies, bytes.size(), rounds);
  std::printf("copy            %7.3f ms a file  %8.0f files/s\n", copy / count * 1e3, count / copy);
  std::printf("1 thread        %7.3f ms a file  %8.0f files/s  %.2f x copy\n", one / count * 1e3,
              count / one, one / copy);
  std::printf("2 threads       %7.3f ms a file  %8.0f files/s  %.2f x one thread\n",
              two / count * 1e3, count / two, one / two);
  std::printf("peak memory     %7ld MiB\n", usage.ru_maxrss / 1024);
  Clear(files);
  for (const std::string& path : files.in) std::remove(path.c_str());
  return 0;
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) { return consilium::Main(argc, argv); }
