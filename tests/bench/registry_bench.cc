// The registry against the tools that any administrator has: put against `dd conv=fdatasync`, get
// against `cat`, and what eight versions cost in writes. Each pair is measured in turns in one run,
// because the disk's speed of one minute says little about the next; which comes first alternates.
// Beside it what one core hashes, because the first read of a chunk in a process takes its digest.
//
//   registry_bench DIR [--versions N] [--mib N]
//
// DIR is a folder on the disk to be measured; a new folder in it is used and removed.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/model_store.h"
#include "coordinator/store/store.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "tests/support/random.h"

namespace consilium::coordinator {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "registry_bench: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}

void Run(const std::string& command) {
  const int status = std::system(command.c_str());
  if (status != 0) {
    std::fprintf(stderr, "registry_bench: failed: %s\n", command.c_str());
    std::exit(1);
  }
}

// What this process has caused to be written to disks, without its children.
double WrittenBytes() {
  std::ifstream io("/proc/self/io");
  for (std::string key; io >> key;) {
    double value = 0;
    io >> value;
    if (key == "write_bytes:") return value;
  }
  return 0;
}

void DropCache(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) return;
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

std::string RandomModel(size_t bytes, uint64_t seed) {
  phantom::Random random(seed);
  std::string model(bytes, '\0');
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t word = random.Next();
    std::copy_n(reinterpret_cast<const char*>(&word), 8, model.data() + i);
  }
  return model;
}

class Bench {
 public:
  explicit Bench(const std::string& folder) : folder_(folder) {
    auto store = Store::Open(JoinPath(folder_, "store"));
    Must(store.status());
    store_ = *std::move(store);
    models_ = std::make_unique<ModelStore>(*store_, JoinPath(folder_, "chunks"));
    Must(models_->Prepare(JoinPath(folder_, "models"), Clock::System().Now()));
  }

  ManifestRecord Put(const std::string& model, int64_t number) {
    ChunkWriter writer = models_->NewWriter();
    Must(writer.Append(model));
    auto manifest = writer.Finish();
    Must(manifest.status());
    VersionRecord version;
    version.study = "bench";
    version.number = number;
    version.version = absl::StrCat("bench/", number);
    version.sha256 = manifest->sha256;
    Batch batch;
    batch.Put(version);
    batch.Put(*manifest);
    AuditFacts facts;
    facts.actor = facts.role = "coordinator";
    facts.action = "round.commit";
    batch.Audit(facts);
    Must(store_->Commit(batch, Clock::System().Now()).status());
    return *manifest;
  }

  enum class Reader { kRunning, kJustStarted };

  void Get(const ManifestRecord& manifest, int fd, Reader kind) {
    ChunkStore fresh(models_->chunks().folder());
    auto reader = (kind == Reader::kRunning ? models_->chunks() : fresh).Open(manifest);
    Must(reader.status());
    for (size_t i = 0; i < reader->chunks(); ++i) {
      const auto chunk = reader->Chunk(i);
      Must(chunk.status());
      absl::string_view view = (*chunk)->view();
      while (!view.empty()) {
        const ssize_t written = ::write(fd, view.data(), view.size());
        if (written <= 0) std::exit(1);
        view.remove_prefix(static_cast<size_t>(written));
      }
    }
  }

  void Drop(const ManifestRecord& manifest) {
    for (const std::string& chunk : manifest.chunks) DropCache(models_->chunks().ChunkPath(chunk));
  }

 private:
  const std::string folder_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelStore> models_;
};

struct Pair {
  std::vector<double> ours, theirs;
  void Print(const char* what, double mb) {
    std::sort(ours.begin(), ours.end());
    std::sort(theirs.begin(), theirs.end());
    const double a = ours[ours.size() / 2], b = theirs[theirs.size() / 2];
    std::printf("%-34s %7.0f MB/s against %7.0f MB/s: ratio %.2f\n", what, mb / a, mb / b, b / a);
  }
};

template <typename First, typename Second>
void InTurns(int number, const First& first, const Second& second) {
  if (number % 2 == 0) {
    first();
    second();
  } else {
    second();
    first();
  }
}

