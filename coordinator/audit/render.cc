#include "coordinator/audit/render.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/audit/csv.h"
#include "coordinator/audit/entry_view.h"
#include "coordinator/audit/export_lines.h"
#include "coordinator/audit/pdf.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// Each entry of the file in its order; other lines are passed over.
absl::Status ForEachEntry(const RenderJob& job,
                          const std::function<absl::Status(const ExportLine&)>& on_entry) {
  CSL_ASSIGN_OR_RETURN(ByteSource source, FileSource(job.jsonl_path));
  LineReader reader(std::move(source));
  uint64_t count = 0;
  for (;;) {
    const absl::StatusOr<absl::string_view> text = reader.Next();
    if (absl::IsOutOfRange(text.status())) return absl::OkStatus();
    if (!text.ok()) return text.status();
    CSL_ASSIGN_OR_RETURN(const ExportLine line, ParseExportLine(*text));
    if (line.kind != ExportLine::Kind::kEntry) continue;
    CSL_RETURN_IF_ERROR(on_entry(line));
    if (job.on_entry) job.on_entry(++count);
  }
}

std::string Extent(const AuditReport& report) {
  return absl::StrCat("entries ", report.from, " to ",
                      report.to == report.from ? report.from : report.to - 1, " of ", report.size,
                      "; filter: ", report.filter.empty() ? "none" : report.filter, "; ",
                      report.shown, " shown, ", report.withheld, " withheld",
                      report.ok() ? "" : "; THE EXPORT DID NOT VERIFY");
}

std::string Made(absl::Time made) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", made, absl::UTCTimeZone());
}

absl::Status WriteCsv(const RenderJob& job, const AuditReport& report, const std::string& path) {
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate, kPublicFile));
  uint64_t offset = 0;
  std::string piece = CsvHeading();
  const auto flush = [&]() -> absl::Status {
    CSL_RETURN_IF_ERROR(file.WriteAt(offset, piece));
    offset += piece.size();
    piece.clear();
    return absl::OkStatus();
  };
  CSL_RETURN_IF_ERROR(ForEachEntry(job, [&](const ExportLine& line) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const EntryView view, ReadEntryView(line.entry, line.opened));
    piece += CsvRow(MakeEntryRow(view), line.entry);
    return piece.size() < kPieceBytes ? absl::OkStatus() : flush();
  }));
  piece += CsvLine({"", Made(job.made), "", "", "", Extent(report),
                    absl::StrCat("made from the .jsonl with SHA-256 ", job.jsonl_sha256,
                                 ", which is authoritative"),
                    ""});
  CSL_RETURN_IF_ERROR(flush());
  return file.Sync();
}

}  // namespace

absl::Status RenderCsv(const RenderJob& job, const AuditReport& report) {
  const std::string partial = absl::StrCat(job.out_path, ".partial-", ::getpid());
  absl::Status status = WriteCsv(job, report, partial);
  if (status.ok()) status = RenameDurably(partial, job.out_path);
  if (!status.ok()) ::unlink(partial.c_str());
  return status;
}

absl::Status RenderPdf(const RenderJob& job, const AuditReport& report) {
  PdfFacts facts = {.origin = report.origin,
                    .range = Extent(report),
                    .jsonl_sha256 = job.jsonl_sha256,
                    .size = report.size,
                    .root = report.root,
                    .witnesses = absl::StrJoin(report.witnesses, ", "),
                    .made = Made(job.made)};
  if (facts.witnesses.empty()) facts.witnesses = "no witness";
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<PdfReport> pdf, PdfReport::Create(std::move(facts)));
  CSL_RETURN_IF_ERROR(ForEachEntry(job, [&](const ExportLine& line) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const EntryView view, ReadEntryView(line.entry, line.opened));
    return pdf->AddRow(MakeEntryRow(view));
  }));
  CSL_ASSIGN_OR_RETURN(const std::string bytes, pdf->Write());
  return WriteFileAtomic(job.out_path, bytes);
}

}  // namespace consilium::coordinator
