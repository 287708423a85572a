#include "site_agent/intake/sample_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/channels.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/preprocess.h"
#include "site_agent/intake/home_key.h"
#include "site_agent/intake/sample_file.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// In a SampleFile; its body is the image's floats and then the label's bytes, little endian.
static_assert(std::endian::native == std::endian::little);
constexpr absl::string_view kFormat = "CSLCASE2";
constexpr const char* kKeyFile = "cache.key";

// Changes with anything that would change the arrays.
std::string PreparationDigest(const wire::Plan& plan) {
  Json labels = Json::array();
  for (const wire::PlanLabel& label : plan.labels) {
    labels.push_back({label.value, label.name, label.code});
  }
  Json json = {{"format", kFormat},
               {"labels", labels},
               {"spacing_xyz_mm", plan.spacing_xyz_mm},
               {"normalisation", plan.normalisation}};
  // Which series they are is in the origin of each case.
  for (const wire::PlanChannel& channel : plan.channels) {
    json["channels"].push_back(channel.normalisation);
  }
  return privacy::Sha256Hex(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// A record as far as the arrays depend on it: image-level labels may change without them.
std::string TextOf(CaseRecord record) {
  record.image_labels.clear();
  return CaseToJson(record);
}

// What the cached arrays were made from.
std::string Origin(const CohortCase& item) {
  std::string text = absl::StrCat(TextOf(item.record), item.labelled ? "1" : "0");
  for (const CaseRecord& channel : item.channels) absl::StrAppend(&text, TextOf(channel));
  return privacy::Sha256Hex(text);
}

Json ToJson(const imaging::Geometry& g) {
  return {g.size_xyz, g.spacing_xyz_mm, g.origin_lps_mm, g.direction};
}

imaging::Geometry GeometryFrom(const Json& json) {
  imaging::Geometry g;
  json.at(0).get_to(g.size_xyz);
  json.at(1).get_to(g.spacing_xyz_mm);
  json.at(2).get_to(g.origin_lps_mm);
  json.at(3).get_to(g.direction);
  return g;
}

std::string HeaderOf(const PreparedCase& prepared, absl::string_view origin) {
  return Json({{"case_id", prepared.case_id},
               {"origin", std::string(origin)},
               {"grid", ToJson(prepared.grid)},
               {"source", ToJson(prepared.source)},
               {"channels", prepared.channels()},
               {"labelled", !prepared.label.empty()}})
      .dump();
}

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values) {
  return absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
absl::Span<char> RoomOf(std::vector<T>& values) {
  return absl::MakeSpan(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T));
}

// A case without its arrays, and what they are.
struct Described {
  PreparedCase prepared;
  bool labelled = false;
  uint64_t channels = 0;
  uint64_t voxels = 0;
};

// NOT_FOUND: the file is not of this state.
absl::StatusOr<Described> DecodeHeader(const SampleFile& file, const CohortCase& item,
                                       absl::string_view origin) {
  const absl::Status fault = absl::DataLossError("a cached case is damaged");
  Described described;
  PreparedCase& prepared = described.prepared;
  try {
    const Json header = Json::parse(file.header());
    prepared.case_id = header.at("case_id").get<std::string>();
    if (header.at("origin").get<std::string>() != origin ||
        prepared.case_id != item.record.case_id) {
      return absl::NotFoundError("the cached case is of an older state");
    }
    prepared.grid = GeometryFrom(header.at("grid"));
    prepared.source = GeometryFrom(header.at("source"));
    described.channels = header.at("channels").get<uint64_t>();
    described.labelled = header.at("labelled").get<bool>();
  } catch (const Json::exception&) {
    return fault;
  }
  uint64_t voxels = 1;
  for (const int64_t size : prepared.grid.size_xyz) {
    constexpr int64_t kAxisMax = 1 << 20;
    if (size < 1 || size > kAxisMax) return fault;
    voxels *= static_cast<uint64_t>(size);
  }
  const bool fits = described.channels >= 1 && described.channels <= wire::kChannelsMax &&
                    voxels <= file.body_bytes();
  const uint64_t voxel_bytes = sizeof(float) * described.channels + (described.labelled ? 1 : 0);
  if (!fits || file.body_bytes() != voxels * voxel_bytes) return fault;
  described.voxels = voxels;
  return described;
}

absl::StatusOr<PreparedCase> Decode(SampleFile& file, const CohortCase& item,
                                    absl::string_view origin) {
  CSL_ASSIGN_OR_RETURN(Described described, DecodeHeader(file, item, origin));
  PreparedCase& prepared = described.prepared;
  prepared.image.resize(described.channels * described.voxels);
  if (described.labelled) prepared.label.resize(described.voxels);
  CSL_RETURN_IF_ERROR(file.Read(RoomOf(prepared.image)));
  CSL_RETURN_IF_ERROR(file.Read(RoomOf(prepared.label)));
  return std::move(prepared);
}

// Since the site wants its samples encrypted: those from before.
absl::Status RemovePlainSamples(const std::string& folder) {
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    std::error_code gone;
    if (!entries->is_regular_file(gone) || IsEncryptedSample(entries->path().string())) continue;
    fs::remove(entries->path(), gone);
    if (gone) return absl::UnavailableError("a prepared case that is not encrypted stays behind");
  }
  if (error) return absl::UnavailableError("the prepared cases cannot be looked through");
  return absl::OkStatus();
}

