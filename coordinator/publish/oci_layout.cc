#include "coordinator/publish/oci_layout.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::publish {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";
constexpr const char* kLayerType = "application/vnd.oci.image.layer.v1.tar";
constexpr const char* kLayoutText = R"({"imageLayoutVersion":"1.0.0"})";
constexpr size_t kTagBytesMax = 128;
constexpr uint64_t kIndexBytesMax = 1024 * 1024;

struct Blob {
  std::string sha256;
  uint64_t bytes = 0;
};

Json Descriptor(const char* type, const Blob& blob) {
  return {
      {"mediaType", type}, {"digest", absl::StrCat("sha256:", blob.sha256)}, {"size", blob.bytes}};
}

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

// Writes blobs below `root`, each under its digest.
class BlobStore {
 public:
  BlobStore(std::string root, const std::function<void(uint64_t)>& on_bytes)
      : folder_(JoinPath(root, "blobs/sha256")), on_bytes_(on_bytes) {}

  const std::string& folder() const { return folder_; }
  uint64_t bytes() const { return bytes_; }

  absl::StatusOr<Blob> AddTar(const TarTree& tree) {
    const std::string unnamed = JoinPath(folder_, "unnamed");
    Blob blob;
    privacy::Sha256Stream digest;
    {
      CSL_ASSIGN_OR_RETURN(File file,
                           File::Open(unnamed, File::Mode::kReadWriteCreate, kPublicFile));
      const absl::Status written = WriteTar(tree, [&](absl::string_view piece) -> absl::Status {
        CSL_RETURN_IF_ERROR(file.WriteAt(blob.bytes, piece));
        digest.Update(piece);
        blob.bytes += piece.size();
        bytes_ += piece.size();
        on_bytes_(bytes_);
        return absl::OkStatus();
      });
      CSL_RETURN_IF_ERROR(written);
      CSL_RETURN_IF_ERROR(file.Sync());
    }
    blob.sha256 = HexEncode(digest.Finish());
    CSL_RETURN_IF_ERROR(RenameDurably(unnamed, JoinPath(folder_, blob.sha256)));
    return blob;
  }

  absl::StatusOr<Blob> AddJson(const Json& json) {
    const std::string text = json.dump();
    const Blob blob = {privacy::Sha256Hex(text), text.size()};
    CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder_, blob.sha256), text));
    bytes_ += text.size();
    return blob;
  }

 private:
  const std::string folder_;
  const std::function<void(uint64_t)>& on_bytes_;
  uint64_t bytes_ = 0;
};

Json ConfigJson(const Image& image, const std::vector<WrittenLayer>& layers) {
  Json diff_ids = Json::array();
  Json history = Json::array();
  for (const WrittenLayer& layer : layers) {
    diff_ids.push_back(absl::StrCat("sha256:", layer.sha256));
    history.push_back({{"created", Rfc3339(image.created)}, {"created_by", layer.title}});
  }
  return {{"architecture", image.architecture},
          {"os", "linux"},
          {"created", Rfc3339(image.created)},
          {"config",
           {{"User", image.user},
            {"WorkingDir", image.folder},
            {"Env", image.environment},
            {"Entrypoint", image.entrypoint},
            {"Cmd", image.command},
            {"Labels", image.annotations}}},
          {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}},
          {"history", history}};
}

absl::StatusOr<WrittenImage> Fill(const std::string& root, const Image& image,
                                  const std::string& tag,
                                  const std::function<void(uint64_t)>& on_bytes) {
  BlobStore blobs(root, on_bytes);
  CSL_RETURN_IF_ERROR(MakeDirs(blobs.folder()));
  WrittenImage written;
  Json layers = Json::array();
  for (const ImageLayer& layer : image.layers) {
    CSL_ASSIGN_OR_RETURN(const Blob blob, blobs.AddTar(layer.tree));
    layers.push_back(Descriptor(kLayerType, blob));
    written.layers.push_back({layer.title, blob.sha256, blob.bytes});
  }
  CSL_ASSIGN_OR_RETURN(const Blob config, blobs.AddJson(ConfigJson(image, written.layers)));
  CSL_ASSIGN_OR_RETURN(const Blob manifest,
                       blobs.AddJson({{"schemaVersion", 2},
                                      {"mediaType", kManifestType},
                                      {"config", Descriptor(kConfigType, config)},
                                      {"layers", layers},
                                      {"annotations", image.annotations}}));
  Json entry = Descriptor(kManifestType, manifest);
  entry["platform"] = {{"architecture", image.architecture}, {"os", "linux"}};
  entry["annotations"] = {{"org.opencontainers.image.ref.name", tag}};
  const Json index = {
      {"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", Json::array({entry})}};
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(root, "index.json"), index.dump()));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(root, "oci-layout"), kLayoutText));
  // Everybody may read an image; MakeDirs makes folders for their owner only.
  for (const std::string& folder : {root, JoinPath(root, "blobs"), blobs.folder()}) {
    if (::chmod(folder.c_str(), 0755) != 0) return absl::UnavailableError("cannot set a mode");
  }
  written.manifest_sha256 = manifest.sha256;
  written.bytes = blobs.bytes();
  return written;
}

