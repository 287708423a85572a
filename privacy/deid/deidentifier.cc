#include "privacy/deid/deidentifier.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/dataset_rewriter.h"
#include "privacy/deid/dicom_writer.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/identity_map.h"
#include "privacy/deid/object_kind.h"
#include "privacy/deid/pixel_data.h"
#include "privacy/deid/pixel_text.h"
#include "privacy/deid/safe_private.h"
#include "privacy/deid/source_file.h"
#include "privacy/deid/thumbnail.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

absl::Status CheckKind(ObjectKind kind, const DeidProfile& profile) {
  switch (kind) {
    case ObjectKind::kReport:
      if (profile.clean_structured_content) return absl::OkStatus();
      return absl::PermissionDeniedError("a report");
    case ObjectKind::kPresentation:
      if (profile.clean_graphics) return absl::OkStatus();
      return absl::PermissionDeniedError("a presentation state");
    case ObjectKind::kDocument:
      return absl::PermissionDeniedError("an encapsulated document");
    case ObjectKind::kWaveform:
      return absl::PermissionDeniedError("a waveform");
    case ObjectKind::kOther:
      return absl::UnimplementedError("a kind of object that no rule covers");
    default:
      return absl::OkStatus();
  }
}

// Voxels from which a face can be rendered (notes of PS3.15 E.3.2).
bool ShowsFace(DcmDataset& dataset) {
  constexpr double kVoxelMmMax = 2;
  const std::string part = TextOf(dataset, DCM_BodyPartExamined);
  if (part != "HEAD" && part != "BRAIN" && part != "SKULL" && part != "FACE" && part != "HEADNECK") {
    return false;
  }
  const std::string spacing = TextOf(dataset, DCM_PixelSpacing);
  const std::string thickness = TextOf(dataset, DCM_SliceThickness);
  for (const absl::string_view text : absl::StrSplit(absl::StrCat(spacing, "\\", thickness), '\\')) {
    double mm = 0;
    if (!absl::SimpleAtod(text, &mm) || mm >= kVoxelMmMax) return false;
  }
  return true;
}

bool HasPixels(DcmDataset& dataset) {
  return dataset.tagExists(DCM_PixelData) || dataset.tagExists(DCM_FloatPixelData) ||
         dataset.tagExists(DCM_DoubleFloatPixelData);
}

bool MakesSequence(absl::string_view vr) { return vr.empty() || vr == "SQ" || vr == "UN"; }

}  // namespace

void DeidReport::Add(const DeidReport& other) {
  files += other.files;
  removed += other.removed;
  emptied += other.emptied;
  replaced += other.replaced;
  uids_mapped += other.uids_mapped;
  dates_shifted += other.dates_shifted;
  private_removed += other.private_removed;
  private_kept += other.private_kept;
  unlisted_removed += other.unlisted_removed;
  texts_scrubbed += other.texts_scrubbed;
  hidden_bytes_dropped += other.hidden_bytes_dropped;
  pictures_blackened += other.pictures_blackened;
}

struct Deidentifier::Rep {
  IdentityMap identities;
  uint64_t file_bytes_max;
  DeidProfile profile;

  // What is parsed of a file that is to be rewritten: not what goes anyway. Explicit encoding only:
  // what an element is depends on its VR.
  SourceFile::Filter Skipping(DeidReport& report) const {
    return [this, &report](const TopElement& element) {
      const bool is_private = (element.tag >> 16) % 2 == 1;
      if (element.vr[0] == '\0' && !is_private) return true;
      const Action action = TagPolicy::Get().ActionFor(element.tag, element.vr, 0, profile);
      if (action == Action::kRemovePrivate) {
        if (profile.retain_safe_private && SafePrivate::Get().MayAllow(element.tag)) return true;
        ++report.private_removed;
        return false;
      }
      if (action != Action::kRemove && action != Action::kRemoveUnlisted) return true;
      ++(action == Action::kRemove ? report.removed : report.unlisted_removed);
      return false;
    };
  }

  enum class Pixels { kJudge, kShow };
  struct Prepared {
    std::unique_ptr<DcmDataset> dataset;
    std::optional<CopiedPixels> copied;
    PixelsCleaned cleaned = PixelsCleaned::kNo;
    std::string png;
  };