struct CacheFile {
  fs::path path;
  fs::file_time_type used;
  uint64_t bytes = 0;
};

// Removes the files that were not used for longest until `needed` more fit. False: they cannot.
bool MakeRoom(const std::string& folder, uint64_t needed, uint64_t bytes_max) {
  if (needed > bytes_max) return false;
  std::vector<CacheFile> files;
  uint64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    CacheFile file{it->path(), it->last_write_time(gone), 0};
    if (gone || !it->is_regular_file(gone)) continue;
    file.bytes = it->file_size(gone);
    if (gone) continue;
    total += file.bytes;
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(),
            [](const CacheFile& a, const CacheFile& b) { return a.used < b.used; });
  for (const CacheFile& file : files) {
    if (total + needed <= bytes_max) return true;
    std::error_code removal;
    if (fs::remove(file.path, removal)) total -= file.bytes;
  }
  return total + needed <= bytes_max;
}

// For MakeRoom.
void MarkUsed(const std::string& path) { ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

absl::Status AboutCase(const absl::Status& status, absl::string_view case_id) {
  return Annotate(status, absl::StrCat("case ", case_id));
}

}  // namespace

absl::StatusOr<SampleCache> SampleCache::Open(Options options) {
  const std::string folder = JoinPath(JoinPath(options.home, "cache"),
                                      PreparationDigest(options.plan).substr(0, 16));
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  SampleCache cache(std::move(options), folder);
  if (cache.options_.is_encrypted) {
    CSL_ASSIGN_OR_RETURN(cache.key_,
                         LoadOrCreateHomeKey(cache.options_.home, kKeyFile, kSampleKeyBytes));
    CSL_RETURN_IF_ERROR(RemovePlainSamples(JoinPath(cache.options_.home, "cache")));
  }
  return cache;
}

std::string SampleCache::PathOf(const CohortCase& item) const {
  return JoinPath(folder_, absl::StrCat(item.record.case_id, ".bin"));
}

absl::StatusOr<PreparedCase> SampleCache::Load(const CohortCase& item) {
  const std::string path = PathOf(item);
  const std::string origin = Origin(item);
  if (absl::StatusOr<SampleFile> file = SampleFile::Open(path, key()); file.ok()) {
    absl::StatusOr<PreparedCase> cached = Decode(*file, item, origin);
    if (cached.ok()) {
      MarkUsed(path);
      if (item.labelled) cached->label_path = CaseLabelPath(options_.home, item.record.case_id);
      return cached;
    }
  }
  return BuildAndStore(item, origin);
}