// Whether `dir` holds what `built` holds: the same index, and each blob with its content.
absl::StatusOr<bool> IsSame(const std::string& dir, const std::string& built) {
  const absl::StatusOr<std::string> there = ReadFile(JoinPath(dir, "index.json"), kIndexBytesMax);
  CSL_ASSIGN_OR_RETURN(const std::string ours,
                       ReadFile(JoinPath(built, "index.json"), kIndexBytesMax));
  if (!there.ok() || *there != ours || !PathExists(JoinPath(dir, "oci-layout"))) return false;
  for (const auto& entry : fs::directory_iterator(JoinPath(built, "blobs/sha256"))) {
    const std::string digest = entry.path().filename().string();
    const auto present = privacy::Sha256HexOfFile(JoinPath(dir, "blobs/sha256/" + digest));
    if (!present.ok() || *present != digest) return false;
  }
  return true;
}

// A DIR.partial of an earlier run that was cut off may go; anything else may not.
absl::Status ClearPartial(const std::string& partial) {
  if (!fs::exists(partial)) return absl::OkStatus();
  for (const auto& entry : fs::directory_iterator(partial)) {
    const std::string name = entry.path().filename().string();
    const bool ours =
        name == "blobs" || name.starts_with("index.json") || name.starts_with("oci-layout");
    if (!ours) {
      return absl::FailedPreconditionError(
          absl::StrCat(BaseName(partial), " is in the way and not ours; move it"));
    }
  }
  fs::remove_all(partial);
  return absl::OkStatus();
}

absl::StatusOr<WrittenImage> Write(const Image& image, const std::string& tag,
                                   const fs::path& target,
                                   const std::function<void(uint64_t)>& on_bytes) {
  const bool full = fs::exists(target) && (!fs::is_directory(target) || !fs::is_empty(target));
  const absl::Status other = absl::FailedPreconditionError(absl::StrCat(
      BaseName(target.string()), " is not empty and holds something else; name a new folder"));
  if (full && !fs::exists(target / "oci-layout")) return other;
  const std::string partial = target.string() + ".partial";
  CSL_RETURN_IF_ERROR(ClearPartial(partial));
  CSL_RETURN_IF_ERROR(MakeDirs(partial));
  const auto remove = absl::MakeCleanup([&partial] {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
  });
  CSL_ASSIGN_OR_RETURN(WrittenImage written, Fill(partial, image, tag, on_bytes));
  if (full) {
    CSL_ASSIGN_OR_RETURN(written.already_there, IsSame(target.string(), partial));
    if (!written.already_there) return other;
    return written;
  }
  CSL_RETURN_IF_ERROR(RenameDurably(partial, target.string()));
  return written;
}

}  // namespace

uint64_t ImageBytes(const Image& image) {
  uint64_t bytes = 0;
  for (const ImageLayer& layer : image.layers) {
    for (const auto& [path, entry] : layer.tree.entries()) {
      bytes += entry.content.size();
      if (!entry.source.empty()) bytes += FileBytes(entry.source).value_or(0);
    }
  }
  return bytes;
}

absl::Status CheckTag(const std::string& tag) {
  bool ok = !tag.empty() && tag.size() <= kTagBytesMax && tag.front() != '.' && tag.front() != '-';
  for (const char c : tag) {
    ok = ok &&
         (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_');
  }
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a tag: 1 to ", kTagBytesMax,
                   " letters, digits, '_', '.' and '-', the first neither '.' nor '-'"));
}

absl::StatusOr<WrittenImage> WriteOciLayout(const Image& image, const std::string& tag,
                                            const std::string& dir,
                                            const std::function<void(uint64_t)>& on_bytes) {
  CSL_RETURN_IF_ERROR(CheckTag(tag));
  try {
    fs::path target = fs::absolute(dir).lexically_normal();
    if (!target.has_filename()) target = target.parent_path();
    return Write(image, tag, target, on_bytes);
  } catch (const fs::filesystem_error& error) {
    return absl::UnavailableError(absl::StrCat("cannot write the image: ", error.code().message()));
  }
}

}  // namespace consilium::publish
