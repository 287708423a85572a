// The part of FederationDriver that takes a model from outside in: one pass over the file, a block
// in memory.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/update_reader.h"
#include "privacy/crypto/random.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/plan.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kBlockValues = 256 * 1024;
constexpr size_t kImportNameBytes = 12;

absl::Status CopyFinite(const File& file, uint64_t offset, int64_t parameters,
                        ChunkWriter& writer) {
  std::vector<float> block;
  for (int64_t at = 0; at < parameters; at += static_cast<int64_t>(block.size())) {
    block.resize(std::min<size_t>(kBlockValues, static_cast<size_t>(parameters - at)));
    char* bytes = reinterpret_cast<char*>(block.data());
    const size_t size = block.size() * sizeof(float);
    CSL_RETURN_IF_ERROR(
        file.ReadAt(offset + static_cast<uint64_t>(at) * sizeof(float), bytes, size));
    if (!std::all_of(block.begin(), block.end(), [](float v) { return std::isfinite(v); })) {
      return absl::InvalidArgumentError("the file holds a value that is not finite");
    }
    CSL_RETURN_IF_ERROR(writer.Append(absl::string_view(bytes, size)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FederationDriver::CheckImport(absl::string_view study) const {
  const RunPtr run = Find(study);
  if (run == nullptr) return absl::NotFoundError(absl::StrCat("no study ", study));
  return run->NextImport().status();
}

absl::StatusOr<std::string> FederationDriver::ImportPath() const {
  const std::string folder = JoinPath(options_.staging_folder, kImportFolder);
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  return JoinPath(folder, HexEncode(privacy::RandomBytes(kImportNameBytes)));
}

absl::StatusOr<MadeModel> FederationDriver::ReadImport(const Import& import, const StudyRun& run,
                                                       int64_t number) {
  CSL_ASSIGN_OR_RETURN(wire::SafetensorsHeader header, wire::ReadSafetensorsHeader(import.path));
  const std::string layout_sha256 = LayoutSha256(header.layout);
  if (layout_sha256 != run.record().layout_sha256) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the file's tensors (names, shapes, order) are not those of the study's models; compare "
        "with an export of ",
        run.record().latest_version));
  }
  header.metadata["format"] = "pt";
  header.metadata[wire::kPlanMetadataKey] = run.record().plan_json;
  header.metadata[wire::kVersionMetadataKey] = absl::StrCat(run.record().name, "/", number);
  ChunkWriter writer = models_.NewWriter();
  CSL_RETURN_IF_ERROR(
      writer.Append(wire::EncodeSafetensorsHeader(header.layout, header.metadata)));
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(import.path, File::Mode::kRead));
  CSL_RETURN_IF_ERROR(
      CopyFinite(file, header.data_offset, header.layout.parameters(), writer));
  CSL_ASSIGN_OR_RETURN(ManifestRecord manifest, writer.Finish());
  NewModel model = {manifest.sha256, manifest.bytes, header.layout.parameters(), layout_sha256};
  MadeModel made;
  made.model = std::move(model);
  made.manifests.push_back(std::move(manifest));
  made.hold.push_back(std::move(writer));
  return made;
}

absl::StatusOr<VersionRecord> FederationDriver::ImportModel(const Import& import,
                                                            const Caller& caller) {
  if (import.reason.empty()) {
    return absl::InvalidArgumentError("reason: say where the model is from; it goes to the audit log");
  }
  const RunPtr before = Find(import.study);
  if (before == nullptr) return absl::NotFoundError(absl::StrCat("no study ", import.study));
  CSL_ASSIGN_OR_RETURN(const int64_t number, before->NextImport());
  CSL_ASSIGN_OR_RETURN(const MadeModel made, ReadImport(import, *before, number));
  VersionRecord version;
  absl::MutexLock manifests(&models_.turn());
  CSL_RETURN_IF_ERROR(
      Change(import.study, caller,
             [&](StudyRun& run, Step& step, Batch& batch, absl::Time now) -> absl::Status {
               CSL_ASSIGN_OR_RETURN(version, run.OnImport(made.model, number, import.reason, now,
                                                          step));
               absl::StrAppend(&step.audit.front().after, " file=", import.sha256);
               batch.Put(version);
               for (const ManifestRecord& manifest : made.manifests) batch.Put(manifest);
               batch.Put(AliasRecord{version.study, "latest", version.version});
               return absl::OkStatus();
             }));
  return store_.Version(version.study, version.number);
}

}  // namespace consilium::coordinator
