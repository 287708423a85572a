#include "site_agent/receive/web_retrieve.h"

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"
#include "site_agent/dicomweb/dicom_json.h"
#include "site_agent/dicomweb/media_type.h"
#include "site_agent/dicomweb/web_client.h"
#include "site_agent/receive/part_taker.h"
#include "site_agent/receive/web_secret.h"

namespace consilium::agent {
namespace {

using dicomweb::WebClient;

constexpr size_t kPageRows = 500;
constexpr size_t kPageBytesMax = size_t{32} << 20;
constexpr size_t kSeriesMax = 10'000;  // of a study
constexpr size_t kInstancesMax = dicomweb::kPartsMax;
constexpr const char* kAnySyntax =
    R"(multipart/related; type="application/dicom"; transfer-syntax=*)";

absl::StatusOr<std::unique_ptr<WebClient>> Call(const Caller& caller) {
  std::signal(SIGPIPE, SIG_IGN);  // of a server that hangs up while we write
  dicomweb::WebClientOptions options;
  CSL_ASSIGN_OR_RETURN(options.root, dicomweb::ParseWebRoot(caller.peer.web_root));
  if (caller.tls != nullptr) {
    options.tls = dicomweb::WebTls{caller.tls->ca, caller.tls->certificate, caller.tls->key};
  }
  if (caller.peer.web_credentials) {
    CSL_ASSIGN_OR_RETURN(options.authorization, AuthorizationOf(*caller.peer.web_credentials));
  }
  return WebClient::Create(options);
}

// All pages of a search: each row's UID, once. A server may give fewer rows than it is asked for,
// and one that knows no offset gives the same again: what brings nothing new is the end.
absl::StatusOr<std::vector<std::string>> Search(WebClient& client, const std::string& resource,
                                                const std::string& criteria, const char* tag,
                                                size_t found_max) {
  std::vector<std::string> found;
  std::set<std::string> seen;
  size_t offset = 0;
  while (true) {
    CSL_ASSIGN_OR_RETURN(
        const std::string json,
        client.GetJson(absl::StrCat(resource, "?", criteria, criteria.empty() ? "" : "&",
                                    "limit=", kPageRows, "&offset=", offset),
                       kPageBytesMax));
    if (json.empty()) return found;
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> page, dicomweb::FirstValues(json, tag));
    const size_t before = found.size();
    for (const std::string& uid : page) {
      if (IsUid(uid) && seen.insert(uid).second) found.push_back(uid);
    }
    if (found.size() > found_max) {
      return absl::ResourceExhaustedError("more matches than can be handled; narrow the query");
    }
    if (found.size() == before) return found;
    offset += page.size();
  }
}

// Retrieves one series of a study into the quarantine.
class SeriesFetch {
 public:
  SeriesFetch(WebClient& client, const std::string& study_uid, Quarantine& quarantine, int inbox,
              RetrieveCounts& counts)
      : client_(client),
        study_uid_(study_uid),
        quarantine_(quarantine),
        inbox_(inbox),
        counts_(counts) {}

  // `there` are the pseudonyms of the study's instances that have come, and grows.
  absl::Status Fetch(const std::string& series_uid, std::set<std::string>& there) {
    const std::string series = absl::StrCat("/studies/", study_uid_, "/series/", series_uid);
    CSL_ASSIGN_OR_RETURN(
        const std::vector<std::string> listed,
        Search(client_, series + "/instances", "", dicomweb::kSopInstanceUidTag, kInstancesMax));
    std::vector<std::string> missing;
    for (const std::string& uid : listed) {
      if (!there.contains(quarantine_.Pseudonym("instance", uid))) missing.push_back(uid);
    }
    if (missing.empty()) return absl::OkStatus();
    if (missing.size() == listed.size()) {
      CSL_RETURN_IF_ERROR(Get(series, there));
    } else {
      for (const std::string& uid : missing) {
        CSL_RETURN_IF_ERROR(Get(absl::StrCat(series, "/instances/", uid), there));
      }
    }
    counts_.failed += std::count_if(missing.begin(), missing.end(), [&](const std::string& uid) {
      return !there.contains(quarantine_.Pseudonym("instance", uid));
    });
    return absl::OkStatus();
  }

 private:
  absl::Status Get(const std::string& resource, std::set<std::string>& there) {
    PartTaker taker(quarantine_, inbox_, study_uid_);
    std::optional<dicomweb::MultipartReader> reader;
    absl::Status got = client_.Get(
        resource, kAnySyntax,
        [&](absl::string_view content_type) {
          const absl::StatusOr<std::string> boundary = dicomweb::DicomBoundary(content_type);
          if (!boundary.ok()) return absl::FailedPreconditionError(boundary.status().message());
          reader.emplace(*boundary, taker);
          return absl::OkStatus();
        },
        [&](absl::string_view bytes) { return reader->Feed(bytes); });
    Count(taker, there);
    if (got.ok() && !reader) return absl::OkStatus();  // 204: nothing there
    // Where HTTP itself cannot tell the end from a break.
    if (got.ok() && !reader->Finish().ok()) {
      return absl::UnavailableError("the connection with the archive broke");
    }
    return got;
  }

  void Count(const PartTaker& taker, std::set<std::string>& there) {
    for (const PartTaker::Outcome& outcome : taker.outcomes()) {
      if (outcome.status.ok()) {
        ++counts_.completed;
        there.insert(quarantine_.Pseudonym("instance", outcome.object.sop_instance_uid));
      } else {
        ++counts_.refused_here;
        counts_.why_refused = std::string(outcome.status.message());
      }
    }
  }

  WebClient& client_;
  const std::string& study_uid_;
  Quarantine& quarantine_;
  const int inbox_;
  RetrieveCounts& counts_;
};

}  // namespace

absl::Status CheckWeb(const Caller& caller) {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<WebClient> client, Call(caller));
  CSL_ASSIGN_OR_RETURN(const std::string json, client->GetJson("/studies?limit=1", kPageBytesMax));
  if (json.empty()) return absl::OkStatus();
  return dicomweb::FirstValues(json, dicomweb::kStudyInstanceUidTag).status();
}

absl::StatusOr<std::vector<std::string>> SearchStudies(const Caller& caller,
                                                       const std::vector<QueryKey>& keys) {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<WebClient> client, Call(caller));
  std::string criteria;
  for (const QueryKey& key : keys) {
    absl::StrAppend(&criteria, criteria.empty() ? "" : "&", dicomweb::PercentEncode(key.keyword),
                    "=", dicomweb::PercentEncode(key.value));
  }
  return Search(*client, "/studies", criteria, dicomweb::kStudyInstanceUidTag, kStudiesFoundMax);
}

absl::StatusOr<RetrieveCounts> FetchStudy(const Caller& caller, const std::string& study_uid,
                                          Quarantine& quarantine, int inbox) {
  if (!IsUid(study_uid)) return absl::InvalidArgumentError("not a study instance UID");
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<WebClient> client, Call(caller));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> series,
                       Search(*client, absl::StrCat("/studies/", study_uid, "/series"), "",
                              dicomweb::kSeriesInstanceUidTag, kSeriesMax));
  CSL_ASSIGN_OR_RETURN(std::set<std::string> there, quarantine.InstancesOf(study_uid));
  RetrieveCounts counts;
  counts.there_before = static_cast<int64_t>(there.size());
  SeriesFetch fetch(*client, study_uid, quarantine, inbox, counts);
  for (const std::string& uid : series) CSL_RETURN_IF_ERROR(fetch.Fetch(uid, there));
  return counts;
}

}  // namespace consilium::agent
