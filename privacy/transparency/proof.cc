#include "privacy/transparency/proof.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/transparency/checkpoint.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kHeader = "c2sp.org/tlog-proof@v1";

absl::Status BadProof(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("proof: ", why));
}

// Takes one line, without its end, off the front.
absl::StatusOr<absl::string_view> TakeLine(absl::string_view& text) {
  const size_t end = text.find('\n');
  if (end == absl::string_view::npos) return BadProof("it ends too early");
  const absl::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

std::string EncodeLogProof(const LogProof& proof) {
  std::string text = absl::StrCat(kHeader, "\n");
  if (!proof.extra.empty()) absl::StrAppend(&text, "extra ", Base64Encode(proof.extra), "\n");
  absl::StrAppend(&text, "index ", proof.index, "\n");
  for (const Hash& hash : proof.hashes) {
    absl::StrAppend(&text, Base64Encode(HashBytes(hash)), "\n");
  }
  return absl::StrCat(text, "\n", proof.checkpoint);
}

absl::StatusOr<LogProof> ParseLogProof(absl::string_view text) {
  if (text.size() > kLogProofBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("proof: ", text.size(), " bytes; at most ", kLogProofBytesMax));
  }
  LogProof proof;
  CSL_ASSIGN_OR_RETURN(absl::string_view line, TakeLine(text));
  if (line != kHeader) return BadProof(absl::StrCat("does not begin with ", kHeader));
  CSL_ASSIGN_OR_RETURN(line, TakeLine(text));
  if (absl::ConsumePrefix(&line, "extra ")) {
    absl::StatusOr<std::string> extra = StrictBase64Decode(line);
    if (!extra.ok() || extra->empty()) return BadProof("the extra line is not base64");
    proof.extra = *std::move(extra);
    CSL_ASSIGN_OR_RETURN(line, TakeLine(text));
  }
  if (!absl::ConsumePrefix(&line, "index ")) return BadProof("no index line");
  CSL_ASSIGN_OR_RETURN(proof.index, ParseDecimal("proof: index", line));
  while (true) {
    CSL_ASSIGN_OR_RETURN(line, TakeLine(text));
    if (line.empty()) break;
    if (proof.hashes.size() == kProofHashesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("proof: more than ", kProofHashesMax, " hashes"));
    }
    const absl::StatusOr<std::string> bytes = StrictBase64Decode(line);
    if (!bytes.ok() || bytes->size() != kHashBytes) {
      return BadProof("a hash is not 32 bytes in base64");
    }
    CSL_ASSIGN_OR_RETURN(const Hash hash, HashFromBytes(*bytes));
    proof.hashes.push_back(hash);
  }
  CSL_RETURN_IF_ERROR(SignedNote::Parse(text).status());
  proof.checkpoint = std::string(text);
  return proof;
}

absl::StatusOr<PolicyVerdict> VerifyLogProof(const LogProof& proof, absl::string_view entry,
                                             const Policy& policy) {
  CSL_ASSIGN_OR_RETURN(PolicyVerdict verdict, CheckPolicy(proof.checkpoint, policy));
  CSL_RETURN_IF_ERROR(VerifyInclusion(LeafHash(entry), proof.index, verdict.checkpoint.size,
                                      proof.hashes, verdict.checkpoint.root));
  return verdict;
}

}  // namespace consilium::privacy
