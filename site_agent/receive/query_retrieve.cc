#include "site_agent/receive/query_retrieve.h"

#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmnet/diutil.h"
#include "proto/base/status.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/store_scp.h"

namespace consilium::agent {
namespace {

// An archive may fetch from tape, and need not say that it is at it.
constexpr absl::Duration kArchiveSilenceMax = absl::Minutes(10);
constexpr size_t kContextsMax = 128;  // PS3.8 9.3.2.2: odd numbers up to 255

int Seconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Seconds(duration)); }

std::vector<const char*> PlainSyntaxes() {
  return {UID_LittleEndianExplicitTransferSyntax, UID_LittleEndianImplicitTransferSyntax};
}

absl::StatusOr<Association> Call(const Caller& caller,
                                 const std::vector<Association::Proposal>& proposals) {
  return Association::Request(caller.peer, caller.our_title, caller.tls, proposals);
}

absl::StatusOr<T_ASC_PresentationContextID> AgreedContext(const Association& association,
                                                          const char* sop_class) {
  const T_ASC_PresentationContextID id =
      ASC_findAcceptedPresentationContextID(association.get(), sop_class);
  if (id == 0) {
    return absl::FailedPreconditionError("the archive does not offer this service to us");
  }
  return id;
}

absl::Status PutText(DcmDataset& dataset, const DcmTagKey& key, const std::string& text) {
  if (dataset.putAndInsertString(key, text.c_str()).good()) return absl::OkStatus();
  return absl::InvalidArgumentError("a key of the query cannot be written");
}

absl::Status StudyIdentifier(const std::string& study_uid, DcmDataset& dataset) {
  if (!IsUid(study_uid)) return absl::InvalidArgumentError("not a study instance UID");
  CSL_RETURN_IF_ERROR(PutText(dataset, DCM_QueryRetrieveLevel, "STUDY"));
  return PutText(dataset, DCM_StudyInstanceUID, study_uid);
}

absl::Status Refusal(uint16_t status) {
  const std::string words = absl::StrFormat("the archive answers with DICOM status %04XH", status);
  // Out of resources passes; another answer comes again.
  if ((status & 0xFF00) == 0xA700) return absl::UnavailableError(words);
  return absl::FailedPreconditionError(words);
}

// Success, or a warning that some sub-operations failed, which the counts say.
bool Ended(uint16_t status) {
  return status == STATUS_Success ||
         status == STATUS_MOVE_Warning_SubOperationsCompleteOneOrMoreFailures;
}

template <typename Response>
RetrieveCounts CountsOf(const Response& response) {
  return {response.NumberOfCompletedSubOperations + response.NumberOfWarningSubOperations,
          response.NumberOfFailedSubOperations, 0, 0, ""};
}

struct Found {
  std::vector<std::string> studies;
  bool too_many = false;
};

void CollectStudy(void* found, T_DIMSE_C_FindRQ*, int, T_DIMSE_C_FindRSP*, DcmDataset* answer) {
  auto& out = *static_cast<Found*>(found);
  OFString uid;
  if (answer == nullptr || answer->findAndGetOFString(DCM_StudyInstanceUID, uid).bad()) return;
  if (!IsUid(uid.c_str())) return;
  if (out.studies.size() >= kStudiesFoundMax) {
    out.too_many = true;
  } else {
    out.studies.emplace_back(uid.c_str());
  }
}