  absl::StatusOr<Prepared> Prepare(const SourceFile& source, Pixels pixels,
                                   const PatientTokens& tokens, DeidReport& report) const;
  absl::Status PreparePixels(const SourceFile& source, ObjectKind kind, Pixels pixels,
                             const PatientTokens& tokens, DeidReport& report,
                             Prepared& prepared) const;
  absl::StatusOr<DeidReport> Run(const std::string& in_path, const std::string& out_path,
                                 const std::string& png_path, const PatientTokens& tokens,
                                 Pixels pixels) const;
};

absl::StatusOr<Deidentifier::Rep::Prepared> Deidentifier::Rep::Prepare(
    const SourceFile& source, Pixels pixels, const PatientTokens& tokens,
    DeidReport& report) const {
  Prepared prepared;
  CSL_ASSIGN_OR_RETURN(prepared.dataset,
                       source.Parse(SourceFile::Extent::kHeader, Skipping(report)));
  DcmDataset& header = *prepared.dataset;
  const ObjectKind kind = KindOfObject(TextOf(header, DCM_SOPClassUID));
  CSL_RETURN_IF_ERROR(CheckKind(kind, profile));
  if (TextOf(header, DCM_SOPInstanceUID).empty()) {
    return absl::InvalidArgumentError("no SOP instance UID");
  }
  if (pixels == Pixels::kJudge && profile.hold_faces && kind == ObjectKind::kScan &&
      ShowsFace(header)) {
    return absl::FailedPreconditionError("a head from which a face could be rendered");
  }
  if (source.layout().has_pixels || HasPixels(header)) {
    CSL_RETURN_IF_ERROR(PreparePixels(source, kind, pixels, tokens, report, prepared));
  } else if (kind == ObjectKind::kScan || kind == ObjectKind::kMask ||
             kind == ObjectKind::kPicture) {
    return absl::InvalidArgumentError("an image without pixels");
  }
  return prepared;
}

absl::Status Deidentifier::Rep::PreparePixels(const SourceFile& source, ObjectKind kind,
                                              Pixels pixels, const PatientTokens& tokens,
                                              DeidReport& report, Prepared& prepared) const {
  const PixelVerdict verdict = JudgePixels(*prepared.dataset, kind, profile);
  const bool show = pixels == Pixels::kShow;
  if (verdict.risk == PixelRisk::kLook && profile.pixels == PixelPolicy::kHold && !show) {
    return absl::FailedPreconditionError(verdict.reason);
  }
  const bool look = verdict.risk != PixelRisk::kNone || show;
  if (!look && source.PixelsCanBeCopied()) {
    CSL_ASSIGN_OR_RETURN(const PixelShape shape, ShapeOf(*prepared.dataset));
    if (source.pixels().size() < shape.bytes) {
      return absl::InvalidArgumentError("the pixel data is shorter than the image");
    }
    report.hidden_bytes_dropped +=
        static_cast<int64_t>(source.pixels().size() / 2 - (shape.bytes + 1) / 2) * 2;
    prepared.copied = CopiedPixels{source.pixels(), shape};
    return absl::OkStatus();
  }
  if (source.layout().has_pixels) {
    DeidReport twice;  // counted when the header was parsed
    CSL_ASSIGN_OR_RETURN(prepared.dataset,
                         source.Parse(SourceFile::Extent::kWhole, Skipping(twice)));
  }
  CSL_RETURN_IF_ERROR(ExactPixels(*prepared.dataset, tokens, report));
  if (!look) return absl::OkStatus();
  absl::StatusOr<Pictures> pictures = Pictures::Open(*prepared.dataset);
  if (show) {
    if (pictures.ok()) prepared.png = ThumbnailPng(pictures->Middle());
    return absl::OkStatus();
  }
  if (!pictures.ok()) return absl::FailedPreconditionError(verdict.reason);
  const bool risky = verdict.risk == PixelRisk::kLook;
  if (!risky && !pictures->ShowText()) return absl::OkStatus();
  if (profile.pixels == PixelPolicy::kHold) {
    return absl::FailedPreconditionError(verdict.reason);
  }
  CSL_RETURN_IF_ERROR(pictures->BlackOut());
  ++report.pictures_blackened;
  prepared.cleaned = PixelsCleaned::kYes;
  return absl::OkStatus();
}

