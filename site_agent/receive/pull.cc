#include "site_agent/receive/pull.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "proto/base/status.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/receive/apart.h"
#include "site_agent/receive/association.h"
#include "site_agent/receive/fetched_studies.h"
#include "site_agent/receive/listener.h"
#include "site_agent/receive/web_retrieve.h"

namespace consilium::agent {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(2);
constexpr absl::Duration kLongestPause = absl::Minutes(5);

// How RunApart carries counts over a pipe.
std::string CountsToText(const RetrieveCounts& counts) {
  return absl::StrCat(counts.completed, " ", counts.failed, " ", counts.there_before, " ",
                      counts.refused_here, " ", counts.why_refused);
}
absl::StatusOr<RetrieveCounts> CountsFromText(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(' ', 4));
  RetrieveCounts counts;
  if (parts.size() != 5 || !absl::SimpleAtoi(parts[0], &counts.completed) ||
      !absl::SimpleAtoi(parts[1], &counts.failed) ||
      !absl::SimpleAtoi(parts[2], &counts.there_before) ||
      !absl::SimpleAtoi(parts[3], &counts.refused_here)) {
    return absl::InternalError("the counts of a retrieval cannot be read");
  }
  counts.why_refused = std::string(parts[4]);
  return counts;
}

// What the counts mean for the study.
absl::Status Judge(const RetrieveCounts& counts) {
  if (counts.refused_here > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(counts.refused_here, " objects were not taken: ", counts.why_refused));
  }
  if (counts.failed > 0) {
    return absl::UnavailableError(absl::StrCat("the archive did not send ", counts.failed, " of ",
                                               counts.failed + counts.completed, " objects"));
  }
  if (counts.completed + counts.there_before == 0) {
    return absl::NotFoundError("the archive has no such study");
  }
  return absl::OkStatus();
}

bool MayWorkLater(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status);
}

class Puller {
 public:
  Puller(const std::string& home, const DicomConfig& config, const PullRequest& request,
         const PullEnvironment& environment, DicomPeer peer, FetchedStudies fetched,
         std::optional<Quarantine> quarantine, privacy::Deidentifier names)
      : home_(home),
        config_(config),
        request_(request),
        environment_(environment),
        caller_{config.ae_title, std::move(peer), nullptr},
        fetched_(std::move(fetched)),
        quarantine_(std::move(quarantine)),
        names_(std::move(names)) {
    if (NeedsTls(caller_.peer)) caller_.tls = &*config_.tls;
  }

  absl::StatusOr<PullReport> Run() {
    CSL_ASSIGN_OR_RETURN(std::vector<std::string> studies, Studies());
    report_.found = static_cast<int64_t>(studies.size());
    if (studies.empty()) return absl::NotFoundError("no study matches");
    std::erase_if(studies, [&](const std::string& uid) {
      return !request_.again && fetched_.Has(names_.Pseudonym("study", uid));
    });
    report_.fetched_before = report_.found - static_cast<int64_t>(studies.size());
    if (request_.count_only) return report_;
    const bool moves = caller_.peer.method == RetrieveMethod::kMove;
    if (moves && quarantine_) {
      // The archive alone: what others send meanwhile would be handed over before it is whole.
      DicomConfig archive_only = config_;
      archive_only.peers = {caller_.peer};
      archive_only.peers[0].may_send = true;
      archive_only.listen.web.reset();
      CSL_ASSIGN_OR_RETURN(Listener listener, Listener::Start(archive_only, *quarantine_));
      listener_.emplace(std::move(listener));
    }
    int64_t done = 0;
    for (const std::string& uid : studies) {
      CSL_RETURN_IF_ERROR(WaitForTurn());
      CSL_RETURN_IF_ERROR(Fetch(uid));
      environment_.progress(++done, static_cast<int64_t>(studies.size()));
    }
    return report_;
  }

