#include "privacy/deid/patient_tokens.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace consilium::privacy {
namespace {

// From this many bytes on a token is also looked for inside words; shorter ones would hit by chance.
constexpr size_t kInsideBytesMin = 5;
constexpr size_t kIdentifierBytesMin = 4;

// Base letters of U+00C0..U+00FF ('.': no letter) and U+0100..U+017F.
constexpr char kLatin1[] = "aaaaaaaceeeeiiiidnooooo.ouuuuytsaaaaaaaceeeeiiiidnooooo.ouuuuyty";
constexpr char kLatinA[] =
    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooo"
    "rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
static_assert(sizeof(kLatin1) == 64 + 1);
static_assert(sizeof(kLatinA) == 128 + 1);

// Words of institutions and addresses that also occur in descriptions of images.
constexpr absl::string_view kEverydayWords[] = {
    "avenue", "brain", "center", "centre", "clinic", "clinica", "clinique", "department",
    "drive", "floor", "general", "head", "health", "hopital", "hospital", "house", "image",
    "imaging", "institute", "klinik", "klinikum", "lane", "left", "medical", "medicine", "medizin",
    "municipal", "national", "north", "nuclear", "place", "radiologie", "radiology", "reading",
    "reference", "regional", "right", "road", "room", "saint", "school", "science", "south",
    "street", "university", "west",
};
static_assert(std::is_sorted(std::begin(kEverydayWords), std::end(kEverydayWords)));

struct Decoded {
  uint32_t code;
  size_t bytes;
};

// Bytes that are no UTF-8 stand for themselves as Latin-1: nothing may slip through undecoded.
Decoded Decode(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t first = byte(0);
  const size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  if (length <= 1 || text.size() < length) return {first, 1};
  uint32_t code = first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, 1};
    code = code << 6 | (byte(i) & 0x3F);
  }
  return {code, length};
}

void AppendUtf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// The folded form of one code point: letters and digits, or 0 for what separates words.
uint32_t Fold(uint32_t code) {
  if (code >= 0xFF01 && code <= 0xFF5E) code -= 0xFEE0;  // full-width ASCII
  if (code < 0x80) {
    const auto c = static_cast<unsigned char>(code);
    return absl::ascii_isalnum(c) ? static_cast<unsigned char>(absl::ascii_tolower(c)) : 0;
  }
  if (code < 0xC0) return 0;
  if (code < 0x100) return kLatin1[code - 0xC0] == '.' ? 0 : kLatin1[code - 0xC0];
  if (code < 0x180) return kLatinA[code - 0x100];
  if (code >= 0x391 && code <= 0x3A9) return code + 0x20;
  if (code >= 0x400 && code <= 0x40F) return code + 0x50;
  if (code >= 0x410 && code <= 0x42F) return code + 0x20;
  if ((code >= 0x2000 && code <= 0x206F) || (code >= 0x3000 && code <= 0x303F)) return 0;
  return code;
}

// Capital letters first, first + step .. last, whose small letter lies `offset` further.
struct CaseRange {
  uint32_t first, last, step, offset;
};
constexpr CaseRange kCaseRanges[] = {
    {0xC0, 0xD6, 1, 0x20},   {0xD8, 0xDE, 1, 0x20}, {0x100, 0x12E, 2, 1},   {0x132, 0x136, 2, 1},
    {0x139, 0x147, 2, 1},    {0x14A, 0x176, 2, 1},  {0x179, 0x17D, 2, 1},   {0x391, 0x3A9, 1, 0x20},
    {0x400, 0x40F, 1, 0x50}, {0x410, 0x42F, 1, 0x20},
};

uint32_t SmallLetter(uint32_t code) {
  for (const CaseRange& range : kCaseRanges) {
    if (code < range.first || code > range.last) continue;
    if ((code - range.first) % range.step == 0) return code + range.offset;
  }
  return code;
}

