#include "coordinator/cli/audit_trust.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/cli/format.h"
#include "privacy/transparency/checkpoint.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kTrustBytesMax = 1 << 20;

absl::StatusOr<std::string> ReadIfThere(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kTrustBytesMax);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

// Lines of one that the other has not, with a sign in front.
void PrintDifference(const std::string& pinned, const std::string& offered, std::ostream& err) {
  const std::vector<std::string> before = absl::StrSplit(pinned, '\n', absl::SkipEmpty());
  const std::vector<std::string> after = absl::StrSplit(offered, '\n', absl::SkipEmpty());
  for (const std::string& line : before) {
    if (std::find(after.begin(), after.end(), line) == after.end()) err << "- " << Clean(line) << "\n";
  }
  for (const std::string& line : after) {
    if (std::find(before.begin(), before.end(), line) == before.end()) {
      err << "+ " << Clean(line) << "\n";
    }
  }
}

}  // namespace

absl::StatusOr<AuditTrust> AuditTrust::Load(const std::string& folder, const std::string& offered,
                                            PolicyChange change, std::ostream& err) {
  const std::string path = JoinPath(folder, "audit.policy");
  CSL_ASSIGN_OR_RETURN(std::string pinned, ReadIfThere(path));
  if (pinned.empty()) {
    CSL_RETURN_IF_ERROR(privacy::Policy::Parse(offered).status());
    CSL_RETURN_IF_ERROR(WriteFileAtomic(path, offered));
    err << "Pinned the policy that the coordinator offers, in audit.policy beside the credentials. "
           "Compare its keys with those of the sites.\n";
    pinned = offered;
  } else if (pinned != offered) {
    err << "The coordinator offers another policy than the pinned one:\n";
    PrintDifference(pinned, offered, err);
    if (change == PolicyChange::kRefuse) {
      return absl::AbortedError(
          "the policy changed; compare the keys with those of the sites, then repeat with "
          "--accept-policy");
    }
    CSL_RETURN_IF_ERROR(privacy::Policy::Parse(offered).status());
    CSL_RETURN_IF_ERROR(WriteFileAtomic(path, offered));
    pinned = offered;
    err << "Pinned.\n";
  }
  CSL_ASSIGN_OR_RETURN(privacy::Policy policy, privacy::Policy::Parse(pinned));
  CSL_ASSIGN_OR_RETURN(std::string held, ReadIfThere(JoinPath(folder, "audit.checkpoint")));
  return AuditTrust(folder, std::move(policy), std::move(held));
}

absl::Status AuditTrust::Keep(const AuditReport& report) const {
  if (!report.ok()) return absl::OkStatus();
  if (!held_.empty()) {
    CSL_ASSIGN_OR_RETURN(const privacy::SignedNote signed_note, privacy::SignedNote::Parse(held_));
    CSL_ASSIGN_OR_RETURN(const privacy::Checkpoint held,
                         privacy::ParseCheckpoint(signed_note.text));
    if (held.size > report.size) return absl::OkStatus();
  }
  return WriteFileAtomic(JoinPath(folder_, "audit.checkpoint"), report.note);
}

}  // namespace consilium::coordinator