absl::Status SampleCache::Ensure(const CohortCase& item) {
  const std::string path = PathOf(item);
  const std::string origin = Origin(item);
  const absl::StatusOr<SampleFile> file = SampleFile::Open(path, key());
  if (file.ok() && DecodeHeader(*file, item, origin).ok()) {
    MarkUsed(path);
    return absl::OkStatus();
  }
  return BuildAndStore(item, origin).status();
}

absl::StatusOr<PreparedCase> SampleCache::BuildAndStore(const CohortCase& item,
                                                        absl::string_view origin) const {
  absl::StatusOr<PreparedCase> built = Build(item);
  if (!built.ok()) return AboutCase(built.status(), item.record.case_id);
  Store(*built, PathOf(item), origin);
  return built;
}

absl::StatusOr<imaging::Volume> SampleCache::ReadChannel(const CaseRecord& record,
                                                         size_t channel) const {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                       CaseImagePaths(options_.home, record.case_id));
  CSL_ASSIGN_OR_RETURN(imaging::AssembledSeries series,
                       imaging::AssembleSeries(paths, record.assembly.part));
  if (!imaging::SameGrid(series.volume.geometry, record.geometry)) {
    return absl::DataLossError("its images are not those of its record");
  }
  CSL_RETURN_IF_ERROR(
      imaging::ConvertUnit(options_.plan, channel, record.pet, series.volume));
  return std::move(series.volume);
}

absl::StatusOr<PreparedCase> SampleCache::Build(const CohortCase& item) const {
  std::vector<imaging::Volume> volumes;
  CSL_ASSIGN_OR_RETURN(imaging::Volume reference, ReadChannel(item.record, 0));
  volumes.push_back(std::move(reference));
  for (const CaseRecord& channel : item.channels) {
    CSL_ASSIGN_OR_RETURN(imaging::Volume volume, ReadChannel(channel, volumes.size()));
    volumes.push_back(std::move(volume));
  }
  CSL_ASSIGN_OR_RETURN(imaging::PreparedImage image,
                       imaging::PrepareChannels(volumes, options_.plan));
  PreparedCase prepared;
  prepared.case_id = item.record.case_id;
  prepared.source = volumes[0].geometry;
  prepared.grid = image.grid;
  prepared.image = std::move(image.voxels);
  if (item.labelled) {
    prepared.label_path = CaseLabelPath(options_.home, prepared.case_id);
    CSL_ASSIGN_OR_RETURN(const imaging::LabelVolume label,
                         imaging::ReadSegmentation(prepared.label_path, prepared.source,
                                                   options_.plan.labels));
    prepared.label = imaging::ResampleLabel(label, prepared.grid).voxels;
  }
  return prepared;
}

// A cache that cannot be written slows the training down and changes nothing else.
void SampleCache::Store(const PreparedCase& prepared, const std::string& path,
                        absl::string_view origin) const {
  const std::string header = HeaderOf(prepared, origin);
  const absl::string_view body[] = {BytesOf(prepared.image), BytesOf(prepared.label)};
  const uint64_t bytes =
      SampleFileBytes(header.size(), body[0].size() + body[1].size(), options_.is_encrypted);
  const absl::MutexLock lock(storing_.get());
  if (!MakeRoom(JoinPath(options_.home, "cache"), bytes, options_.bytes_max)) return;
  (void)WriteSampleFile(path, header, body, key());
  // Its patient may have been deleted meanwhile, cases first: who looks afterwards leaves nothing.
  std::error_code ignored;
  if (!PathExists(CaseFolder(options_.home, prepared.case_id))) fs::remove(path, ignored);
}

absl::Status SampleCache::Prepare(const Cohort& cohort, const IntakeProgress& progress,
                                  const std::atomic<bool>* stop) {
  const auto total = static_cast<int64_t>(cohort.cases.size());
  for (int64_t i = 0; i < total; ++i) {
    if (stop != nullptr && stop->load()) return absl::CancelledError("preparation stopped");
    CSL_RETURN_IF_ERROR(Load(cohort.cases[static_cast<size_t>(i)]).status());
    if (progress) progress(i + 1, total);
  }
  return absl::OkStatus();
}

}  // namespace consilium::agent