uint32_t CapitalLetter(uint32_t code) {
  for (const CaseRange& range : kCaseRanges) {
    if (code < range.first + range.offset || code > range.last + range.offset) continue;
    if ((code - range.offset - range.first) % range.step == 0) return code - range.offset;
  }
  return code;
}

uint32_t SameLetter(uint32_t code) { return code; }

// The bytes in which `text` can lie in a file: UTF-8 and Latin-1, its accented letters as written,
// small and capital. ASCII letters are small.
std::vector<std::string> Spellings(absl::string_view text) {
  std::vector<std::string> spellings;
  for (uint32_t (*cased)(uint32_t) : {SameLetter, SmallLetter, CapitalLetter}) {
    std::string utf8, latin1;
    bool is_latin1 = true;
    for (size_t pos = 0; pos < text.size();) {
      const Decoded at = Decode(text.substr(pos));
      pos += at.bytes;
      const uint32_t code = cased(at.code);
      AppendUtf8(code, utf8);
      latin1 += static_cast<char>(code);
      is_latin1 = is_latin1 && code < 0x100;
    }
    spellings.push_back(absl::AsciiStrToLower(utf8));
    if (is_latin1) spellings.push_back(absl::AsciiStrToLower(latin1));
  }
  return spellings;
}

bool IsCombining(uint32_t code) { return code >= 0x300 && code <= 0x36F; }

struct Word {
  std::string folded;
  size_t begin;  // in the original text
  size_t end;
};

std::vector<Word> Words(absl::string_view text) {
  std::vector<Word> words;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const Decoded at = Decode(text.substr(pos));
    const uint32_t folded = Fold(at.code);
    if (folded != 0 && !IsCombining(at.code)) {
      if (!inside) words.push_back({"", pos, pos});
      inside = true;
      AppendUtf8(folded, words.back().folded);
    } else if (folded == 0) {
      inside = false;
    }
    pos += at.bytes;
    if (inside) words.back().end = pos;
  }
  return words;
}

std::string Squeeze(absl::string_view text) {
  std::string squeezed;
  for (const Word& word : Words(text)) squeezed += word.folded;
  return squeezed;
}

}  // namespace

void PatientTokens::AddName(absl::string_view utf8) {
  for (Word& word : Words(utf8)) {
    if (word.folded.size() < 2) continue;
    const absl::string_view written = utf8.substr(word.begin, word.end - word.begin);
    AddSpellings(written);
    AddAsciiForms(written);
    words_.insert(std::move(word.folded));
  }
}

// What is left of a name where something could write ASCII only: letters dropped, replaced by a
// question mark, or spelt out.
void PatientTokens::AddAsciiForms(absl::string_view written) {
  std::string dropped, run, spelt;
  const auto end_run = [&] {
    if (run.size() >= kInsideBytesMin) words_.insert(run);
    run.clear();
  };
  for (size_t pos = 0; pos < written.size();) {
    const Decoded at = Decode(written.substr(pos));
    pos += at.bytes;
    if (at.code < 0x80) {
      const char letter = absl::ascii_tolower(static_cast<unsigned char>(at.code));
      if (!absl::ascii_isalnum(static_cast<unsigned char>(letter))) continue;
      dropped += letter;
      run += letter;
      spelt += letter;
      continue;
    }
    end_run();
    switch (SmallLetter(at.code)) {
      case 0xE4: case 0xE6: spelt += "ae"; break;
      case 0xF6: case 0xF8: spelt += "oe"; break;
      case 0xFC: spelt += "ue"; break;
      case 0xE5: spelt += "aa"; break;
      case 0xDF: spelt += "ss"; break;
      default:
        if (const uint32_t folded = Fold(at.code); folded != 0) AppendUtf8(folded, spelt);
    }
  }
  if (dropped.size() == written.size()) return;  // was ASCII
  end_run();
  if (dropped.size() >= kIdentifierBytesMin) words_.insert(dropped);
  if (spelt.size() >= kIdentifierBytesMin) words_.insert(spelt);
}