 private:
  absl::StatusOr<std::vector<std::string>> Studies() {
    std::vector<std::string> studies = request_.studies;
    if (!request_.query.empty()) {
      const auto find = [&]() -> absl::StatusOr<std::string> {
        CSL_ASSIGN_OR_RETURN(const std::vector<std::string> uids,
                             OnTheWeb() ? SearchStudies(caller_, request_.query)
                                        : FindStudies(caller_, request_.query));
        return absl::StrJoin(uids, "\n");
      };
      std::string found;
      CSL_RETURN_IF_ERROR(WithAttempts([&]() -> absl::Status {
        CSL_ASSIGN_OR_RETURN(found, RunApart(find, environment_.stop));
        return absl::OkStatus();
      }));
      for (const absl::string_view uid : absl::StrSplit(found, '\n', absl::SkipEmpty())) {
        studies.emplace_back(uid);
      }
    }
    for (const std::string& uid : studies) {
      if (!IsUid(uid)) return absl::InvalidArgumentError("something in the list is no study UID");
    }
    std::sort(studies.begin(), studies.end());
    studies.erase(std::unique(studies.begin(), studies.end()), studies.end());
    return studies;
  }

  // The peer's hours, and its rate.
  absl::Status WaitForTurn() {
    const absl::TimeZone zone = absl::LocalTimeZone();
    const absl::Time now = environment_.clock.Now();
    const absl::Time opening = NextOpening(caller_.peer.hours, now, zone);
    absl::Duration wait = std::max(absl::ZeroDuration(), opening - now);
    if (caller_.peer.studies_per_hour > 0 && last_begin_) {
      const absl::Time next =
          *last_begin_ + absl::Hours(1) / static_cast<double>(caller_.peer.studies_per_hour);
      wait = std::max(wait, next - now);
    }
    if (wait > absl::ZeroDuration() && !environment_.sleep(wait)) return Stopped();
    if (environment_.stop) return Stopped();
    last_begin_ = environment_.clock.Now();
    return absl::OkStatus();
  }

  static absl::Status Stopped() {
    return absl::CancelledError("stopped; the same command goes on where it was");
  }

  // Does `ask` up to `attempts` times, as long as it may work later.
  absl::Status WithAttempts(const std::function<absl::Status()>& ask) {
    absl::Duration pause = kFirstPause;
    for (int64_t attempt = 1;; ++attempt) {
      const absl::Status status = ask();
      if (absl::IsCancelled(status)) return Stopped();
      if (!MayWorkLater(status) || attempt == caller_.peer.attempts) return status;
      if (!environment_.sleep(pause)) return Stopped();
      pause = std::min(2 * pause, kLongestPause);
    }
  }

  absl::Status Fetch(const std::string& uid) {
    const std::string study = names_.Pseudonym("study", uid);
    CSL_RETURN_IF_ERROR(MarkUnfinished(home_, study));
    const absl::Status status = WithAttempts([&] { return FetchOnce(uid); });
    if (absl::IsCancelled(status)) return status;
    if (!status.ok()) {
      report_.faults.push_back({study, std::string(status.message())});
      // What a running `listen` has of it stays marked, and is dropped there.
      return quarantine_ ? quarantine_->DropStudy(uid) : absl::OkStatus();
    }
    ++report_.fetched;
    CSL_RETURN_IF_ERROR(MarkFinished(home_, study));
    if (quarantine_) CSL_RETURN_IF_ERROR(HandOver(uid));
    return fetched_.Add(study);
  }

  absl::Status FetchOnce(const std::string& uid) {
    int inbox = -1;
    if (quarantine_) {
      CSL_ASSIGN_OR_RETURN(inbox, quarantine_->OpenInbox());
    }
    const absl::StatusOr<std::string> text = RunApart(
        [&]() -> absl::StatusOr<std::string> {
          CSL_ASSIGN_OR_RETURN(const RetrieveCounts counts, Retrieve(uid, inbox));
          return CountsToText(counts);
        },
        environment_.stop);
    if (quarantine_) quarantine_->CloseInbox(inbox);
    CSL_RETURN_IF_ERROR(text.status());
    CSL_ASSIGN_OR_RETURN(const RetrieveCounts counts, CountsFromText(*text));
    CSL_RETURN_IF_ERROR(Judge(counts));
    report_.objects += counts.completed + counts.there_before;
    return absl::OkStatus();
  }

