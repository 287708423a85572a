// De-identification against a plain copy of the same files, in one run:
//   deid_bench /shared/dicom-corpus/ct/693_UNCR.dcm --folder /dev/shm/bench
// Best of the rounds; rounds of both kinds alternate, so that a busy machine hurts both.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/dicom_scan.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/thread_pool.h"

namespace consilium {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{1} << 30;

struct Cost {
  double wall = 1e9;
  double processor = 1e9;  // of all threads; says more on a machine that others use
};

double ProcessorSeconds() {
  timespec spent;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

void Measure(const std::function<void()>& work, Cost& best) {
  const auto start = std::chrono::steady_clock::now();
  const double before = ProcessorSeconds();
  work();
  best.processor = std::min(best.processor, ProcessorSeconds() - before);
  best.wall = std::min(
      best.wall, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
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
  ThreadPool pool(threads);
  const privacy::PatientTokens tokens = deidentifier.CollectTokens(files.in, pool);
  privacy::HeaderMemo memo;
  for (size_t i = 0; i < files.in.size(); ++i) {
    pool.Schedule([&, i] {
      CSL_CHECK(deidentifier.Deidentify(files.in[i], files.out[i], tokens, &memo).ok());
    });
  }
  pool.Wait();
}

// The slices of a series differ in a few attributes: their last digits become the slice's number.
std::string Slice(std::string file, uint64_t dataset_offset, const privacy::DicomLayout& layout,
                  int number) {
  constexpr uint32_t kVarying[] = {0x00080018, 0x00080032, 0x00080033,
                                   0x00200013, 0x00200032, 0x00201041};
  for (size_t i = 0; i + 1 < layout.elements.size(); ++i) {
    const privacy::TopElement& element = layout.elements[i];
    if (std::find(std::begin(kVarying), std::end(kVarying), element.tag) == std::end(kVarying)) {
      continue;
    }
    const size_t begin =
        dataset_offset + element.begin + 8;  // of the value: no VR with 32-bit length
    size_t at = dataset_offset + layout.elements[i + 1].begin;
    while (at > begin && !absl::ascii_isdigit(static_cast<unsigned char>(file[at - 1]))) --at;
    int rest = number;
    for (int digits = 0; digits < 3 && at > begin; ++digits, rest /= 10) {
      char& digit = file[--at];
      if (!absl::ascii_isdigit(static_cast<unsigned char>(digit))) break;
      digit = static_cast<char>('0' + rest % 10);
    }
  }
  return file;
}

void Clear(const Files& files) {
  for (const std::string& path : files.out) std::remove(path.c_str());
}

int Main(int argc, char** argv) {
  std::string file, folder = "/dev/shm/consilium-deid-bench";
  int copies = 500, rounds = 7;
  CLI::App app("De-identification against a copy.", "deid_bench");
  app.add_option("FILE", file, "an image in explicit little endian that may be written")
      ->required();
  app.add_option("--folder", folder, "where the copies go");
  app.add_option("--copies", copies, "files");
  app.add_option("--rounds", rounds, "of each kind");
  CLI11_PARSE(app, argc, argv);
  CSL_CHECK(MakeDirs(folder).ok());
  const std::string bytes = ReadFile(file, kFileBytesMax).value();
  const privacy::DicomPreamble preamble = privacy::ScanPreamble(bytes).value();
  const privacy::DicomLayout layout =
      privacy::ScanDataset(absl::string_view(bytes).substr(preamble.dataset_offset),
                           privacy::DicomEncoding::kExplicitLittle)
          .value();
  Files files;
  for (int i = 0; i < copies; ++i) {
    files.in.push_back(JoinPath(folder, "in" + std::to_string(i)));
    files.out.push_back(JoinPath(folder, "out" + std::to_string(i)));
    CSL_CHECK(ReplaceFile(files.in.back(), Slice(bytes, preamble.dataset_offset, layout, i)).ok());
  }
  const auto deidentifier =
      privacy::Deidentifier::Create(
          {.site_key = privacy::SecretBytes(std::string(privacy::kSiteKeyBytes, 'k'))})
          .value();
  Cost copy, one, two;
  for (int round = 0; round < rounds; ++round) {
    Clear(files);
    Measure([&] { Copy(files); }, copy);
    Clear(files);
    Measure([&] { Deidentify(deidentifier, files, 1); }, one);
    Clear(files);
    Measure([&] { Deidentify(deidentifier, files, 2); }, two);
  }
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("%d files of %zu bytes, best of %d; ms a file\n", copies, bytes.size(), rounds);
  const auto print = [&](const char* what, const Cost& cost) {
    std::printf("%-10s %7.3f wall (%.2f x copy) %7.3f processor (%.2f x copy)\n", what,
                cost.wall / copies * 1e3, cost.wall / copy.wall, cost.processor / copies * 1e3,
                cost.processor / copy.processor);
  };
  print("copy", copy);
  print("1 thread", one);
  print("2 threads", two);
  std::printf("2 threads are %.2f x as fast as one\n", one.wall / two.wall);
  std::printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
  Clear(files);
  for (const std::string& path : files.in) std::remove(path.c_str());
  return 0;
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) { return consilium::Main(argc, argv); }
