// Entries as a PDF that can be printed and filed (21 CFR 11.10(b): copies that people can read).
//
// Order: Create, AddRow for each entry, Write. Landscape A4; each page carries the digest of the .jsonl that
// the document was made from, the checkpoint's size and root, and "page n of m". The PDF proves
// nothing by itself; it says which file does.
//
// The text is set in PDF's standard fonts, which have Windows-1252 only: any other character becomes "?", a
// long cell is cut with "..". The exact bytes are in the .jsonl.
// Memory: the whole document, about 4 KiB an entry; kPdfRowsMax rows at most. Not thread-safe.
#ifndef CONSILIUM_COORDINATOR_AUDIT_PDF_H_
#define CONSILIUM_COORDINATOR_AUDIT_PDF_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/audit/entry_view.h"

namespace consilium::coordinator {

inline constexpr uint64_t kPdfRowsMax = 100'000;

struct PdfFacts {
  std::string origin;
  std::string range;         // "entries 0 to 99 of 100; filter: action is site.approve; 3 withheld"
  std::string jsonl_sha256;  // hex
  uint64_t size = 0;
  std::string root;       // base64
  std::string witnesses;  // names
  std::string made;       // when, UTC
};

class PdfReport {
 public:
  // INTERNAL: the library refused.
  static absl::StatusOr<std::unique_ptr<PdfReport>> Create(PdfFacts facts);
  ~PdfReport();

  // RESOURCE_EXHAUSTED: more than kPdfRowsMax; says to export a shorter range.
  absl::Status AddRow(const EntryRow& row);
  // The document's bytes. Call once.
  absl::StatusOr<std::string> Write();

 private:
  struct Rep;
  explicit PdfReport(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_PDF_H_