absl::StatusOr<DeidReport> Deidentifier::Rep::Run(const std::string& in_path,
                                                  const std::string& out_path,
                                                  const std::string& png_path,
                                                  const PatientTokens& tokens,
                                                  Pixels pixels) const {
  CSL_ASSIGN_OR_RETURN(const SourceFile source, SourceFile::Open(in_path, file_bytes_max));
  DeidReport report;
  report.files = 1;
  report.hidden_bytes_dropped = source.hidden_bytes();
  CSL_ASSIGN_OR_RETURN(Prepared prepared, Prepare(source, pixels, tokens, report));
  DatasetRewriter rewriter(identities, tokens, profile, report);
  CSL_RETURN_IF_ERROR(rewriter.Rewrite(*prepared.dataset, prepared.cleaned));
  if (pixels == Pixels::kShow &&
      prepared.dataset->putAndInsertString(DCM_PatientIdentityRemoved, "NO").bad()) {
    return absl::InternalError("the markers cannot be written");
  }
  if (!prepared.png.empty()) {
    const absl::Status shown = ReplaceFile(png_path, prepared.png, kPrivateFile);
    if (!shown.ok()) return absl::UnavailableError("the picture cannot be written");
  }
  CSL_RETURN_IF_ERROR(WriteDicom(*prepared.dataset, prepared.copied, out_path));
  return report;
}

Deidentifier::Deidentifier(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Deidentifier::Deidentifier(Deidentifier&&) noexcept = default;
Deidentifier& Deidentifier::operator=(Deidentifier&&) noexcept = default;
Deidentifier::~Deidentifier() = default;

absl::StatusOr<Deidentifier> Deidentifier::Create(Options options) {
  if (options.site_key.size() != kSiteKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("site key: must have ", kSiteKeyBytes, " bytes"));
  }
  PrepareDcmtk();
  return Deidentifier(std::make_unique<Rep>(Rep{IdentityMap(std::move(options.site_key)),
                                                options.file_bytes_max,
                                                std::move(options.profile)}));
}

absl::Status Deidentifier::CollectTokens(const std::string& path, PatientTokens& tokens) const {
  CSL_ASSIGN_OR_RETURN(const SourceFile source, SourceFile::Open(path, rep_->file_bytes_max));
  CSL_ASSIGN_OR_RETURN(
      const std::unique_ptr<DcmDataset> dataset,
      source.Parse(SourceFile::Extent::kHeader, [](const TopElement& element) {
        return MakesSequence(element.vr) || MayIdentify(element.tag, element.vr);
      }));
  CollectIdentity(*dataset, tokens);
  return absl::OkStatus();
}

absl::StatusOr<DeidReport> Deidentifier::Deidentify(const std::string& in_path,
                                                    const std::string& out_path,
                                                    const PatientTokens& tokens) const {
  return rep_->Run(in_path, out_path, "", tokens, Rep::Pixels::kJudge);
}

absl::StatusOr<DeidReport> Deidentifier::PrepareReview(const std::string& in_path,
                                                       const std::string& out_path,
                                                       const std::string& png_path,
                                                       const PatientTokens& tokens) const {
  return rep_->Run(in_path, out_path, png_path, tokens, Rep::Pixels::kShow);
}

absl::Status Deidentifier::ConfirmReviewed(const std::string& in_path,
                                           const std::string& out_path) {
  PrepareDcmtk();
  constexpr uint64_t kBytesMax = uint64_t{4} << 30;
  CSL_ASSIGN_OR_RETURN(const SourceFile source, SourceFile::Open(in_path, kBytesMax));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset,
                       source.Parse(SourceFile::Extent::kWhole,
                                    [](const TopElement&) { return true; }));
  if (TextOf(*dataset, DCM_PatientIdentityRemoved) != "NO" ||
      dataset->putAndInsertString(DCM_PatientIdentityRemoved, "YES").bad()) {
    return absl::InvalidArgumentError("not a file that waits for a person");
  }
  return WriteDicom(*dataset, std::nullopt, out_path);
}

const DeidProfile& Deidentifier::profile() const { return rep_->profile; }

std::string Deidentifier::MapUid(absl::string_view uid) const { return rep_->identities.Uid(uid); }

std::string Deidentifier::PatientPseudonym(absl::string_view patient_id) const {
  return PatientPseudonymOf(rep_->identities, patient_id);
}

std::string Deidentifier::Pseudonym(absl::string_view purpose, absl::string_view value) const {
  return rep_->identities.Hex(purpose, value, 12);
}

}  // namespace consilium::privacy
