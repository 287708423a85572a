#include "coordinator/audit/pdf.h"

#include <hpdf.h>

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr float kMargin = 36;  // points
constexpr float kTextSize = 7;
constexpr float kLeading = 8.5;
constexpr float kFooter = 62;  // from the bottom to the last row
constexpr int kCellLinesMax = 6;

struct Column {
  const char* title;
  std::string EntryRow::*member;
  float width;
};
// 770 points of a landscape A4.
constexpr std::array<Column, 7> kColumns = {{{"#", &EntryRow::index, 42},
                                             {"time (UTC)", &EntryRow::time, 84},
                                             {"actor", &EntryRow::actor, 110},
                                             {"action", &EntryRow::action, 94},
                                             {"outcome", &EntryRow::outcome, 46},
                                             {"about", &EntryRow::about, 150},
                                             {"detail", &EntryRow::detail, 244}}};

// libharu calls it on an error; what went wrong is asked for with HPDF_GetError afterwards.
void OnError(HPDF_STATUS, HPDF_STATUS, void*) {}

// UTF-8 as Windows-1252, which for these code points is Latin-1; "?" for the rest.
std::string Latin(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    if (length == 1) {
      out += byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    } else if (length == 2 && (byte == 0xc2 || byte == 0xc3) && i + 1 < text.size()) {
      const int point = (byte & 3) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3f);
      out += point < 0xa0 ? '?' : static_cast<char>(point);
    } else {
      out += '?';
    }
    i += length;
  }
  return out;
}

}  // namespace

struct PdfReport::Rep {
  PdfFacts facts;
  HPDF_Doc doc = nullptr;
  HPDF_Font font = nullptr;
  HPDF_Font bold = nullptr;
  std::vector<HPDF_Page> pages;
  float y = 0;
  float width = 0;
  float height = 0;
  uint64_t rows = 0;

  ~Rep() {
    if (doc != nullptr) HPDF_Free(doc);
  }

  absl::Status Check() const {
    const HPDF_STATUS error = HPDF_GetError(doc);
    if (error == HPDF_OK) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the PDF library failed with ", error));
  }

  void Text(HPDF_Page page, float x, float at, const std::string& text) {
    HPDF_Page_BeginText(page);
    HPDF_Page_TextOut(page, x, at, text.c_str());
    HPDF_Page_EndText(page);
  }

  void Rule(float at) {
    HPDF_Page page = pages.back();
    HPDF_Page_SetLineWidth(page, 0.4F);
    HPDF_Page_MoveTo(page, kMargin, at);
    HPDF_Page_LineTo(page, width - kMargin, at);
    HPDF_Page_Stroke(page);
  }

  void NewPage() {
    HPDF_Page page = HPDF_AddPage(doc);
    HPDF_Page_SetSize(page, HPDF_PAGE_SIZE_A4, HPDF_PAGE_LANDSCAPE);
    pages.push_back(page);
    width = HPDF_Page_GetWidth(page);
    height = HPDF_Page_GetHeight(page);
    y = height - kMargin;
    if (pages.size() == 1) {
      HPDF_Page_SetFontAndSize(page, bold, 13);
      Text(page, kMargin, y - 8, "Audit log");
      HPDF_Page_SetFontAndSize(page, font, 9);
      Text(page, kMargin, y - 22, Latin(facts.origin));
      Text(page, kMargin, y - 34, Latin(facts.range));
      Text(page, kMargin, y - 46, Latin(absl::StrCat("cosigned by: ", facts.witnesses)));
      y -= 64;
    }
    HPDF_Page_SetFontAndSize(page, bold, kTextSize);
    float x = kMargin;
    for (const Column& column : kColumns) {
      Text(page, x, y - kTextSize, column.title);
      x += column.width;
    }
    HPDF_Page_SetFontAndSize(page, font, kTextSize);
    y -= kLeading + 3;
    Rule(y);
    y -= 2;
  }

