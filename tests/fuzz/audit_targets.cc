#include "coordinator/audit/entry_view.h"
#include "coordinator/audit/export_verifier.h"
#include "coordinator/audit/proof_verifier.h"
#include "privacy/transparency/proof.h"
#include "proto/base/check.h"
#include "tests/fuzz/target.h"
#include "tests/support/signed_log.h"

namespace consilium::fuzz {
namespace {

const testing::SignedLog& Log() {
  static const testing::SignedLog log = [] {
    testing::SignedLog filled;
    filled.Fill(20);
    return filled;
  }();
  return log;
}
const privacy::Policy& TrustedPolicy() {
  static const privacy::Policy policy = *privacy::Policy::Parse(Log().Policy(2));
  return policy;
}

void RunExport(absl::string_view bytes) {
  const auto report =
      coordinator::VerifyExport(coordinator::TextSource(bytes), TrustedPolicy(), "");
  if (!report.ok()) return;
  (void)coordinator::FormatReport(*report);
  (void)coordinator::ReportJson(*report);
  if (!report->ok()) return;
  CSL_CHECK(report->shown + report->withheld == report->to - report->from);
  CSL_CHECK(report->size == Log().size());  // no other checkpoint is signed
}

std::vector<std::string> ExportSeeds() {
  const auto some = [](uint64_t i) { return i % 7 == 0; };
  return {Log().Export(), Log().Export(3, 17, "some", some), Log().Export(5, 5, "", some)};
}

void RunEntry(absl::string_view bytes) {
  const auto view = coordinator::ReadEntryView(bytes);
  if (view.ok()) (void)coordinator::MakeEntryRow(*view);
}

std::vector<std::string> EntrySeeds() {
  return {Log().entries()[0],
          "{\"actor\":{\"commit\":\"00\"},\"esign\":{\"meaning\":\"x\",\"signer\":{\"commit\":\"1\"}},"
          "\"index\":1,\"subjects\":[{\"commit\":\"2\"},\"3\"],\"time_us\":-5,\"v\":1}",
          std::string(200, '['), "{\"a\":" + std::string(200, '{')};
}

void RunProof(absl::string_view bytes) {
  const auto proof = privacy::ParseLogProof(bytes);
  if (proof.ok()) CSL_CHECK(privacy::EncodeLogProof(*proof) == bytes);
  const auto report = coordinator::VerifyProofFile(bytes, TrustedPolicy(), "");
  if (report.ok() && report->ok()) CSL_CHECK(report->entry == Log().entries()[*report->index]);
}

std::vector<std::string> ProofSeeds() {
  return {privacy::EncodeLogProof(
              {.extra = Log().entries()[7],
               .index = 7,
               .hashes = *privacy::InclusionProof(7, Log().size(), Log().Nodes()),
               .checkpoint = Log().Checkpoint()}),
          "c2sp.org/tlog-proof@v1\nindex 0\n\n", "c2sp.org/tlog-proof@v1\nextra =\nindex 01\n"};
}

void RunNote(absl::string_view bytes) {
  const auto note = privacy::SignedNote::Parse(bytes);
  if (!note.ok()) return;
  CSL_CHECK(note->ToString() == bytes);
  const auto checkpoint = privacy::ParseCheckpoint(note->text);
  if (checkpoint.ok()) CSL_CHECK(privacy::EncodeCheckpoint(*checkpoint) == note->text);
  (void)privacy::CheckPolicy(bytes, TrustedPolicy());
}

std::vector<std::string> NoteSeeds() {
  return {Log().Checkpoint(), Log().Checkpoint(0), "a\n0\n\n\n\xe2\x80\x94 x AAAAAA==\n"};
}

void RunPolicy(absl::string_view bytes) {
  const auto policy = privacy::Policy::Parse(bytes);
  if (!policy.ok()) return;
  const auto again = privacy::Policy::Parse(policy->ToString());
  CSL_CHECK(again.ok());
  CSL_CHECK(again->ToString() == policy->ToString());
  (void)privacy::CheckPolicy(Log().Checkpoint(), *policy);
}

std::vector<std::string> PolicySeeds() {
  return {Log().Policy(2), Log().Policy(0), "quorum none\n",
          Log().Policy(3) + "group all2 all sites w0\n", "group a any a\nquorum a\n"};
}

}  // namespace

std::vector<Target> AuditTargets() {
  return {{"export", RunExport, ExportSeeds},
          {"entry", RunEntry, EntrySeeds},
          {"proof", RunProof, ProofSeeds},
          {"note", RunNote, NoteSeeds},
          {"policy", RunPolicy, PolicySeeds}};
}

}  // namespace consilium::fuzz
