#include "privacy/deid/text_regions.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <numeric>

namespace consilium::privacy {
namespace {

constexpr int kLetterRowsMin = 5;
constexpr int kLetterRowsMax = 96;
constexpr int kLettersMin = 4;
// How far letters stand out of what touches them, of 255. Tissue at the edge of a threshold differs
// by a few grey values only.
constexpr double kEdgeMin = 40;
constexpr int kThresholds[] = {40, 80, 120, 160, 200, 240};
// A picture of nothing but specks has no text that could be told from them.
constexpr size_t kPatchesMax = 200'000;

struct Patch {
  int top = 0, bottom = 0, left = 0, right = 0;  // inclusive
  int area = 0;
  int64_t inside = 0;   // sum of its values
  int64_t outside = 0;  // sum of the values that touch it from the sides
  int touching = 0;
  int Rows() const { return bottom - top + 1; }
  int Columns() const { return right - left + 1; }
};

struct Run {
  int row, begin, end;  // [begin, end)
};

// Patches of equal binary value, 8-connected, by runs and union-find.
class Labeller {
 public:
  Labeller(const GreyFrame& frame, int threshold, bool bright)
      : frame_(frame), threshold_(threshold), bright_(bright) {}

  std::vector<Patch> Patches() {
    FindRuns();
    std::vector<int> index(runs_.size(), -1);
    std::vector<Patch> patches;
    for (size_t i = 0; i < runs_.size(); ++i) {
      const int root = Root(static_cast<int>(i));
      if (index[root] < 0) {
        index[root] = static_cast<int>(patches.size());
        if (patches.size() > kPatchesMax) return {};
        patches.push_back({runs_[i].row, runs_[i].row, runs_[i].begin, runs_[i].end - 1});
      }
      Add(runs_[i], patches[index[root]]);
    }
    return patches;
  }

 private:
  bool In(int row, int column) const {
    const int value = Value(row, column);
    return bright_ ? value >= threshold_ : value < threshold_;
  }
  int Value(int row, int column) const {
    return frame_.values[static_cast<size_t>(row) * frame_.columns + column];
  }

  void FindRuns() {
    size_t above_begin = 0, above_end = 0;
    for (int row = 0; row < frame_.rows; ++row) {
      const size_t first = runs_.size();
      for (int column = 0; column < frame_.columns;) {
        if (!In(row, column)) {
          ++column;
          continue;
        }
        const int begin = column;
        while (column < frame_.columns && In(row, column)) ++column;
        parent_.push_back(static_cast<int>(runs_.size()));
        runs_.push_back({row, begin, column});
      }
      Join(above_begin, above_end, first);
      above_begin = first;
      above_end = runs_.size();
    }
  }

  void Join(size_t above, size_t above_end, size_t first) {
    for (size_t i = first; i < runs_.size(); ++i) {
      while (above < above_end && runs_[above].end < runs_[i].begin) ++above;
      for (size_t j = above; j < above_end && runs_[j].begin <= runs_[i].end; ++j) {
        parent_[Root(static_cast<int>(j))] = Root(static_cast<int>(i));
      }
    }
  }

  int Root(int i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }

  void Add(const Run& run, Patch& patch) const {
    patch.bottom = std::max(patch.bottom, run.row);
    patch.left = std::min(patch.left, run.begin);
    patch.right = std::max(patch.right, run.end - 1);
    patch.area += run.end - run.begin;
    for (int column = run.begin; column < run.end; ++column) patch.inside += Value(run.row, column);
    for (const int column : {run.begin - 1, run.end}) {
      if (column < 0 || column >= frame_.columns) continue;
      // Two steps away: the step between may be blurred by a codec.
      const int beyond =
          column < run.begin ? std::max(0, column - 1) : std::min(frame_.columns - 1, column + 1);
      const int near = Value(run.row, column), far = Value(run.row, beyond);
      patch.outside += bright_ ? std::min(near, far) : std::max(near, far);
      ++patch.touching;
    }
  }

