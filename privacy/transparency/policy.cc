#include "privacy/transparency/policy.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kNone = "none";
using Words = std::vector<std::string>;

absl::Status Wrong(absl::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

// Reads line by line; each handler is given the words of one line.
class PolicyReader {
 public:
  absl::Status Line(const Words& words) {
    if (names_.size() + policy_.logs.size() >= kPolicyNamesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("more than ", kPolicyNamesMax, " logs, witnesses and groups"));
    }
    if (words[0] == "log") return Log(words);
    if (words[0] == "witness") return Witness(words);
    if (words[0] == "group") return Group(words);
    if (words[0] == "quorum") return Quorum(words);
    return Wrong("begins with none of log, witness, group, quorum");
  }

  absl::StatusOr<Policy> Finish() && {
    if (!quorum_seen_) return Wrong("policy: no quorum line; 'quorum none' asks for no witness");
    return std::move(policy_);
  }

 private:
  absl::Status Log(const Words& words) {
    if (words.size() < 2 || words.size() > 3) return Wrong("is not 'log VKEY [URL]'");
    CSL_ASSIGN_OR_RETURN(VerifierKey key, VerifierKey::Parse(words[1]));
    if (key.algorithm == kCosignatureEd25519) return Wrong("a witness's key for a log");
    if (!log_keys_.insert(key.key).second) return Wrong("the same log key twice");
    policy_.logs.push_back({std::move(key), words.size() > 2 ? words[2] : ""});
    return absl::OkStatus();
  }

  absl::Status Witness(const Words& words) {
    if (words.size() < 3 || words.size() > 4) return Wrong("is not 'witness NAME VKEY [URL]'");
    CSL_RETURN_IF_ERROR(Define(words[1]));
    CSL_ASSIGN_OR_RETURN(VerifierKey key, VerifierKey::Parse(words[2]));
    if (key.algorithm == kNoteEd25519) return Wrong("a log's key for a witness");
    if (!witness_keys_.insert(key.key).second) return Wrong("the same witness key twice");
    policy_.witnesses.push_back({words[1], std::move(key), words.size() > 3 ? words[3] : ""});
    return absl::OkStatus();
  }

  absl::Status Group(const Words& words) {
    if (words.size() < 4) return Wrong("is not 'group NAME K MEMBER...'");
    Policy::Group group{.name = words[1], .members = Words(words.begin() + 3, words.end())};
    for (const std::string& member : group.members) {
      if (names_.count(member) == 0) return Wrong("a member that is not defined above");
      if (!members_.insert(member).second) return Wrong("a name that is in a group already");
    }
    CSL_RETURN_IF_ERROR(Define(group.name));
    if (words[2] == "all") {
      group.threshold = group.members.size();
    } else if (words[2] != "any") {
      const absl::StatusOr<uint64_t> threshold = ParseDecimal("threshold", words[2]);
      if (!threshold.ok() || *threshold < 1 || *threshold > group.members.size()) {
        return Wrong("the threshold is not any, all, or 1 to the number of members");
      }
      group.threshold = *threshold;
    }
    policy_.groups.push_back(std::move(group));
    return absl::OkStatus();
  }

  absl::Status Quorum(const Words& words) {
    if (words.size() != 2) return Wrong("is not 'quorum NAME'");
    if (quorum_seen_) return Wrong("a second quorum");
    if (words[1] != kNone && names_.count(words[1]) == 0) return Wrong("a name not defined above");
    quorum_seen_ = true;
    policy_.quorum = words[1];
    return absl::OkStatus();
  }

  absl::Status Define(const std::string& name) {
    if (name == kNone || !names_.insert(name).second) {
      return Wrong("a name that is taken");
    }
    return absl::OkStatus();
  }

  Policy policy_;
  bool quorum_seen_ = false;
  std::set<std::string> names_;
  std::set<std::string> members_;
  std::set<std::string> log_keys_;
  std::set<std::string> witness_keys_;
};

std::string WithUrl(std::string line, const std::string& url) {
  return url.empty() ? line + "\n" : absl::StrCat(line, " ", url, "\n");
}

