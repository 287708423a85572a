#include "site_agent/imaging/series_split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "site_agent/imaging/slice_stack.h"

namespace consilium::imaging {
namespace {

const std::string& ValueOf(const Slice& slice, SplitKey key) {
  return slice.split_keys[static_cast<size_t>(key)];
}

std::optional<double> NumberOf(const std::string& text) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number)) return std::nullopt;
  return number;
}

// Numbers as numbers, before other text; dates and times to the microsecond are longer than a
// double and, of equal length, sort as text. A key of several values ("10/2/") goes by the first
// that differs.
struct ValueLess {
  bool operator()(const std::string& a, const std::string& b) const {
    const std::vector<std::string> of_a = absl::StrSplit(a, '/'), of_b = absl::StrSplit(b, '/');
    for (size_t i = 0; i < std::min(of_a.size(), of_b.size()); ++i) {
      const std::optional<double> at_a = NumberOf(of_a[i]), at_b = NumberOf(of_b[i]);
      if (at_a.has_value() != at_b.has_value()) return at_a.has_value();
      if (at_a && *at_a != *at_b) return *at_a < *at_b;
      if (of_a[i] != of_b[i]) return of_a[i] < of_b[i];
    }
    return of_a.size() < of_b.size();
  }
};

using Positions = std::vector<std::vector<Slice>>;

bool Repeats(const Positions& positions) {
  return std::any_of(positions.begin(), positions.end(),
                     [](const std::vector<Slice>& here) { return here.size() > 1; });
}

bool DiffersAtAPosition(const Positions& positions, SplitKey key) {
  return std::any_of(positions.begin(), positions.end(), [&](const std::vector<Slice>& here) {
    return std::any_of(here.begin(), here.end(), [&](const Slice& slice) {
      return ValueOf(slice, key) != ValueOf(here.front(), key);
    });
  });
}

// By rank at each position; empty where the ranks are not the same everywhere.
std::vector<std::vector<Slice>> GroupByRank(const Positions& positions, SplitKey key) {
  const size_t count = positions.front().size();
  std::vector<std::vector<Slice>> ranks(count);
  for (const std::vector<Slice>& here : positions) {
    if (here.size() != count) return {};
    std::map<std::string, const Slice*, ValueLess> ordered;
    for (const Slice& slice : here) ordered.emplace(ValueOf(slice, key), &slice);
    if (ordered.size() != count) return {};
    size_t rank = 0;
    for (const auto& [value, slice] : ordered) ranks[rank++].push_back(*slice);
  }
  return ranks;
}

// Numbers alone are no proof; numbers that count one volume to its end before the next are.
bool AreBlocks(const std::vector<std::vector<Slice>>& ranks) {
  const auto number = [](const Slice& slice) {
    return NumberOf(ValueOf(slice, SplitKey::kInstanceNumber));
  };
  std::optional<double> last;
  for (const std::vector<Slice>& rank : ranks) {
    std::optional<double> low, high;
    for (const Slice& slice : rank) {
      const std::optional<double> here = number(slice);
      if (!here) return false;
      low = std::min(low.value_or(*here), *here);
      high = std::max(high.value_or(*here), *here);
    }
    if (last && *low <= *last) return false;
    last = high;
  }
  return true;
}

class Splitter {
 public:
  void Split(SeriesPart part) {
    for (const SplitKey key :
         {SplitKey::kEcho, SplitKey::kTemporalPosition, SplitKey::kDiffusion}) {
      if (SplitBy(part, key, GroupBy(part.slices, key))) return;
    }
    const absl::StatusOr<SliceStack> stack = StackSlices(part.slices);
    if (!stack.ok() || !Repeats(stack->positions)) return Finish(std::move(part));
    for (const SplitKey key : {SplitKey::kImageType, SplitKey::kContrast}) {
      if (!DiffersAtAPosition(stack->positions, key)) continue;
      if (SplitBy(part, key, GroupBy(part.slices, key))) return;
    }
    for (const SplitKey key :
         {SplitKey::kTriggerTime, SplitKey::kAcquisitionNumber, SplitKey::kAcquisitionTime}) {
      if (SplitBy(part, key, GroupByRank(stack->positions, key))) return;
    }
    auto ranks = GroupByRank(stack->positions, SplitKey::kInstanceNumber);
    if (AreBlocks(ranks) && SplitBy(part, SplitKey::kInstanceNumber, std::move(ranks))) return;
    Finish(std::move(part));
  }

  std::vector<SeriesPart> Take() && { return std::move(parts_); }

 private:
  bool SplitBy(const SeriesPart& part, SplitKey key, std::vector<std::vector<Slice>> groups) {
    if (groups.size() < 2) return false;
    for (size_t i = 0; i < groups.size(); ++i) {
      SeriesPart next{std::move(groups[i]), part.words, part.keys};
      absl::StrAppend(&next.words, part.words.empty() ? "" : ", ", SplitKeyName(key), " ", i + 1,
                      " of ", groups.size());
      next.keys.push_back(key);
      Split(std::move(next));
    }
    return true;
  }

  void Finish(SeriesPart part) { parts_.push_back(std::move(part)); }

  std::vector<SeriesPart> parts_;
};

}  // namespace

std::vector<std::vector<Slice>> GroupBy(std::vector<Slice> slices, SplitKey key) {
  std::map<std::string, std::vector<Slice>, ValueLess> by_value;
  for (Slice& slice : slices) by_value[ValueOf(slice, key)].push_back(std::move(slice));
  std::vector<std::vector<Slice>> groups;
  for (auto& [value, group] : by_value) groups.push_back(std::move(group));
  return groups;
}

std::vector<SeriesPart> SplitIntoVolumes(SeriesPart whole) {
  Splitter splitter;
  splitter.Split(std::move(whole));
  return std::move(splitter).Take();
}

}  // namespace consilium::imaging