// Sends the request and serves the archive's C-STORE sub-operations until it has answered.
absl::StatusOr<RetrieveCounts> ServeRetrieval(const Association& association,
                                              Quarantine& quarantine, int inbox) {
  StoreCounts stored;
  while (true) {
    T_ASC_PresentationContextID context_id = 0;
    T_DIMSE_Message message;
    std::memset(&message, 0, sizeof(message));
    CSL_RETURN_IF_ERROR(FromCondition(
        DIMSE_receiveCommand(association.get(), DIMSE_NONBLOCKING, Seconds(kArchiveSilenceMax),
                             &context_id, &message, nullptr),
        "the archive's answer"));
    if (message.CommandField == DIMSE_C_STORE_RQ) {
      CSL_RETURN_IF_ERROR(
          AnswerStore(association, context_id, message.msg.CStoreRQ, quarantine, inbox, stored));
      continue;
    }
    if (message.CommandField != DIMSE_C_GET_RSP) {
      return absl::UnavailableError("the archive answers with another command");
    }
    const T_DIMSE_C_GetRSP& response = message.msg.CGetRSP;
    if (response.DataSetType != DIMSE_DATASET_NULL) {  // the list of what failed
      DIC_UL bytes = 0, pdvs = 0;
      CSL_RETURN_IF_ERROR(FromCondition(DIMSE_ignoreDataSet(association.get(), DIMSE_NONBLOCKING,
                                                            Seconds(kSilenceMax), &bytes, &pdvs),
                                        "the archive's answer"));
    }
    if (DICOM_PENDING_STATUS(response.DimseStatus)) continue;
    if (!Ended(response.DimseStatus)) return Refusal(response.DimseStatus);
    RetrieveCounts counts = CountsOf(response);
    counts.refused_here = stored.refused;
    counts.why_refused = stored.why;
    return counts;
  }
}

// What C-FIND, C-MOVE and C-GET ask in the same words; the rest of `request` is zero.
template <typename Request>
void FillRequest(Association& association, const char* model, Request& request) {
  request.MessageID = association.get()->nextMsgID++;
  OFStandard::strlcpy(request.AffectedSOPClassUID, model, sizeof(request.AffectedSOPClassUID));
  request.Priority = DIMSE_PRIORITY_LOW;
  request.DataSetType = DIMSE_DATASET_PRESENT;
}

}  // namespace

bool IsUid(absl::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '.') return false;
  }
  return true;
}

absl::StatusOr<QueryKey> ParseQueryKey(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits('=', 1));
  QueryKey key{std::string(parts.first), std::string(parts.second)};
  DcmTag tag;
  if (key.keyword.empty() || key.value.empty() ||
      DcmTag::findTagFromName(key.keyword.c_str(), tag).bad()) {
    return absl::InvalidArgumentError(
        "a query is KEYWORD=VALUE with a keyword of DICOM, such as StudyDate=20240101-20241231");
  }
  return key;
}

absl::Status EchoPeer(const Caller& caller) {
  CSL_ASSIGN_OR_RETURN(Association association,
                       Call(caller, {{UID_VerificationSOPClass, PlainSyntaxes()}}));
  DIC_US status = 0;
  CSL_RETURN_IF_ERROR(FromCondition(DIMSE_echoUser(association.get(), 1, DIMSE_NONBLOCKING,
                                                   Seconds(kSilenceMax), &status, nullptr),
                                    "C-ECHO"));
  association.Release();
  return status == STATUS_Success ? absl::OkStatus() : Refusal(status);
}

absl::StatusOr<std::vector<std::string>> FindStudies(const Caller& caller,
                                                     const std::vector<QueryKey>& keys) {
  constexpr const char* kModel = UID_FINDStudyRootQueryRetrieveInformationModel;
  DcmDataset identifier;
  CSL_RETURN_IF_ERROR(PutText(identifier, DCM_QueryRetrieveLevel, "STUDY"));
  CSL_RETURN_IF_ERROR(PutText(identifier, DCM_StudyInstanceUID, ""));
  for (const QueryKey& key : keys) {
    DcmTag tag;
    if (DcmTag::findTagFromName(key.keyword.c_str(), tag).bad()) {
      return absl::InvalidArgumentError("a keyword of the query is not known");
    }
    CSL_RETURN_IF_ERROR(PutText(identifier, tag, key.value));
  }
  CSL_ASSIGN_OR_RETURN(Association association, Call(caller, {{kModel, PlainSyntaxes()}}));
  CSL_ASSIGN_OR_RETURN(const T_ASC_PresentationContextID context,
                       AgreedContext(association, kModel));
  T_DIMSE_C_FindRQ request;
  std::memset(&request, 0, sizeof(request));
  FillRequest(association, kModel, request);
  T_DIMSE_C_FindRSP response;
  std::memset(&response, 0, sizeof(response));
  Found found;
  int answers = 0;
  DcmDataset* detail = nullptr;  // DCMTK looks behind the pointer to it
  const OFCondition asked =
      DIMSE_findUser(association.get(), context, &request, &identifier, answers, CollectStudy,
                     &found, DIMSE_NONBLOCKING, Seconds(kArchiveSilenceMax), &response, &detail);
  delete detail;
  CSL_RETURN_IF_ERROR(FromCondition(asked, "C-FIND"));
  association.Release();
  if (response.DimseStatus != STATUS_Success) return Refusal(response.DimseStatus);
  if (found.too_many) {
    return absl::ResourceExhaustedError("more than 100000 studies match; narrow the query");
  }
  return found.studies;
}

