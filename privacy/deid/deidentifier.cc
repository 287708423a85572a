#include "privacy/deid/deidentifier.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/crypto/sha256.h"
#include "privacy/deid/dataset_rewriter.h"
#include "privacy/deid/dicom_writer.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/head_image.h"
#include "privacy/deid/header_rewriter.h"
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

// FloatPixelData and DoubleFloatPixelData.
std::ptrdiff_t FloatPixels(const SourceFile& source) {
  constexpr uint32_t kFloat = 0x7FE00008, kDoubleFloat = 0x7FE00009;
  return std::count_if(source.layout().elements.begin(), source.layout().elements.end(),
                       [](const TopElement& element) {
                         return element.tag == kFloat || element.tag == kDoubleFloat;
                       });
}

bool HasFloatPixels(const SourceFile& source) { return FloatPixels(source) > 0; }

// What Judge() asks for.
bool DecidesAboutPixels(const TopElement& element) {
  switch (element.tag) {
    case 0x00080008:  // ImageType
    case 0x00080016:  // SOPClassUID
    case 0x00080018:  // SOPInstanceUID
    case 0x00080060:  // Modality
    case 0x00080070:  // Manufacturer
    case 0x00081090:  // ManufacturerModelName
    case 0x00100020:  // PatientID
    case 0x00181020:  // SoftwareVersions
    case 0x0020000D:  // StudyInstanceUID
    case 0x00280002:  // SamplesPerPixel
    case 0x00280004:  // PhotometricInterpretation
    case 0x00280008:  // NumberOfFrames
    case 0x00280010:  // Rows
    case 0x00280011:  // Columns
    case 0x00280100:  // BitsAllocated
    case 0x00280101:  // BitsStored
    case 0x00280102:  // HighBit
    case 0x00280103:  // PixelRepresentation
    case 0x00280301:  // BurnedInAnnotation
      return true;
    default:
      return false;
  }
}

bool MakesSequence(absl::string_view vr) { return vr.empty() || vr == "SQ" || vr == "UN"; }

}  // namespace

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

  // What the header says that decides about the rest. Parses the attributes that it needs.
  struct Facts {
    ObjectKind kind = ObjectKind::kOther;
    PatientTerms terms;
    PixelVerdict pixels;
    bool copies = false;  // of the pixels, as `shape` says
    PixelShape shape;
  };
  absl::StatusOr<Facts> Judge(const SourceFile& source, Pixels pixels) const;

  absl::StatusOr<DeidReport> Run(const std::string& in_path, const std::string& out_path,
                                 const std::string& png_path, const PatientTokens& tokens,
                                 Pixels pixels, HeaderMemo* memo) const;
  // Pixels that nobody has to look at go from file to file.
  absl::Status Copy(const SourceFile& source, const Facts& facts, const std::string& out_path,
                    const PatientTokens& tokens, HeaderMemo* memo, DeidReport& report) const;
  // Everything else is parsed whole.
  absl::Status Rebuild(const SourceFile& source, const Facts& facts, Pixels pixels,
                       const std::string& out_path, const std::string& png_path,
                       const PatientTokens& tokens, DeidReport& report) const;
  struct Cleaned {
    PixelsCleaned by_us = PixelsCleaned::kNo;
    std::string png;
  };
  absl::StatusOr<Cleaned> CleanPixels(DcmDataset& dataset, const Facts& facts, Pixels pixels,
                                      DeidReport& report) const;
};

