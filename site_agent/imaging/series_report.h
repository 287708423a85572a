// What assembly found in a series and what it did with it. Counts and geometry: no value that
// identifies.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SERIES_REPORT_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SERIES_REPORT_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace consilium::imaging {

struct SetAside {
  int64_t images = 0;
  std::string reason;  // in words
  friend bool operator==(const SetAside&, const SetAside&) = default;
};

// Of one volume. An image is a frame: classic files have one each.
struct SeriesReport {
  std::string part;                        // "echo 2 of 3"; empty: the series is one volume
  int64_t images_in = 0;                   // of the whole series
  int64_t images_used = 0;                 // of this volume
  std::vector<SetAside> set_aside;         // of the whole series; other volumes are not among them
  std::vector<std::string> split_by;       // what told the series' volumes apart
  double step_mm = 0;                      // between slices, from their positions
  double step_spread_mm = 0;               // the largest difference of a gap from the step
  double direction_determinant = 0;        // 1: right-handed
  std::array<int64_t, 2> matrix = {0, 0};  // rows, columns
  int bits_stored = 0;
  std::string photometric;
  std::array<double, 2> slope_range = {1, 1};  // smallest and greatest of the slices
  std::array<double, 2> intercept_range = {0, 0};
  std::vector<std::string> transfer_syntaxes;
  friend bool operator==(const SeriesReport&, const SeriesReport&) = default;
};

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SERIES_REPORT_H_