absl::StatusOr<RetrieveCounts> MoveStudy(const Caller& caller, const std::string& study_uid) {
  constexpr const char* kModel = UID_MOVEStudyRootQueryRetrieveInformationModel;
  DcmDataset identifier;
  CSL_RETURN_IF_ERROR(StudyIdentifier(study_uid, identifier));
  CSL_ASSIGN_OR_RETURN(Association association, Call(caller, {{kModel, PlainSyntaxes()}}));
  CSL_ASSIGN_OR_RETURN(const T_ASC_PresentationContextID context,
                       AgreedContext(association, kModel));
  T_DIMSE_C_MoveRQ request;
  std::memset(&request, 0, sizeof(request));
  FillRequest(association, kModel, request);
  OFStandard::strlcpy(request.MoveDestination, caller.our_title.c_str(),
                      sizeof(request.MoveDestination));
  T_DIMSE_C_MoveRSP response;
  std::memset(&response, 0, sizeof(response));
  DcmDataset* detail = nullptr;
  DcmDataset* failed = nullptr;
  const OFCondition moved = DIMSE_moveUser(
      association.get(), context, &request, &identifier, nullptr, nullptr, DIMSE_NONBLOCKING,
      Seconds(kArchiveSilenceMax), nullptr, nullptr, nullptr, &response, &detail, &failed);
  delete detail;
  delete failed;
  CSL_RETURN_IF_ERROR(FromCondition(moved, "C-MOVE"));
  association.Release();
  if (!Ended(response.DimseStatus)) return Refusal(response.DimseStatus);
  return CountsOf(response);
}

absl::StatusOr<RetrieveCounts> GetStudy(const Caller& caller, const std::string& study_uid,
                                        Quarantine& quarantine, int inbox) {
  constexpr const char* kModel = UID_GETStudyRootQueryRetrieveInformationModel;
  DcmDataset identifier;
  CSL_RETURN_IF_ERROR(StudyIdentifier(study_uid, identifier));
  std::vector<Association::Proposal> proposals = {{kModel, PlainSyntaxes()}};
  for (int i = 0; i < numberOfDcmLongSCUStorageSOPClassUIDs && proposals.size() < kContextsMax;
       ++i) {
    proposals.push_back(
        {dcmLongSCUStorageSOPClassUIDs[i], TransferSyntaxes(), Association::Proposal::Role::kScp});
  }
  CSL_ASSIGN_OR_RETURN(Association association, Call(caller, proposals));
  CSL_ASSIGN_OR_RETURN(const T_ASC_PresentationContextID context,
                       AgreedContext(association, kModel));
  T_DIMSE_Message message;
  std::memset(&message, 0, sizeof(message));
  message.CommandField = DIMSE_C_GET_RQ;
  FillRequest(association, kModel, message.msg.CGetRQ);
  CSL_RETURN_IF_ERROR(
      FromCondition(DIMSE_sendMessageUsingMemoryData(association.get(), context, &message, nullptr,
                                                     &identifier, nullptr, nullptr),
                    "C-GET"));
  CSL_ASSIGN_OR_RETURN(const RetrieveCounts counts, ServeRetrieval(association, quarantine, inbox));
  association.Release();
  return counts;
}

}  // namespace consilium::agent