absl::StatusOr<Deidentifier::Rep::Facts> Deidentifier::Rep::Judge(const SourceFile& source,
                                                                  Pixels pixels) const {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> parsed,
                       source.Parse(SourceFile::Extent::kHeader, [this](const TopElement& element) {
                         return DecidesAboutPixels(element) ||
                                (profile.hold_faces && DecidesAboutFace(element.tag));
                       }));
  DcmDataset& header = *parsed;
  Facts facts;
  facts.kind = KindOfObject(TextOf(header, DCM_SOPClassUID));
  CSL_RETURN_IF_ERROR(CheckKind(facts.kind, profile));
  if (TextOf(header, DCM_SOPInstanceUID).empty()) {
    return absl::InvalidArgumentError("no SOP instance UID");
  }
  facts.terms = TermsOf(identities, header);
  const bool show = pixels == Pixels::kShow;
  if (!show && profile.hold_faces && facts.kind == ObjectKind::kScan) {
    if (const char* reason = FaceRisk(header)) return absl::FailedPreconditionError(reason);
  }
  if (!source.layout().has_pixels && !HasFloatPixels(source)) {
    if (facts.kind == ObjectKind::kScan || facts.kind == ObjectKind::kMask ||
        facts.kind == ObjectKind::kPicture) {
      return absl::InvalidArgumentError("an image without pixels");
    }
    return facts;
  }
  // The second kind would be written as it is, looked at by nobody (PS3.3 C.7.6.24: one of the
  // three).
  if (FloatPixels(source) + (source.layout().has_pixels ? 1 : 0) > 1) {
    return absl::InvalidArgumentError("pixels of several kinds");
  }
  facts.pixels = JudgePixels(header, facts.kind, profile);
  if (facts.pixels.risk == PixelRisk::kLook && profile.pixels == PixelPolicy::kHold && !show) {
    return absl::FailedPreconditionError(facts.pixels.reason);
  }
  facts.copies = facts.pixels.risk == PixelRisk::kNone && !show && !HasFloatPixels(source) &&
                 source.PixelsCanBeCopied();
  if (!facts.copies) return facts;
  CSL_ASSIGN_OR_RETURN(facts.shape, ShapeOf(header));
  if (source.layout().pixel_bytes < facts.shape.bytes) {
    return absl::InvalidArgumentError("the pixel data is shorter than the image");
  }
  return facts;
}

absl::Status Deidentifier::Rep::Copy(const SourceFile& source, const Facts& facts,
                                     const std::string& out_path, const PatientTokens& tokens,
                                     HeaderMemo* memo, DeidReport& report) const {
  report.hidden_bytes_dropped +=
      static_cast<int64_t>(source.layout().pixel_bytes / 2 - (facts.shape.bytes + 1) / 2) * 2;
  HeaderRewriter rewriter({identities, tokens, profile}, facts.terms, memo);
  CSL_ASSIGN_OR_RETURN(const EncodedHeader header,
                       rewriter.Rewrite(source, Skipping(report), report));
  return WriteDicom(header, source, facts.shape, out_path);
}

absl::Status Deidentifier::Rep::Rebuild(const SourceFile& source, const Facts& facts, Pixels pixels,
                                        const std::string& out_path, const std::string& png_path,
                                        const PatientTokens& tokens, DeidReport& report) const {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset,
                       source.Parse(SourceFile::Extent::kWhole, Skipping(report)));
  Cleaned cleaned;
  if (source.layout().has_pixels || HasFloatPixels(source)) {
    CSL_ASSIGN_OR_RETURN(cleaned, CleanPixels(*dataset, facts, pixels, report));
  }
  DatasetRewriter rewriter(identities, tokens, profile, report);
  CSL_RETURN_IF_ERROR(rewriter.Rewrite(*dataset, cleaned.by_us));
  if (pixels == Pixels::kShow &&
      dataset->putAndInsertString(DCM_PatientIdentityRemoved, "NO").bad()) {
    return absl::InternalError("the markers cannot be written");
  }
  if (!cleaned.png.empty() && !ReplaceFile(png_path, cleaned.png, kPrivateFile).ok()) {
    return absl::UnavailableError("the picture cannot be written");
  }
  return WriteDicom(*dataset, out_path);
}

absl::StatusOr<Deidentifier::Rep::Cleaned> Deidentifier::Rep::CleanPixels(
    DcmDataset& dataset, const Facts& facts, Pixels pixels, DeidReport& report) const {
  CSL_RETURN_IF_ERROR(ExactPixels(dataset, report));
  Cleaned cleaned;
  const bool show = pixels == Pixels::kShow;
  if (facts.pixels.risk == PixelRisk::kNone && !show) return cleaned;
  absl::StatusOr<Pictures> pictures = Pictures::Open(dataset);
  if (show) {
    if (pictures.ok()) cleaned.png = ThumbnailPng(pictures->Middle());
    return cleaned;
  }
  if (!pictures.ok()) return absl::FailedPreconditionError(facts.pixels.reason);
  const bool risky = facts.pixels.risk == PixelRisk::kLook;
  if (!risky && !pictures->ShowText()) return cleaned;
  if (profile.pixels == PixelPolicy::kHold) {
    return absl::FailedPreconditionError(facts.pixels.reason);
  }
  CSL_RETURN_IF_ERROR(pictures->BlackOut(facts.pixels.rules, report));
  cleaned.by_us = PixelsCleaned::kYes;
  return cleaned;
}