  absl::StatusOr<RetrieveCounts> Retrieve(const std::string& uid, int inbox) {
    if (caller_.peer.method == RetrieveMethod::kMove) return MoveStudy(caller_, uid);
    if (OnTheWeb()) return FetchStudy(caller_, uid, *quarantine_, inbox);
    return GetStudy(caller_, uid, *quarantine_, inbox);
  }

  bool OnTheWeb() const { return caller_.peer.method == RetrieveMethod::kWeb; }

  absl::Status HandOver(const std::string& uid) {
    return TakeStudy(
        home_, *quarantine_, uid,
        [&](const PatientOutcome& outcome) {
          report_.outcomes.push_back(outcome);
          return environment_.record(outcome);
        },
        &environment_.stop);
  }

  const std::string& home_;
  const DicomConfig& config_;
  const PullRequest& request_;
  const PullEnvironment& environment_;
  Caller caller_;
  FetchedStudies fetched_;
  std::optional<Quarantine> quarantine_;  // none: a running `listen` has it
  const privacy::Deidentifier names_;
  std::optional<Listener> listener_;
  std::optional<absl::Time> last_begin_;
  PullReport report_;
};

}  // namespace

bool NeedsTls(const DicomPeer& peer) {
  return peer.method == RetrieveMethod::kWeb ? absl::StartsWith(peer.web_root, "https://")
                                             : peer.tls;
}

absl::StatusOr<PullReport> Pull(const std::string& home, const DicomConfig& config,
                                const PullRequest& request, const PullEnvironment& environment) {
  CSL_ASSIGN_OR_RETURN(DicomPeer peer, config.Peer(request.peer));
  if (peer.port == 0 && peer.method != RetrieveMethod::kWeb) {
    return absl::InvalidArgumentError("dicom.yaml: the peer has no port, so it cannot be called");
  }
  PrepareNetwork();
  absl::StatusOr<Quarantine> opened = Quarantine::Open(home, config.quarantine);
  std::optional<Quarantine> quarantine;
  if (opened.ok()) {
    quarantine.emplace(*std::move(opened));
    CSL_RETURN_IF_ERROR(quarantine->DropUnfinished(environment.clock.Now() - kUnfinishedKept));
  } else if (!absl::IsFailedPrecondition(opened.status()) || peer.method != RetrieveMethod::kMove) {
    return opened.status();
  }
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, LoadOrCreateSiteKey(home));
  CSL_ASSIGN_OR_RETURN(privacy::Deidentifier names,
                       privacy::Deidentifier::Create({.site_key = std::move(key)}));
  CSL_ASSIGN_OR_RETURN(FetchedStudies fetched, FetchedStudies::Load(home));
  return Puller(home, config, request, environment, std::move(peer), std::move(fetched),
                std::move(quarantine), std::move(names))
      .Run();
}

std::vector<std::vector<std::string>> PullTable(const PullReport& report) {
  std::vector<std::vector<std::string>> table = {{"STUDIES", "COUNT", "WHY"}};
  table.push_back({"found", absl::StrCat(report.found), ""});
  table.push_back({"fetched before", absl::StrCat(report.fetched_before), ""});
  table.push_back(
      {"fetched", absl::StrCat(report.fetched), absl::StrCat(report.objects, " objects")});
  for (const PullFault& fault : report.faults) {
    table.push_back({absl::StrCat("given up: ", fault.study), "1", fault.why});
  }
  for (const PatientOutcome& outcome : report.outcomes) {
    table.push_back({absl::StrCat("patient ", outcome.patient), "", OutcomeText(outcome.report)});
  }
  return table;
}

std::string PullToJson(const PullReport& report) {
  nlohmann::ordered_json json = {{"found", report.found},
                                 {"fetched_before", report.fetched_before},
                                 {"fetched", report.fetched},
                                 {"objects", report.objects},
                                 {"given_up", nlohmann::ordered_json::array()},
                                 {"patients", nlohmann::ordered_json::array()}};
  for (const PullFault& fault : report.faults) {
    json["given_up"].push_back({{"study", fault.study}, {"why", fault.why}});
  }
  for (const PatientOutcome& outcome : report.outcomes) {
    json["patients"].push_back(nlohmann::ordered_json::parse(OutcomeToJson(outcome)));
  }
  return json.dump(2) + "\n";
}

}  // namespace consilium::agent
