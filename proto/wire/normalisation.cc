#include "proto/wire/normalisation.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace consilium::wire {
namespace {

struct Preset {
  absl::string_view name;
  double centre, width;
};
constexpr Preset kPresets[] = {
    {"lung", -600, 1500}, {"bone", 400, 1800}, {"soft-tissue", 40, 400}, {"brain", 40, 80}};
constexpr double kIntensityMax = 1e9;

absl::Status Refuse() {
  return absl::InvalidArgumentError(
      "must be z-score, range, percentile or percentile LOW HIGH, with window NAME (lung, bone, "
      "soft-tissue, brain) or window CENTRE WIDTH before it or alone, and for PT suv before it all");
}

// The words of the text, taken from the front.
class Words {
 public:
  explicit Words(absl::string_view text) : words_(absl::StrSplit(text, ' ')) {}
  bool done() const { return next_ == words_.size(); }
  bool Take(absl::string_view word) {
    if (done() || words_[next_] != word) return false;
    ++next_;
    return true;
  }
  bool TakeNumbers(double& first, double& second) {
    if (words_.size() - next_ < 2 || !IsNumber(next_, first) || !IsNumber(next_ + 1, second)) {
      return false;
    }
    next_ += 2;
    return true;
  }

 private:
  bool IsNumber(size_t at, double& out) const {
    return absl::SimpleAtod(words_[at], &out) && std::abs(out) <= kIntensityMax;
  }
  std::vector<std::string> words_;
  size_t next_ = 0;
};

bool TakeWindow(Words& words, std::optional<std::array<double, 2>>& window) {
  double centre = 0, width = 0;
  if (!words.TakeNumbers(centre, width)) {
    for (const Preset& preset : kPresets) {
      if (width > 0 || !words.Take(preset.name)) continue;
      centre = preset.centre;
      width = preset.width;
    }
  }
  if (!(width > 0)) return false;
  window = {centre - width / 2, centre + width / 2};
  return true;
}

}  // namespace

absl::StatusOr<Normalisation> ParseNormalisation(absl::string_view text) {
  Words words(text);
  Normalisation normalisation;
  if (words.Take("suv")) normalisation.unit = Normalisation::Unit::kSuvBodyWeight;
  if (words.Take("window")) {
    if (!TakeWindow(words, normalisation.window)) return Refuse();
    normalisation.scale = Normalisation::Scale::kRange;
    if (words.done()) return normalisation;
  }
  if (words.Take("z-score")) {
    normalisation.scale = Normalisation::Scale::kZScore;
  } else if (words.Take("range")) {
    normalisation.scale = Normalisation::Scale::kRange;
  } else if (words.Take("percentile")) {
    normalisation.scale = Normalisation::Scale::kPercentile;
    auto& [low, high] = normalisation.percentiles;
    if (words.TakeNumbers(low, high) && !(low >= 0 && low < high && high <= 100)) return Refuse();
  } else {
    return Refuse();
  }
  if (!words.done()) return Refuse();
  return normalisation;
}

}  // namespace consilium::wire
