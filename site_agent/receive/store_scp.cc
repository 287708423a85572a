#include "site_agent/receive/store_scp.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcostrma.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmnet/diutil.h"
#include "dcmtk/dcmnet/dul.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr uint16_t kProcessingFailure = 0x0110;  // PS3.7 C.5.23
constexpr size_t kErrorCommentBytesMax = 64;     // (0000,0902) is LO

int Seconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Seconds(duration)); }

// Hands on what DCMTK has received, piece by piece. Never reports a fault to DCMTK, which would
// then wait for a further fragment even after the last: what cannot be kept is thrown away until
// the end of the data set, and the answer says so. Past twice the largest object it hangs up.
class ObjectStream final : public DcmConsumer, public DcmOutputStream {
 public:
  ObjectStream(std::optional<InboundObject>& object, absl::Status status, uint64_t bytes_max,
               T_ASC_Association* association)
      : DcmOutputStream(this),
        object_(object),
        status_(std::move(status)),
        bytes_max_(bytes_max),
        association_(association) {}

  const absl::Status& object_status() const { return status_; }

  OFBool good() const override { return OFTrue; }
  OFCondition status() const override { return EC_Normal; }
  OFBool isFlushed() const override { return OFTrue; }
  offile_off_t avail() const override { return kPduBytesMax; }
  void flush() override {}
  offile_off_t write(const void* data, offile_off_t length) override {
    const auto size = static_cast<size_t>(length);
    if (status_.ok()) {
      status_ = object_->Write(absl::string_view(static_cast<const char*>(data), size));
    }
    bytes_ += size;
    if (bytes_ / 2 > bytes_max_) ASC_closeTransportConnection(association_);
    return length;
  }

 private:
  std::optional<InboundObject>& object_;
  absl::Status status_;
  const uint64_t bytes_max_;
  T_ASC_Association* const association_;
  uint64_t bytes_ = 0;
};

// PS3.10 7.1, with the UIDs of the command and no application's title in it.
absl::Status WriteMetaHeader(const T_DIMSE_C_StoreRQ& request, const char* transfer_syntax,
                             DcmOutputStream& stream) {
  DcmMetaInfo meta;
  const Uint8 version[2] = {0, 1};
  bool ok = meta.putAndInsertUint32(DCM_FileMetaInformationGroupLength, 0).good();
  ok = ok && meta.putAndInsertUint8Array(DCM_FileMetaInformationVersion, version, 2).good();
  const std::pair<DcmTagKey, const char*> texts[] = {
      {DCM_MediaStorageSOPClassUID, request.AffectedSOPClassUID},
      {DCM_MediaStorageSOPInstanceUID, request.AffectedSOPInstanceUID},
      {DCM_TransferSyntaxUID, transfer_syntax},
      {DCM_ImplementationClassUID, OFFIS_IMPLEMENTATION_CLASS_UID},
      {DCM_ImplementationVersionName, OFFIS_DTK_IMPLEMENTATION_VERSION_NAME}};
  for (const auto& [key, text] : texts) ok = ok && meta.putAndInsertString(key, text).good();
  ok = ok &&
       meta.computeGroupLengthAndPadding(EGL_withGL, EPD_noChange,
                                         META_HEADER_DEFAULT_TRANSFERSYNTAX, EET_UndefinedLength)
           .good();
  meta.transferInit();
  ok = ok &&
       meta.write(stream, META_HEADER_DEFAULT_TRANSFERSYNTAX, EET_ExplicitLength, nullptr).good();
  meta.transferEnd();
  return ok ? absl::OkStatus() : absl::InvalidArgumentError("the command's UIDs cannot be written");
}

absl::Status SendStoreAnswer(const Association& association, uint8_t context_id,
                             const T_DIMSE_C_StoreRQ& request, const absl::Status& status) {
  T_DIMSE_C_StoreRSP response;
  std::memset(&response, 0, sizeof(response));
  response.DimseStatus = StoreStatus(status);
  // Our own words, which hold nothing of the object: what a PACS team finds in its log.
  DcmDataset detail;
  if (!status.ok()) {
    const std::string comment(status.message().substr(0, kErrorCommentBytesMax));
    (void)detail.putAndInsertString(DCM_ErrorComment, comment.c_str());
  }
  return FromCondition(DIMSE_sendStoreResponse(association.get(), context_id, &request, &response,
                                               status.ok() ? nullptr : &detail),
                       "the answer to a C-STORE");
}

// Trailing padding does not count.
std::string Uid(const char* text) {
  absl::string_view uid(text);
  while (absl::ConsumeSuffix(&uid, " ")) {
  }
  return std::string(uid);
}

absl::Status Reject(const Association& association, T_ASC_RejectParametersResult result,
                    T_ASC_RejectParametersSource source, T_ASC_RejectParametersReason reason,
                    const char* words) {
  const T_ASC_RejectParameters reject = {result, source, reason};
  ASC_rejectAssociation(association.get(), &reject);
  return absl::PermissionDeniedError(words);
}