void PatientTokens::AddIdentifier(absl::string_view utf8) {
  std::string squeezed = Squeeze(utf8);
  if (squeezed.size() < kIdentifierBytesMin) return;
  AddSpellings(utf8);
  if (squeezed.size() >= kInsideBytesMin) phrases_.insert(squeezed);
  words_.insert(std::move(squeezed));
}

void PatientTokens::AddPlace(absl::string_view utf8) {
  const std::vector<Word> words = Words(utf8);
  if (words.size() > 1) {
    std::string squeezed = Squeeze(utf8);
    if (squeezed.size() >= kInsideBytesMin) {
      AddSpellings(utf8);
      phrases_.insert(std::move(squeezed));
    }
  }
  for (const Word& word : words) {
    if (word.folded.size() < kIdentifierBytesMin) continue;
    if (std::binary_search(std::begin(kEverydayWords), std::end(kEverydayWords), word.folded)) {
      continue;
    }
    AddSpellings(utf8.substr(word.begin, word.end - word.begin));
    words_.insert(word.folded);
  }
}

void PatientTokens::AddSpellings(absl::string_view text) {
  for (std::string& spelling : Spellings(absl::StripAsciiWhitespace(text))) {
    if (spelling.size() >= kInsideBytesMin) spellings_.insert(std::move(spelling));
  }
}

void PatientTokens::Merge(const PatientTokens& other) {
  words_.insert(other.words_.begin(), other.words_.end());
  phrases_.insert(other.phrases_.begin(), other.phrases_.end());
  spellings_.insert(other.spellings_.begin(), other.spellings_.end());
  sources_.insert(other.sources_.begin(), other.sources_.end());
}

bool PatientTokens::IsTokenWord(absl::string_view folded) const {
  if (words_.find(folded) != words_.end()) return true;
  return std::any_of(words_.begin(), words_.end(), [&](const std::string& token) {
    return token.size() >= kInsideBytesMin && absl::StrContains(folded, token);
  });
}

bool PatientTokens::SpansWords(absl::string_view utf8) const {
  const std::string squeezed = Squeeze(utf8);
  return std::any_of(phrases_.begin(), phrases_.end(), [&](const std::string& phrase) {
    return absl::StrContains(squeezed, phrase);
  });
}

bool PatientTokens::Hits(absl::string_view utf8) const {
  if (empty()) return false;
  for (const Word& word : Words(utf8)) {
    if (IsTokenWord(word.folded)) return true;
  }
  return SpansWords(utf8);
}

bool PatientTokens::IsToken(absl::string_view utf8) const {
  const std::string squeezed = Squeeze(utf8);
  return words_.contains(squeezed) || phrases_.contains(squeezed);
}

std::string PatientTokens::Scrub(absl::string_view utf8) const {
  std::string kept;
  size_t copied = 0;
  for (const Word& word : Words(utf8)) {
    if (!IsTokenWord(word.folded)) continue;
    absl::StrAppend(&kept, utf8.substr(copied, word.begin - copied));
    copied = word.end;
  }
  absl::StrAppend(&kept, utf8.substr(copied));
  if (SpansWords(kept)) return "";
  return copied == 0 ? kept : std::string(absl::StripAsciiWhitespace(kept));
}

bool PatientTokens::HitsBytes(absl::string_view bytes) const {
  const std::string lower = absl::AsciiStrToLower(bytes);
  const auto inside = [&](const std::string& token) {
    return token.size() >= kInsideBytesMin && absl::StrContains(lower, token);
  };
  return std::any_of(words_.begin(), words_.end(), inside) ||
         std::any_of(phrases_.begin(), phrases_.end(), inside) ||
         std::any_of(spellings_.begin(), spellings_.end(), inside);
}

}  // namespace consilium::privacy