// The first of the policy's logs that signed the note.
absl::Status OpenByAnyLog(absl::string_view note, const Policy& policy, PolicyVerdict& verdict) {
  if (policy.logs.empty()) {
    return absl::FailedPreconditionError("policy: it names no log, so no checkpoint can hold");
  }
  std::vector<std::string> names;
  for (const Policy::Log& log : policy.logs) {
    absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(note, log.key);
    if (checkpoint.ok()) {
      verdict.checkpoint = *std::move(checkpoint);
      verdict.log = log.key;
      return absl::OkStatus();
    }
    if (!absl::IsNotFound(checkpoint.status()) && !absl::IsUnimplemented(checkpoint.status())) {
      return checkpoint.status();
    }
    names.push_back(absl::IsUnimplemented(checkpoint.status())
                        ? absl::StrCat(log.key.name, " (unknown algorithm)")
                        : log.key.name);
  }
  return absl::PermissionDeniedError(
      absl::StrCat("checkpoint: signed by no log of the policy: ", absl::StrJoin(names, ", ")));
}

bool Reaches(const Policy& policy, std::set<std::string> reached) {
  if (policy.quorum == kNone) return true;
  for (const Policy::Group& group : policy.groups) {
    const auto count = std::count_if(
        group.members.begin(), group.members.end(),
        [&](const std::string& member) { return reached.count(member) > 0; });
    if (static_cast<size_t>(count) >= group.threshold) reached.insert(group.name);
  }
  return reached.count(policy.quorum) > 0;
}

std::string ListOrNobody(const std::vector<std::string>& names) {
  return names.empty() ? "nobody" : absl::StrJoin(names, ", ");
}

}  // namespace

absl::StatusOr<Policy> Policy::Parse(absl::string_view text) {
  if (text.size() > kPolicyBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("policy: ", text.size(), " bytes; at most ", kPolicyBytesMax));
  }
  PolicyReader reader;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    for (const char c : line) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
        return Wrong(absl::StrCat("policy line ", number, ": a control character"));
      }
    }
    const Words words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.empty() || words[0][0] == '#') continue;
    CSL_RETURN_IF_ERROR(Annotate(reader.Line(words), absl::StrCat("policy line ", number)));
  }
  return std::move(reader).Finish();
}

std::string Policy::ToString() const {
  std::string text;
  for (const Log& log : logs) {
    absl::StrAppend(&text, WithUrl(absl::StrCat("log ", log.key.ToString()), log.url));
  }
  for (const Witness& witness : witnesses) {
    absl::StrAppend(&text, WithUrl(absl::StrCat("witness ", witness.name, " ",
                                                witness.key.ToString()),
                                   witness.url));
  }
  for (const Group& group : groups) {
    absl::StrAppend(&text, "group ", group.name, " ", group.threshold, " ",
                    absl::StrJoin(group.members, " "), "\n");
  }
  absl::StrAppend(&text, "quorum ", quorum, "\n");
  return text;
}

absl::StatusOr<PolicyVerdict> CheckPolicy(absl::string_view note, const Policy& policy) {
  PolicyVerdict verdict;
  CSL_RETURN_IF_ERROR(OpenByAnyLog(note, policy, verdict));
  CSL_ASSIGN_OR_RETURN(const SignedNote parsed, SignedNote::Parse(note));
  std::set<std::string> reached;
  std::vector<std::string> names;
  for (const Policy::Witness& witness : policy.witnesses) {
    const absl::StatusOr<absl::Time> time = FindCosignature(parsed, witness.key);
    if (time.ok()) {
      verdict.cosigned.push_back({witness.name, *time});
      reached.insert(witness.name);
      names.push_back(witness.name);
    } else if (absl::IsNotFound(time.status())) {
      verdict.absent.push_back(witness.name);
    } else if (absl::IsUnimplemented(time.status())) {
      verdict.unknown.push_back(witness.name);
    } else {
      return absl::PermissionDeniedError(time.status().message());
    }
  }
  if (!Reaches(policy, std::move(reached))) {
    return absl::PermissionDeniedError(absl::StrCat(
        "checkpoint: the quorum '", policy.quorum, "' is not reached; cosigned by ",
        ListOrNobody(names), "; not by ", ListOrNobody(verdict.absent),
        verdict.unknown.empty()
            ? ""
            : absl::StrCat("; of an algorithm unknown here: ", ListOrNobody(verdict.unknown))));
  }
  return verdict;
}

}  // namespace consilium::privacy
