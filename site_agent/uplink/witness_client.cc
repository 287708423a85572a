#include "site_agent/uplink/witness_client.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

}  // namespace

WitnessClient::WitnessClient(privacy::Witness witness, const Clock& clock, EventRecorder record)
    : clock_(clock), record_(std::move(record)), witness_(std::move(witness)) {}

void WitnessClient::Introduce(v1::HelloRequest& request) const {
  absl::MutexLock lock(&mutex_);
  request.set_witness_vkey(witness_.verifier().ToString());
  request.set_witnessed_checkpoint(witness_.last_note());
}

absl::Status WitnessClient::OnHello(const v1::HelloReply& reply) {
  if (reply.log_vkey().empty()) return absl::OkStatus();
  absl::Status pinned;
  {
    absl::MutexLock lock(&mutex_);
    handed_in_ = 0;  // another coordinator process may have lost it
    pinned = witness_.Pin(reply.log_vkey());
  }
  return pinned.ok() ? pinned : Refuse(pinned);
}

absl::Status WitnessClient::OnNextTask(uint64_t checkpoint_size, const Calls& calls) {
  uint64_t cosigned, handed_in;
  std::optional<std::string> evidence;
  {
    absl::MutexLock lock(&mutex_);
    cosigned = witness_.size();
    handed_in = handed_in_;
    evidence = witness_.Evidence();
  }
  if (evidence.has_value()) {
    return Refuse(absl::FailedPreconditionError(absl::StrCat(
        "the coordinator's audit log forked: witness/", *evidence, " in the agent's folder holds the "
        "evidence. Settle it with the coordinating centre, then move the file away")));
  }
  if (checkpoint_size == 0 || checkpoint_size == handed_in) return absl::OkStatus();
  // What is offered may be older than what was cosigned; only the answer tells a rollback.
  v1::GetCheckpointRequest request;
  request.set_old_size(cosigned);
  const absl::StatusOr<v1::GetCheckpointReply> reply = calls.get(request);
  if (cosigned > 0 && absl::IsOutOfRange(reply.status())) {
    return Refuse(absl::FailedPreconditionError(absl::StrCat(
        "the coordinator's audit log was rolled back: ", cosigned, " entries were cosigned here, and "
        "it answers: ", reply.status().message(),
        ". The coordinating centre has to restore the newer state")));
  }
  if (!reply.ok()) {
    Log(LogLevel::kWarning, "no checkpoint from the coordinator",
        {LogField(Key::kCode, absl::StatusCodeToString(reply.status().code())),
         LogField(Key::kReason, reply.status().message())});
    return absl::OkStatus();
  }
  return Cosign(*reply, calls);
}

absl::Status WitnessClient::Cosign(const v1::GetCheckpointReply& reply, const Calls& calls) {
  const absl::StatusOr<std::vector<privacy::Hash>> proof =
      privacy::HashesFromBytes(reply.consistency());
  if (!proof.ok()) return Refuse(proof.status());
  absl::StatusOr<std::string> line;
  privacy::Checkpoint checkpoint;
  {
    absl::MutexLock lock(&mutex_);
    line = witness_.Consider(reply.checkpoint(), *proof, clock_.Now());
    const auto note = privacy::SignedNote::Parse(witness_.last_note());
    if (line.ok() && note.ok()) {
      CSL_ASSIGN_OR_RETURN(checkpoint, privacy::ParseCheckpoint(note->text));
    }
  }
  if (!line.ok()) return Refuse(line.status());
  v1::SubmitCosignatureRequest request;
  request.set_size(checkpoint.size);
  request.set_root(std::string(privacy::HashBytes(checkpoint.root)));
  request.set_cosignature(*line);
  const absl::Status submitted = calls.submit(request);
  if (!submitted.ok()) {
    Log(LogLevel::kWarning, "cosignature not delivered, trying again with the next task",
        {LogField(Key::kCode, absl::StatusCodeToString(submitted.code())),
         LogField(Key::kReason, submitted.message())});
    return absl::OkStatus();
  }
  {
    absl::MutexLock lock(&mutex_);
    handed_in_ = checkpoint.size;
    last_refusal_.clear();
  }
  if (!record_) return absl::OkStatus();
  return record_({.action = "checkpoint.cosign",
                  .digest = privacy::HashHex(checkpoint.root),
                  .count = static_cast<int64_t>(checkpoint.size)});
}

// Loud, and in the site's own log; once for one reason, as it is asked for again and again.
absl::Status WitnessClient::Refuse(const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    if (last_refusal_ == status.message()) return status;
    last_refusal_ = std::string(status.message());
  }
  Log(LogLevel::kError, "the coordinator's audit log is not cosigned, and no work is done for it",
      {LogField(Key::kCode, absl::StatusCodeToString(status.code())),
       LogField(Key::kReason, status.message())});
  if (record_) {
    CSL_RETURN_IF_ERROR(record_({.action = "checkpoint.refuse",
                                 .outcome = "refused",
                                 .reason = std::string(status.message())}));
  }
  return status;
}

}  // namespace consilium::agent
