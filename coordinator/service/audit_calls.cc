#include "coordinator/service/audit_calls.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/service/convert.h"
#include "privacy/transparency/commitment.h"
#include "privacy/transparency/export_writer.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kPageEntries = 256;
constexpr size_t kPieceBytes = size_t{256} << 10;  // lines are collected up to this
constexpr size_t kTextBytesMax = 500;

AuditFacts ByAdmin(absl::string_view action, const std::string& admin) {
  AuditFacts facts;
  facts.actor = admin;
  facts.role = "admin";
  facts.action = std::string(action);
  return facts;
}

// The filter for the header of an export. The name of a person is not told there.
std::string InWords(const AuditQuery& query) {
  std::vector<std::string> words;
  const auto add = [&](absl::string_view field, const std::string& value) {
    if (!value.empty()) words.push_back(absl::StrCat(field, " is ", value));
  };
  if (query.since_us > 0) words.push_back(absl::StrCat("time_us from ", query.since_us));
  if (query.until_us < INT64_MAX) words.push_back(absl::StrCat("time_us before ", query.until_us));
  if (!query.actor.empty()) words.push_back("actor is the one asked for");
  add("action", query.action);
  add("study", query.study);
  if (query.round >= 0) words.push_back(absl::StrCat("round is ", query.round));
  add("version", query.version);
  return absl::StrJoin(words, ", ");
}

std::vector<privacy::OpenedCommitment> Opened(const AuditLine& line) {
  std::vector<privacy::OpenedCommitment> opened;
  for (const AuditDisclosure& one : line.disclosed) {
    opened.push_back({privacy::CommitmentHex(one.salt, one.value), one.salt, one.value});
  }
  return opened;
}

}  // namespace

absl::Status AuditCalls::Search(const v1::SearchAuditRequest& request,
                                v1::SearchAuditReply& reply) const {
  CSL_ASSIGN_OR_RETURN(const std::vector<AuditLine> lines,
                       store_.SearchAudit(FromMessage(request)));
  for (const AuditLine& line : lines) {
    v1::AuditEntry& entry = *reply.add_entries();
    entry.set_index(line.index);
    entry.set_json(line.json);
    CSL_ASSIGN_OR_RETURN(*entry.mutable_readable(), ReadableAudit(line.json, line.disclosed));
  }
  return absl::OkStatus();
}

absl::Status AuditCalls::Checkpoint(v1::GetAuditCheckpointReply& reply) const {
  CSL_ASSIGN_OR_RETURN(AuditLog::Head head, log_.ReviewHead());
  reply.set_checkpoint(std::move(head.note));
  reply.set_policy(log_.PolicyText());
  reply.set_size(store_.AuditSize());
  return absl::OkStatus();
}

absl::Status AuditCalls::Prove(const v1::ProveAuditRequest& request,
                               v1::ProveAuditReply& reply) const {
  CSL_ASSIGN_OR_RETURN(const AuditLine entry, store_.AuditEntry(request.index()));
  CSL_ASSIGN_OR_RETURN(*reply.mutable_proof(), log_.Prove(entry));
  reply.set_entry(entry.json);
  return absl::OkStatus();
}

absl::Status AuditCalls::Export(
    const std::string& admin, const v1::ExportAuditRequest& request,
    const std::function<bool(const v1::ExportAuditPiece&)>& write) const {
  const uint64_t to_index = request.to_index();
  CSL_ASSIGN_OR_RETURN(const AuditLog::Head head,
                       to_index == 0 ? log_.ReviewHead() : log_.HeadOver(to_index));
  const uint64_t to = to_index == 0 ? head.size : to_index;
  if (request.from_index() > to) {
    return absl::InvalidArgumentError(
        absl::StrCat("from_index: the export ends at ", to, ", before it begins"));
  }
  AuditQuery query = FromMessage(request.filter());
  query.from_index = std::max(query.from_index, request.from_index());
  query.count_max = kPageEntries;

  v1::ExportAuditPiece piece;
  const auto flush = [&]() -> absl::Status {
    if (!piece.data().empty() && !write(piece)) return absl::CancelledError("the caller went");
    piece.clear_data();
    return absl::OkStatus();
  };
  const auto sink = [&](absl::string_view lines) -> absl::Status {
    if (piece.data().size() + lines.size() > kPieceBytes) CSL_RETURN_IF_ERROR(flush());
    piece.mutable_data()->append(lines.data(), lines.size());
    return absl::OkStatus();
  };
  privacy::ExportHeader header;
  header.origin = log_.origin();
  header.from = request.from_index();
  header.to = to;
  header.size = head.size;
  header.filter = InWords(query);
  header.checkpoint = head.note;
  CSL_ASSIGN_OR_RETURN(privacy::ExportWriter writer,
                       privacy::ExportWriter::Start(std::move(header), store_.AuditNodes(), sink));
  for (bool more = true; more;) {
    CSL_ASSIGN_OR_RETURN(const std::vector<AuditLine> page, store_.SearchAudit(query));
    more = page.size() == query.count_max;
    for (const AuditLine& line : page) {
      if (line.index >= to) {
        more = false;
        break;
      }
      const auto opened =
          request.disclose() ? Opened(line) : std::vector<privacy::OpenedCommitment>();
      CSL_RETURN_IF_ERROR(writer.Show(line.index, line.json, opened));
      query.from_index = line.index + 1;
    }
  }
  CSL_RETURN_IF_ERROR(writer.Finish());
  CSL_RETURN_IF_ERROR(flush());
  Batch batch;
  AuditFacts facts = ByAdmin("audit.export", admin);
  facts.count = static_cast<int64_t>(writer.shown());
  batch.Audit(std::move(facts));
  return store_.Commit(batch, clock_.Now()).status();
}

absl::Status AuditCalls::Erase(const std::string& admin, const v1::EraseAuditNameRequest& request,
                               v1::EraseAuditNameReply& reply) const {
  if (request.name().empty() || request.name().size() > kTextBytesMax ||
      request.reason().size() > kTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("name and reason: at most ", kTextBytesMax, " bytes, and a name there must be"));
  }
  // Either would write the name into the log again.
  if (absl::StrContains(admin, request.name())) {
    return absl::InvalidArgumentError("name: another administrator has to erase one's own name");
  }
  if (absl::StrContains(request.reason(), request.name())) {
    return absl::InvalidArgumentError("reason: must not hold the name that is to be erased");
  }
  AuditFacts facts = ByAdmin("audit.erase", admin);
  facts.reason = request.reason();
  CSL_ASSIGN_OR_RETURN(const uint64_t erased,
                       store_.EraseAuditName(request.name(), std::move(facts), clock_.Now()));
  reply.set_erased(erased);
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
