#include "privacy/deid/deidentifier.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <utility>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcistrmb.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"
#include "privacy/deid/dataset_rewriter.h"
#include "privacy/deid/dicom_scan.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/identity_map.h"
#include "privacy/deid/pixel_data.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// A UID of ours (PS3.5 B.2), so that files say which program wrote them.
constexpr const char* kImplementationUid = "2.25.163276915437108274219548831265920174655";
constexpr const char* kImplementationVersion = "CONSILIUM_1";

void PrepareDcmtk() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);  // its warnings print values
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

struct ParsedFile {
  std::unique_ptr<DcmDataset> dataset;
  int64_t hidden_bytes = 0;
};

enum class Extent { kHeader, kWhole };

// What base/file says names the file; here only its code may pass.
absl::Status WithoutName(const absl::Status& status) {
  return absl::Status(status.code(), "the file cannot be read");
}

absl::StatusOr<DicomEncoding> EncodingOf(const DcmXfer& syntax) {
  if (syntax.getXfer() == EXS_Unknown) return absl::UnimplementedError("unknown transfer syntax");
  if (syntax.getXfer() == EXS_DeflatedLittleEndianExplicit) {
    return absl::UnimplementedError("a deflated data set");
  }
  if (syntax.isImplicitVR()) return DicomEncoding::kImplicitLittle;
  return syntax.isLittleEndian() ? DicomEncoding::kExplicitLittle : DicomEncoding::kExplicitBig;
}

// Only bytes that the scan has vouched for reach DCMTK; what lies behind the pixels never does.
absl::StatusOr<ParsedFile> Parse(const std::string& path, uint64_t bytes_max, Extent extent) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, bytes_max);
  if (!bytes.ok()) return WithoutName(bytes.status());
  CSL_ASSIGN_OR_RETURN(const DicomPreamble preamble, ScanPreamble(*bytes));
  const DcmXfer syntax(preamble.transfer_syntax_uid.c_str());
  CSL_ASSIGN_OR_RETURN(const DicomEncoding encoding, EncodingOf(syntax));
  const absl::string_view body = absl::string_view(*bytes).substr(preamble.dataset_offset);
  CSL_ASSIGN_OR_RETURN(const DicomLayout layout, ScanDataset(body, encoding));
  const uint64_t length = extent == Extent::kHeader ? layout.header_bytes : layout.end;
  ParsedFile parsed;
  parsed.hidden_bytes = static_cast<int64_t>(body.size() - layout.end);
  for (size_t i = 0; i < 128 && preamble.dataset_offset >= 132; ++i) {
    if ((*bytes)[i] != '\0') ++parsed.hidden_bytes;
  }
  parsed.dataset = std::make_unique<DcmDataset>();
  DcmInputBufferStream stream;
  stream.setBuffer(body.data(), static_cast<offile_off_t>(length));
  stream.setEos();
  parsed.dataset->transferInit();
  const OFCondition read = parsed.dataset->read(stream, syntax.getXfer());
  parsed.dataset->transferEnd();
  if (read.bad()) return absl::InvalidArgumentError("the data set cannot be parsed");
  return parsed;
}