absl::Status Negotiate(const Association& association, const ServeOptions& options) {
  T_ASC_Parameters* parameters = association.get()->params;
  DIC_AE calling = "", called = "";
  ASC_getAPTitles(parameters, calling, sizeof(calling), called, sizeof(called), nullptr, 0);
  if (called != options.our_title) {
    return Reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                  ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED, "called by another AE title than ours");
  }
  const auto peer = std::find_if(options.peers.begin(), options.peers.end(),
                                 [&](const DicomPeer& one) { return one.ae_title == calling; });
  if (peer == options.peers.end() || peer->ae_title.empty()) {
    return Reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                  ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED, "calling AE title is not allowed");
  }
  if (const absl::Status named = association.CheckPeerName(peer->host); !named.ok()) {
    return Reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                  ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED,
                  "the peer's certificate does not name its host");
  }
  char context_name[DUL_LEN_NAME + 1] = "";
  if (ASC_getApplicationContextName(parameters, context_name, sizeof(context_name)).bad() ||
      std::strcmp(context_name, UID_StandardApplicationContext) != 0) {
    return Reject(association, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                  ASC_REASON_SU_APPCONTEXTNAMENOTSUPPORTED, "an unknown application context");
  }
  std::vector<const char*> classes = StorageClasses();
  classes.push_back(UID_VerificationSOPClass);
  std::vector<const char*> syntaxes = TransferSyntaxes();
  ASC_acceptContextsWithPreferredTransferSyntaxes(parameters, classes.data(),
                                                  static_cast<int>(classes.size()), syntaxes.data(),
                                                  static_cast<int>(syntaxes.size()));
  return FromCondition(ASC_acknowledgeAssociation(association.get()),
                       "the association's acceptance");
}

}  // namespace

uint16_t StoreStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return STATUS_STORE_Success;
    case absl::StatusCode::kResourceExhausted:
      return STATUS_STORE_Refused_OutOfResources;
    case absl::StatusCode::kFailedPrecondition:
      return STATUS_STORE_Error_DataSetDoesNotMatchSOPClass;
    case absl::StatusCode::kInvalidArgument:
      return STATUS_STORE_Error_CannotUnderstand;
    case absl::StatusCode::kUnimplemented:
      return STATUS_STORE_Refused_SOPClassNotSupported;
    default:
      return kProcessingFailure;
  }
}

absl::Status AnswerStore(const Association& association, uint8_t context_id,
                         const T_DIMSE_C_StoreRQ& request, Quarantine& quarantine, int inbox,
                         StoreCounts& counts) {
  T_ASC_PresentationContext context;
  CSL_RETURN_IF_ERROR(FromCondition(
      ASC_findAcceptedPresentationContext(association.get()->params, context_id, &context),
      "a C-STORE in no agreed context"));
  const InboundObject::Claim claim = {Uid(request.AffectedSOPClassUID),
                                      Uid(request.AffectedSOPInstanceUID)};
  std::optional<InboundObject> object;
  absl::Status status;
  if (claim.sop_class_uid != context.abstractSyntax) {
    status = absl::UnimplementedError("another SOP class than the presentation context's");
  } else {
    absl::StatusOr<InboundObject> begun = InboundObject::Begin(quarantine, inbox);
    status = begun.status();
    if (begun.ok()) object.emplace(*std::move(begun));
  }
  ObjectStream stream(object, status, quarantine.limits().object_bytes_max, association.get());
  if (status.ok()) status = WriteMetaHeader(request, context.acceptedTransferSyntax, stream);
  T_ASC_PresentationContextID data_context = 0;
  CSL_RETURN_IF_ERROR(FromCondition(
      DIMSE_receiveDataSetInFile(association.get(), DIMSE_NONBLOCKING, Seconds(kSilenceMax),
                                 &data_context, &stream, nullptr, nullptr),
      "an object"));
  if (status.ok()) status = stream.object_status();
  if (status.ok() && data_context != context_id) {
    status = absl::InvalidArgumentError("the data set came in another context than the command");
  }
  if (status.ok()) status = object->Admit(claim);
  if (status.ok()) {
    ++counts.stored;
    counts.bytes += object->bytes();
  } else {
    ++counts.refused;
    counts.why = std::string(status.message());
  }
  return SendStoreAnswer(association, context_id, request, status);
}

absl::Status ServeAssociation(int socket, const ServeOptions& options, Quarantine& quarantine,
                              int inbox, StoreCounts& counts) {
  CSL_ASSIGN_OR_RETURN(Association association, Association::Receive(socket, options.tls));
  if (const absl::Status agreed = Negotiate(association, options); !agreed.ok()) {
    association.Acknowledged();
    return agreed;
  }
  while (true) {
    T_ASC_PresentationContextID context_id = 0;
    T_DIMSE_Message message;
    std::memset(&message, 0, sizeof(message));
    const OFCondition condition = DIMSE_receiveCommand(
        association.get(), DIMSE_NONBLOCKING, Seconds(kSilenceMax), &context_id, &message, nullptr);
    if (condition == DUL_PEERREQUESTEDRELEASE) {
      ASC_acknowledgeRelease(association.get());
      association.Acknowledged();
      return absl::OkStatus();
    }
    if (condition == DUL_PEERABORTEDASSOCIATION) association.Acknowledged();
    CSL_RETURN_IF_ERROR(FromCondition(condition, "the association"));
    if (message.CommandField == DIMSE_C_ECHO_RQ) {
      CSL_RETURN_IF_ERROR(
          FromCondition(DIMSE_sendEchoResponse(association.get(), context_id, &message.msg.CEchoRQ,
                                               STATUS_Success, nullptr),
                        "the answer to a C-ECHO"));
    } else if (message.CommandField == DIMSE_C_STORE_RQ) {
      CSL_RETURN_IF_ERROR(
          AnswerStore(association, context_id, message.msg.CStoreRQ, quarantine, inbox, counts));
    } else {
      return absl::UnavailableError("a command that is neither C-ECHO nor C-STORE");
    }
  }
}

void RefuseAssociation(int socket, const DicomTlsFiles* tls) {
  absl::StatusOr<Association> association = Association::Receive(socket, tls);
  if (!association.ok()) return;
  (void)Reject(*association, ASC_RESULT_REJECTEDTRANSIENT,
               ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED,
               ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED, "too many associations");
  association->Acknowledged();
}

}  // namespace consilium::agent
