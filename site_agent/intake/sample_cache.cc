#include "site_agent/intake/sample_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/channels.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/preprocess.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// File: magic, length of the header (u64), header (JSON), floats, label bytes, CRC-32C (u32) of all
// before it. Little endian.
static_assert(std::endian::native == std::endian::little);
constexpr absl::string_view kMagic = "CSLCASE1";
constexpr uint64_t kHeaderBytesMax = 64 * 1024;
constexpr uint64_t kFileBytesMax = uint64_t{16} << 30;
constexpr size_t kPrefixBytes = 16;

// Changes with anything that would change the arrays.
std::string PreparationDigest(const wire::Plan& plan) {
  Json labels = Json::array();
  for (const wire::PlanLabel& label : plan.labels) {
    labels.push_back({label.value, label.name, label.code});
  }
  Json json = {{"format", kMagic},
               {"labels", labels},
               {"spacing_xyz_mm", plan.spacing_xyz_mm},
               {"normalisation", plan.normalisation}};
  // Only where there are some, so that what was prepared before them is still found. Which series
  // they are is in the origin of each case.
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

std::string Encode(const PreparedCase& prepared, absl::string_view origin) {
  Json described = {{"case_id", prepared.case_id},
                    {"origin", std::string(origin)},
                    {"grid", ToJson(prepared.grid)},
                    {"source", ToJson(prepared.source)},
                    {"labelled", !prepared.label.empty()}};
  if (prepared.channels() > 1) described["channels"] = prepared.channels();
  const std::string header = described.dump();
  std::string file(kMagic);
  file.resize(kPrefixBytes);
  StoreLe64(header.size(), file.data() + kMagic.size());
  file += header;
  file.append(reinterpret_cast<const char*>(prepared.image.data()),
              prepared.image.size() * sizeof(float));
  file.append(reinterpret_cast<const char*>(prepared.label.data()), prepared.label.size());
  char crc[4];
  StoreLe32(Crc32c(file), crc);
  return file.append(crc, sizeof(crc));
}

absl::StatusOr<PreparedCase> Decode(const std::string& file, absl::string_view origin) {
  const absl::Status fault = absl::DataLossError("a cached case is damaged");
  if (file.size() < kPrefixBytes + 4 || file.compare(0, kMagic.size(), std::string(kMagic)) != 0) {
    return fault;
  }
  const size_t body_end = file.size() - 4;
  if (Crc32c(absl::string_view(file).substr(0, body_end)) != LoadLe32(file.data() + body_end)) {
    return fault;
  }
  const uint64_t header_bytes = LoadLe64(file.data() + kMagic.size());
  if (header_bytes > kHeaderBytesMax || header_bytes > body_end - kPrefixBytes) return fault;
  PreparedCase prepared;
  bool labelled = false;
  uint64_t channels = 1;
  try {
    const Json header = Json::parse(file.begin() + kPrefixBytes,
                                    file.begin() + kPrefixBytes + static_cast<int64_t>(header_bytes));
    if (header.at("origin").get<std::string>() != origin) {
      return absl::NotFoundError("the cached case is of an older state");
    }
    prepared.case_id = header.at("case_id").get<std::string>();
    prepared.grid = GeometryFrom(header.at("grid"));
    prepared.source = GeometryFrom(header.at("source"));
    labelled = header.at("labelled").get<bool>();
    channels = header.value("channels", channels);
  } catch (const Json::exception&) {
    return fault;
  }
  const auto& size = prepared.grid.size_xyz;
  constexpr int64_t kAxisMax = 1 << 20;
  for (const int64_t s : size) {
    if (s < 1 || s > kAxisMax) return fault;
  }
  if (channels < 1 || channels > wire::kChannelsMax) return fault;
  const uint64_t voxels = static_cast<uint64_t>(size[0]) * static_cast<uint64_t>(size[1]) *
                          static_cast<uint64_t>(size[2]);
  const char* data = file.data() + kPrefixBytes + header_bytes;
  if (body_end - kPrefixBytes - header_bytes != voxels * (4 * channels + (labelled ? 1 : 0))) {
    return fault;
  }
  prepared.image.resize(channels * voxels);
  const uint64_t image_bytes = prepared.image.size() * sizeof(float);
  std::memcpy(prepared.image.data(), data, image_bytes);
  if (labelled) prepared.label.assign(data + image_bytes, data + image_bytes + voxels);
  return prepared;
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

absl::Status AboutCase(const absl::Status& status, absl::string_view case_id) {
  return Annotate(status, absl::StrCat("case ", case_id));
}

}  // namespace

absl::StatusOr<SampleCache> SampleCache::Open(Options options) {
  const std::string folder = JoinPath(JoinPath(options.home, "cache"),
                                      PreparationDigest(options.plan).substr(0, 16));
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  return SampleCache(std::move(options), folder);
}

absl::StatusOr<PreparedCase> SampleCache::Load(const CohortCase& item) {
  const std::string& case_id = item.record.case_id;
  const std::string path = JoinPath(folder_, absl::StrCat(case_id, ".bin"));
  const std::string origin = Origin(item);
  if (const absl::StatusOr<std::string> file = ReadFile(path, kFileBytesMax); file.ok()) {
    absl::StatusOr<PreparedCase> cached = Decode(*file, origin);
    if (cached.ok() && cached->case_id == case_id) {
      ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // for MakeRoom
      if (item.labelled) cached->label_path = CaseLabelPath(options_.home, case_id);
      return cached;
    }
  }
  absl::StatusOr<PreparedCase> built = Build(item);
  if (!built.ok()) return AboutCase(built.status(), case_id);
  Store(*built, path, origin);
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
                        absl::string_view origin) {
  const std::string file = Encode(prepared, origin);
  if (!MakeRoom(JoinPath(options_.home, "cache"), file.size(), options_.bytes_max)) return;
  (void)WriteFileAtomic(path, file, kPrivateFile);
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