void RunAll(const std::string& folder, int versions, size_t bytes) {
  Bench bench(folder);
  const double mb = static_cast<double>(bytes) / 1e6;
  const std::string source = JoinPath(folder, "source"), target = JoinPath(folder, "target");
  Pair put, warm, warm_first, cold, cold_first, to_file;
  std::vector<double> sha256;
  std::vector<ManifestRecord> manifests;
  double written = 0;
  const int null = ::open("/dev/null", O_WRONLY);
  for (int v = 0; v < versions; ++v) {
    const std::string model = RandomModel(bytes, static_cast<uint64_t>(v));
    Must(WriteFileAtomic(source, model));
    const auto dd = [&] {
      const double start = Now();
      Run(absl::StrCat("dd if=", source, " of=", target, " bs=4M conv=fdatasync status=none"));
      put.theirs.push_back(Now() - start);
      Run(absl::StrCat("rm ", target));
    };
    const auto ours = [&] {
      const double before = WrittenBytes(), start = Now();
      manifests.push_back(bench.Put(model, v));
      put.ours.push_back(Now() - start);
      written += WrittenBytes() - before;
    };
    InTurns(v, ours, dd);
    const auto get = [&](Pair& pair, const char* out, Bench::Reader reader) {
      const double start = Now();
      const int fd = out == nullptr ? null : ::open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
      bench.Get(manifests.back(), fd, reader);
      if (fd != null) ::close(fd);
      pair.ours.push_back(Now() - start);
      if (fd != null) Run(absl::StrCat("rm ", out));
    };
    const auto cat = [&](Pair& pair, const char* out) {
      const double start = Now();
      Run(absl::StrCat("cat ", source, " > ", out == nullptr ? "/dev/null" : out));
      pair.theirs.push_back(Now() - start);
      if (out != nullptr) Run(absl::StrCat("rm ", out));
    };
    const auto compare = [&](Pair& pair, const char* out, Bench::Reader reader) {
      InTurns(v, [&] { get(pair, out, reader); }, [&] { cat(pair, out); });
    };
    const auto drop = [&] {
      bench.Drop(manifests.back());
      DropCache(source);
    };
    compare(warm, nullptr, Bench::Reader::kRunning);
    compare(warm_first, nullptr, Bench::Reader::kJustStarted);
    compare(to_file, target.c_str(), Bench::Reader::kRunning);
    drop();
    compare(cold, nullptr, Bench::Reader::kRunning);
    drop();
    compare(cold_first, nullptr, Bench::Reader::kJustStarted);
    const double start = Now();
    if (privacy::Sha256(model).empty()) std::exit(1);
    sha256.push_back(Now() - start);
  }
  ::close(null);
  std::printf("%d versions of %.0f MB, medians\n", versions, mb);
  put.Print("put, dd conv=fdatasync", mb);
  warm.Print("get, cat > /dev/null, warm", mb);
  cold.Print("get, cat > /dev/null, cold", mb);
  warm_first.Print("first get of a process, warm", mb);
  cold_first.Print("first get of a process, cold", mb);
  to_file.Print("get > file, cat > file, warm", mb);
  std::sort(sha256.begin(), sha256.end());
  std::printf("%-34s %7.0f MB/s\n", "SHA-256 on one core", mb / sha256[sha256.size() / 2]);
  std::printf("bytes written per logical byte     %.3f\n",
              written / (static_cast<double>(bytes) * versions));
}

}  // namespace
}  // namespace consilium::coordinator

int main(int argc, char** argv) {
  int versions = 8, mib = 238;
  std::string where;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--versions" && i + 1 < argc) {
      if (!absl::SimpleAtoi(argv[++i], &versions)) return 2;
    } else if (argument == "--mib" && i + 1 < argc) {
      if (!absl::SimpleAtoi(argv[++i], &mib)) return 2;
    } else {
      where = argument;
    }
  }
  if (where.empty() || versions < 1 || mib < 1) {
    std::fprintf(stderr, "usage: registry_bench DIR [--versions N] [--mib N]\n");
    return 2;
  }
  ::setenv("TMPDIR", where.c_str(), 1);
  auto folder = consilium::TempDir::Create("registry_bench");
  if (!folder.ok()) {
    std::fprintf(stderr, "registry_bench: %s\n", std::string(folder.status().message()).c_str());
    return 1;
  }
  consilium::coordinator::RunAll(folder->path(), versions, static_cast<size_t>(mib) << 20);
  return 0;
}