absl::Status CheckCovered(DcmDataset& dataset) {
  const std::string uid = TextOf(dataset, DCM_SOPClassUID);
  if (uid == UID_MRImageStorage || uid == UID_CTImageStorage || uid == UID_SegmentationStorage) {
    if (!TextOf(dataset, DCM_SOPInstanceUID).empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("no SOP instance UID");
  }
  return absl::UnimplementedError("an object that is neither MR, CT nor segmentation");
}

absl::Status FillMeta(DcmFileFormat& file, E_TransferSyntax syntax) {
  DcmMetaInfo& meta = *file.getMetaInfo();
  DcmDataset& dataset = *file.getDataset();
  const Uint8 version[2] = {0, 1};
  const std::string sop_class = TextOf(dataset, DCM_SOPClassUID);
  const std::string sop_instance = TextOf(dataset, DCM_SOPInstanceUID);
  const bool good =
      meta.putAndInsertUint8Array(DCM_FileMetaInformationVersion, version, 2).good() &&
      meta.putAndInsertString(DCM_MediaStorageSOPClassUID, sop_class.c_str()).good() &&
      meta.putAndInsertString(DCM_MediaStorageSOPInstanceUID, sop_instance.c_str()).good() &&
      meta.putAndInsertString(DCM_TransferSyntaxUID, DcmXfer(syntax).getXferID()).good() &&
      meta.putAndInsertString(DCM_ImplementationClassUID, kImplementationUid).good() &&
      meta.putAndInsertString(DCM_ImplementationVersionName, kImplementationVersion).good();
  if (!good || meta.putAndInsertUint32(DCM_FileMetaInformationGroupLength, 0).bad() ||
      meta.computeGroupLengthAndPadding(EGL_recalcGL, EPD_noChange, EXS_LittleEndianExplicit,
                                        EET_ExplicitLength)
          .bad()) {
    return absl::InternalError("the meta header cannot be written");
  }
  return absl::OkStatus();
}

absl::Status Save(std::unique_ptr<DcmDataset> dataset, const std::string& path) {
  const E_TransferSyntax current = dataset->getCurrentXfer();
  const E_TransferSyntax syntax =
      DcmXfer(current).isEncapsulated() ? current : EXS_LittleEndianExplicit;
  DcmFileFormat file(dataset.release(), /*deepCopy=*/OFFalse);
  CSL_RETURN_IF_ERROR(FillMeta(file, syntax));
  const std::string part = absl::StrCat(path, ".part");
  // Made first, so that it is never readable for others, not even while DCMTK writes it.
  if (!File::Open(part, File::Mode::kReadWriteCreate, kPrivateFile).ok()) {
    return absl::UnavailableError("the output file cannot be made");
  }
  // "Update" would put DCMTK's own implementation UID in the place of ours.
  const OFCondition saved =
      file.saveFile(part.c_str(), syntax, EET_ExplicitLength, EGL_withoutGL, EPD_withoutPadding, 0,
                    0, EWM_dontUpdateMeta);
  if (saved.bad() || std::rename(part.c_str(), path.c_str()) != 0) {
    ::unlink(part.c_str());
    return absl::UnavailableError("the output file cannot be written");
  }
  return absl::OkStatus();
}

}  // namespace

void DeidReport::Add(const DeidReport& other) {
  files += other.files;
  removed += other.removed;
  emptied += other.emptied;
  replaced += other.replaced;
  uids_mapped += other.uids_mapped;
  dates_shifted += other.dates_shifted;
  private_removed += other.private_removed;
  unlisted_removed += other.unlisted_removed;
  texts_scrubbed += other.texts_scrubbed;
  hidden_bytes_dropped += other.hidden_bytes_dropped;
}

struct Deidentifier::Rep {
  IdentityMap identities;
  uint64_t file_bytes_max;
  SecondaryImages secondary_images;
};

Deidentifier::Deidentifier(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Deidentifier::Deidentifier(Deidentifier&&) noexcept = default;
Deidentifier& Deidentifier::operator=(Deidentifier&&) noexcept = default;
Deidentifier::~Deidentifier() = default;

absl::StatusOr<Deidentifier> Deidentifier::Create(Options options) {
  if (options.site_key.size() != kSiteKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat("site key: must have ", kSiteKeyBytes, " bytes"));
  }
  PrepareDcmtk();
  return Deidentifier(std::make_unique<Rep>(Rep{
      IdentityMap(std::move(options.site_key)), options.file_bytes_max, options.secondary_images}));
}

absl::Status Deidentifier::CollectTokens(const std::string& path, PatientTokens& tokens) const {
  CSL_ASSIGN_OR_RETURN(const ParsedFile parsed,
                       Parse(path, rep_->file_bytes_max, Extent::kHeader));
  CollectIdentity(*parsed.dataset, tokens);
  return absl::OkStatus();
}

absl::StatusOr<DeidReport> Deidentifier::Deidentify(const std::string& in_path,
                                                    const std::string& out_path,
                                                    const PatientTokens& tokens) const {
  CSL_ASSIGN_OR_RETURN(ParsedFile parsed, Parse(in_path, rep_->file_bytes_max, Extent::kWhole));
  DcmDataset& dataset = *parsed.dataset;
  CSL_RETURN_IF_ERROR(CheckCovered(dataset));
  CSL_RETURN_IF_ERROR(CheckPixelsMayStay(dataset, rep_->secondary_images));
  DeidReport report;
  report.files = 1;
  report.hidden_bytes_dropped = parsed.hidden_bytes;
  CSL_RETURN_IF_ERROR(ExactPixels(dataset, tokens, report));
  DatasetRewriter rewriter(rep_->identities, tokens, report);
  CSL_RETURN_IF_ERROR(rewriter.Rewrite(dataset));
  CSL_RETURN_IF_ERROR(Save(std::move(parsed.dataset), out_path));
  return report;
}

std::string Deidentifier::MapUid(absl::string_view uid) const { return rep_->identities.Uid(uid); }

std::string Deidentifier::PatientPseudonym(absl::string_view patient_id) const {
  return PatientPseudonymOf(rep_->identities, patient_id);
}

std::string Deidentifier::Pseudonym(absl::string_view purpose, absl::string_view value) const {
  return rep_->identities.Hex(purpose, value, 12);
}

}  // namespace consilium::privacy
