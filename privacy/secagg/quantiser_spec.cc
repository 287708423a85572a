// QuantiserSpec of quantise.h: its text, which a session id covers, has one form only.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "privacy/secagg/protocol.h"
#include "privacy/secagg/quantise.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

constexpr size_t kMetricNameBytesMax = 24;

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("quantiser: ", what));
}

bool GoodMetricName(absl::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  return !name.empty() && name.size() <= kMetricNameBytesMax &&
         std::all_of(name.begin(), name.end(), good);
}

// The shortest digits that read back to the same number.
std::string Shortest(double value) {
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  CSL_CHECK(error == std::errc());
  return std::string(text, end);
}

template <typename Number>
bool ReadNumber(absl::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool ReadField(absl::string_view key, absl::string_view value, QuantiserSpec& spec) {
  uint64_t lanes = 0;  // derived: ToText writes it, and what is parsed must be what ToText writes
  if (key == "clip") return ReadNumber(value, spec.clip);
  if (key == "D") return ReadNumber(value, spec.divisor);
  if (key == "lanes") return ReadNumber(value, lanes);
  if (key == "rotate") return ReadNumber(value, spec.rotation_block);
  if (key == "metrics") {
    spec.metrics = absl::StrSplit(value, ',');
    return true;
  }
  if (key == "round" && value == "stochastic") {
    spec.rounding = Rounding::kStochastic;
    return true;
  }
  return false;
}

}  // namespace

uint64_t QuantiserSpec::Words(uint64_t parameters) const {
  const uint64_t block = std::max<uint64_t>(rotation_block, 1);
  return (parameters + block - 1) / block * block + lanes();
}

absl::Status QuantiserSpec::Check() const {
  // Within what floats and the rotation hold with room to spare.
  if (!(clip >= 1e-12 && clip <= 1e12)) return Invalid("clip is not within 1e-12 to 1e12");
  if (divisor == 0 || divisor > kSitesMax * kWeightMax) return Invalid("D is out of range");
  if (metrics.size() > kMetricsMax) return Invalid("too many metrics");
  std::set<absl::string_view> names;
  for (const std::string& name : metrics) {
    if (!GoodMetricName(name) || !names.insert(name).second) {
      return Invalid("a metric's name that is not allowed, or there twice");
    }
  }
  if (rotation_block != 0 &&
      (!std::has_single_bit(rotation_block) || rotation_block < kRotationBlockMin ||
       rotation_block > kRotationBlockMax)) {
    return Invalid("rotate is not a power of two within its limits");
  }
  return absl::OkStatus();
}

std::string QuantiserSpec::ToText() const {
  std::string text = absl::StrCat("clip=", Shortest(clip), ";D=", divisor, ";lanes=", lanes());
  if (!metrics.empty()) absl::StrAppend(&text, ";metrics=", absl::StrJoin(metrics, ","));
  if (rotation_block != 0) absl::StrAppend(&text, ";rotate=", rotation_block);
  if (rounding == Rounding::kStochastic) absl::StrAppend(&text, ";round=stochastic");
  return text;
}

absl::StatusOr<QuantiserSpec> QuantiserSpec::Parse(absl::string_view text) {
  if (text.size() > kQuantiserBytesMax) return Invalid("the text is too long");
  QuantiserSpec spec;
  for (const absl::string_view field : absl::StrSplit(text, ';')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    if (!ReadField(parts.first, parts.second, spec)) return Invalid("a field that is not known");
  }
  CSL_RETURN_IF_ERROR(spec.Check());
  if (spec.ToText() != text) return Invalid("not in its one form");
  return spec;
}

}  // namespace consilium::secagg