  // The cell in lines that fit its column; the last one is cut.
  std::vector<std::string> Wrap(const std::string& text, float room) const {
    std::vector<std::string> lines;
    std::string rest = Latin(text);
    while (!rest.empty() && lines.size() < kCellLinesMax) {
      const auto* bytes = reinterpret_cast<const HPDF_BYTE*>(rest.c_str());
      const HPDF_UINT size = static_cast<HPDF_UINT>(std::min<size_t>(rest.size(), 4096));
      HPDF_UINT fits = HPDF_Font_MeasureText(font, bytes, size, room, kTextSize, 0, 0, HPDF_TRUE,
                                             nullptr);
      // A word that is longer than the column is broken.
      if (fits == 0) {
        fits = HPDF_Font_MeasureText(font, bytes, size, room, kTextSize, 0, 0, HPDF_FALSE, nullptr);
      }
      fits = std::clamp<HPDF_UINT>(fits, 1, size);
      lines.push_back(rest.substr(0, fits));
      rest.erase(0, fits);
      rest.erase(0, rest.find_first_not_of(' '));
    }
    if (!rest.empty() && !lines.empty()) {
      std::string& last = lines.back();
      last = last.substr(0, last.size() > 3 ? last.size() - 3 : 0) + "..";
    }
    return lines;
  }

  void Footers() {
    for (size_t i = 0; i < pages.size(); ++i) {
      HPDF_Page page = pages[i];
      HPDF_Page_SetFontAndSize(page, font, 7);
      Text(page, kMargin, 44, absl::StrCat("made from the .jsonl with SHA-256 ",
                                           facts.jsonl_sha256, ", which is authoritative"));
      Text(page, kMargin, 35, Latin(absl::StrCat("checkpoint of ", facts.origin, ": ", facts.size,
                                                 " entries, root ", facts.root)));
      Text(page, kMargin, 26, absl::StrCat("made ", facts.made));
      const std::string number = absl::StrCat("page ", i + 1, " of ", pages.size());
      Text(page, width - kMargin - HPDF_Page_TextWidth(page, number.c_str()), 26, number);
    }
  }
};

PdfReport::PdfReport(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
PdfReport::~PdfReport() = default;

absl::StatusOr<std::unique_ptr<PdfReport>> PdfReport::Create(PdfFacts facts) {
  auto rep = std::make_unique<Rep>();
  rep->facts = std::move(facts);
  rep->doc = HPDF_New(OnError, nullptr);
  if (rep->doc == nullptr) return absl::InternalError("the PDF library has no memory");
  HPDF_SetCompressionMode(rep->doc, HPDF_COMP_ALL);
  HPDF_SetInfoAttr(rep->doc, HPDF_INFO_TITLE, "Audit log");
  rep->font = HPDF_GetFont(rep->doc, "Helvetica", "WinAnsiEncoding");
  rep->bold = HPDF_GetFont(rep->doc, "Helvetica-Bold", "WinAnsiEncoding");
  CSL_RETURN_IF_ERROR(rep->Check());
  rep->NewPage();
  CSL_RETURN_IF_ERROR(rep->Check());
  return std::unique_ptr<PdfReport>(new PdfReport(std::move(rep)));
}

absl::Status PdfReport::AddRow(const EntryRow& row) {
  if (++rep_->rows > kPdfRowsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a PDF holds at most ", kPdfRowsMax,
                     " entries; export a shorter range with --from and --to, or to .jsonl"));
  }
  std::vector<std::vector<std::string>> cells;
  size_t lines = 1;
  for (const Column& column : kColumns) {
    cells.push_back(rep_->Wrap(row.*column.member, column.width - 5));
    lines = std::max(lines, cells.back().size());
  }
  const float needed = static_cast<float>(lines) * kLeading + 3;
  if (rep_->y - needed < kFooter) rep_->NewPage();
  float x = kMargin;
  for (size_t i = 0; i < cells.size(); ++i) {
    float at = rep_->y - kTextSize;
    for (const std::string& line : cells[i]) {
      rep_->Text(rep_->pages.back(), x, at, line);
      at -= kLeading;
    }
    x += kColumns[i].width;
  }
  rep_->y -= needed;
  return rep_->Check();
}

absl::StatusOr<std::string> PdfReport::Write() {
  rep_->Rule(rep_->y);
  rep_->Footers();
  HPDF_SaveToStream(rep_->doc);
  CSL_RETURN_IF_ERROR(rep_->Check());
  HPDF_ResetStream(rep_->doc);
  std::string out;
  for (;;) {
    std::array<HPDF_BYTE, 65536> piece;
    HPDF_UINT32 size = piece.size();
    const HPDF_STATUS status = HPDF_ReadFromStream(rep_->doc, piece.data(), &size);
    out.append(reinterpret_cast<const char*>(piece.data()), size);
    if (status != HPDF_OK || size == 0) break;  // the end of the stream is an error to it
  }
  if (out.empty()) return absl::InternalError("the PDF library wrote nothing");
  return out;
}

}  // namespace consilium::coordinator