  const GreyFrame& frame_;
  const int threshold_;
  const bool bright_;
  std::vector<Run> runs_;
  std::vector<int> parent_;
};

bool IsLetter(const Patch& patch, bool bright) {
  const int rows = patch.Rows(), columns = patch.Columns();
  if (rows < kLetterRowsMin || rows > kLetterRowsMax || columns > 8 * rows || rows > 10 * columns) {
    return false;
  }
  const double fill = static_cast<double>(patch.area) / (static_cast<double>(rows) * columns);
  // A bar is no word; letters that touch leave gaps.
  if (columns > 2 * rows && fill > 0.75) return false;
  if (fill < 0.1 || patch.touching == 0) return false;
  const double inside = static_cast<double>(patch.inside) / patch.area;
  const double outside = static_cast<double>(patch.outside) / patch.touching;
  return (bright ? inside - outside : outside - inside) >= kEdgeMin;
}

int LettersIn(const Patch& patch) {
  return std::max(1, (patch.Columns() * 10 + patch.Rows() * 4) / (patch.Rows() * 9));
}

bool OnOneLine(const Patch& a, const Patch& b) {  // a starts left of b
  const int taller = std::max(a.Rows(), b.Rows()), smaller = std::min(a.Rows(), b.Rows());
  if (taller * 10 > smaller * 17) return false;
  const int off = std::min(std::abs(a.top - b.top), std::abs(a.bottom - b.bottom));
  const int gap = b.left - a.right - 1;
  return off <= 1 + smaller / 6 && a.top <= b.bottom && b.top <= a.bottom &&
         gap * 2 <= taller * 3 && gap >= -smaller / 2;
}

struct Line {
  Patch last;
  PixelBox box;
  int letters = 0;
  int patches = 0;
  int letter_rows = 0;
};

void Extend(Line& line, const Patch& patch) {
  const int top = std::min(line.box.row, patch.top), left = std::min(line.box.column, patch.left);
  const int bottom = std::max(line.box.row + line.box.rows - 1, patch.bottom);
  const int right = std::max(line.box.column + line.box.columns - 1, patch.right);
  line.box = {top, left, bottom - top + 1, right - left + 1};
  line.last = patch;
  line.letters += LettersIn(patch);
  ++line.patches;
  line.letter_rows = std::max(line.letter_rows, patch.Rows());
}

PixelBox Grown(const Line& line, const GreyFrame& frame) {
  const int beside = line.letter_rows * 2, above = std::max(2, line.letter_rows / 3);
  const int top = std::max(0, line.box.row - above);
  const int left = std::max(0, line.box.column - beside);
  const int bottom = std::min(frame.rows, line.box.row + line.box.rows + above);
  const int right = std::min(frame.columns, line.box.column + line.box.columns + beside);
  return {top, left, bottom - top, right - left};
}

void FindLines(const GreyFrame& frame, int threshold, bool bright, std::vector<PixelBox>& found) {
  std::vector<Patch> letters = Labeller(frame, threshold, bright).Patches();
  letters.erase(std::remove_if(letters.begin(), letters.end(),
                               [&](const Patch& patch) { return !IsLetter(patch, bright); }),
                letters.end());
  std::sort(letters.begin(), letters.end(),
            [](const Patch& a, const Patch& b) { return a.left < b.left; });
  std::vector<Line> lines;
  for (const Patch& letter : letters) {
    const auto line = std::find_if(lines.rbegin(), lines.rend(), [&](const Line& candidate) {
      return OnOneLine(candidate.last, letter);
    });
    if (line != lines.rend()) {
      Extend(*line, letter);
      continue;
    }
    Line& fresh = lines.emplace_back();
    fresh.box = {letter.top, letter.left, letter.Rows(), letter.Columns()};
    Extend(fresh, letter);
  }
  for (const Line& line : lines) {
    if (line.letters >= kLettersMin && line.patches >= 3) found.push_back(Grown(line, frame));
  }
}

bool Covers(const PixelBox& outer, const PixelBox& inner) {
  return outer.row <= inner.row && outer.column <= inner.column &&
         outer.row + outer.rows >= inner.row + inner.rows &&
         outer.column + outer.columns >= inner.column + inner.columns;
}

}  // namespace

std::vector<PixelBox> FindText(const GreyFrame& frame) {
  std::vector<PixelBox> found;
  for (const int threshold : kThresholds) {
    FindLines(frame, threshold, /*bright=*/true, found);
    FindLines(frame, threshold, /*bright=*/false, found);
  }
  std::vector<PixelBox> boxes;
  for (size_t i = 0; i < found.size(); ++i) {
    const bool covered = std::any_of(found.begin(), found.end(), [&](const PixelBox& other) {
      const auto at = static_cast<size_t>(&other - found.data());
      return at != i && Covers(other, found[i]) && (other != found[i] || at < i);
    });
    if (!covered) boxes.push_back(found[i]);
  }
  return boxes;
}

}  // namespace consilium::privacy