absl::StatusOr<DeidReport> Deidentifier::Rep::Run(const std::string& in_path,
                                                  const std::string& out_path,
                                                  const std::string& png_path,
                                                  const PatientTokens& tokens, Pixels pixels,
                                                  HeaderMemo* memo) const {
  CSL_ASSIGN_OR_RETURN(SourceFile source, SourceFile::Open(in_path, file_bytes_max));
  CSL_ASSIGN_OR_RETURN(const Facts facts, Judge(source, pixels));
  if (!facts.copies) CSL_RETURN_IF_ERROR(source.LoadAll());
  DeidReport report;
  report.files = 1;
  report.hidden_bytes_dropped = source.hidden_bytes();
  CSL_RETURN_IF_ERROR(facts.copies
                          ? Copy(source, facts, out_path, tokens, memo, report)
                          : Rebuild(source, facts, pixels, out_path, png_path, tokens, report));
  return report;
}

Deidentifier::Deidentifier(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Deidentifier::Deidentifier(Deidentifier&&) noexcept = default;
Deidentifier& Deidentifier::operator=(Deidentifier&&) noexcept = default;
Deidentifier::~Deidentifier() = default;

absl::StatusOr<Deidentifier> Deidentifier::Create(Options options) {
  if (options.site_key.size() != kSiteKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("site key: must have ", kSiteKeyBytes, " bytes"));
  }
  PrepareDcmtk();
  return Deidentifier(
      std::make_unique<Rep>(Rep{IdentityMap(std::move(options.site_key)), options.file_bytes_max,
                                std::move(options.profile)}));
}

absl::Status Deidentifier::CollectTokens(const std::string& path, PatientTokens& tokens) const {
  CSL_ASSIGN_OR_RETURN(const SourceFile source, SourceFile::Open(path, rep_->file_bytes_max));
  const std::string identity = source.ElementBytes([](const TopElement& element) {
    return MakesSequence(element.vr) || MayIdentify(element.tag, element.vr);
  });
  // The files of a series mostly say the same of their patient.
  std::string digest = Sha256(absl::StrCat(source.syntax(), ":", identity));
  if (tokens.HasSource(digest)) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset,
                       SourceFile::ParseElements(identity, source.syntax()));
  CollectIdentity(*dataset, tokens);
  tokens.AddSource(std::move(digest));
  return absl::OkStatus();
}

PatientTokens Deidentifier::CollectTokens(const std::vector<std::string>& paths,
                                          ThreadPool& pool) const {
  const auto threads = static_cast<size_t>(pool.threads());
  std::vector<PatientTokens> by_thread(threads);
  for (size_t thread = 0; thread < threads; ++thread) {
    pool.Schedule([&, thread] {
      for (size_t i = thread; i < paths.size(); i += threads) {
        (void)CollectTokens(paths[i], by_thread[thread]);
      }
    });
  }
  pool.Wait();
  for (size_t thread = 1; thread < threads; ++thread) by_thread[0].Merge(by_thread[thread]);
  return std::move(by_thread[0]);
}

absl::StatusOr<DeidReport> Deidentifier::Deidentify(const std::string& in_path,
                                                    const std::string& out_path,
                                                    const PatientTokens& tokens,
                                                    HeaderMemo* memo) const {
  return rep_->Run(in_path, out_path, "", tokens, Rep::Pixels::kJudge, memo);
}

absl::StatusOr<DeidReport> Deidentifier::PrepareReview(const std::string& in_path,
                                                       const std::string& out_path,
                                                       const std::string& png_path,
                                                       const PatientTokens& tokens) const {
  return rep_->Run(in_path, out_path, png_path, tokens, Rep::Pixels::kShow, nullptr);
}

absl::Status Deidentifier::ConfirmReviewed(const std::string& in_path,
                                           const std::string& out_path) {
  PrepareDcmtk();
  constexpr uint64_t kBytesMax = uint64_t{4} << 30;
  CSL_ASSIGN_OR_RETURN(SourceFile source, SourceFile::Open(in_path, kBytesMax));
  CSL_RETURN_IF_ERROR(source.LoadAll());
  CSL_ASSIGN_OR_RETURN(
      const std::unique_ptr<DcmDataset> dataset,
      source.Parse(SourceFile::Extent::kWhole, [](const TopElement&) { return true; }));
  if (TextOf(*dataset, DCM_PatientIdentityRemoved) != "NO" ||
      dataset->putAndInsertString(DCM_PatientIdentityRemoved, "YES").bad()) {
    return absl::InvalidArgumentError("not a file that waits for a person");
  }
  return WriteDicom(*dataset, out_path);
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
