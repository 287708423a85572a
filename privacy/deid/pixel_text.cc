#include "privacy/deid/pixel_text.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "privacy/deid/element_text.h"
#include "privacy/deid/pixel_data.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr int kRoundsMax = 4;
// Frames that are looked at: a cine of thousands has its text in all of them.
constexpr size_t kFramesLookedAtMax = 64;

}  // namespace

absl::StatusOr<Pictures> Pictures::Open(DcmDataset& dataset) {
  CSL_ASSIGN_OR_RETURN(const PixelShape shape, ShapeOf(dataset));
  Pictures pictures(dataset);
  const std::string colours = TextOf(dataset, DCM_PhotometricInterpretation);
  if ((shape.allocated != 8 && shape.allocated != 16) || shape.high_bit + 1 != shape.stored ||
      colours == "YBR_FULL_422" || absl::StartsWith(colours, "YBR_PARTIAL")) {
    return absl::UnimplementedError("pixels in which text cannot be looked for");
  }
  pictures.rows_ = shape.rows;
  pictures.columns_ = shape.columns;
  pictures.samples_ = shape.samples;
  pictures.frames_ = shape.frames;
  pictures.wide_ = shape.allocated == 16;
  pictures.is_signed_ = shape.is_signed;
  pictures.ybr_ = absl::StartsWith(colours, "YBR");
  pictures.mask_ = static_cast<uint16_t>((1u << shape.stored) - 1);
  Uint16 planar = 0;
  (void)dataset.findAndGetUint16(DCM_PlanarConfiguration, planar);
  pictures.planar_ = shape.samples > 1 && planar == 1;
  const size_t count = shape.rows * shape.columns * shape.samples * shape.frames;
  unsigned long there = 0;
  const Uint16* words = nullptr;
  const Uint8* bytes = nullptr;
  if (pictures.wide_ ? dataset.findAndGetUint16Array(DCM_PixelData, words, &there).bad()
                     : dataset.findAndGetUint8Array(DCM_PixelData, bytes, &there).bad()) {
    return absl::UnimplementedError("pixels in which text cannot be looked for");
  }
  if (there < count) return absl::InvalidArgumentError("the pixel data is shorter than the image");
  if (pictures.wide_) pictures.samples_of_all_.assign(words, words + count);
  if (!pictures.wide_) pictures.samples_of_all_.assign(bytes, bytes + count);
  if (colours == "MONOCHROME1") pictures.black_ = pictures.mask_;
  // The smallest signed value; for MONOCHROME1 the largest.
  if (shape.is_signed) pictures.black_ ^= static_cast<uint16_t>(1u << (shape.stored - 1));
  if (colours == "PALETTE COLOR") CSL_RETURN_IF_ERROR(pictures.ReadPalette());
  return pictures;
}

absl::Status Pictures::ReadPalette() {
  std::vector<int> sum;
  for (const DcmTagKey& key :
       {DCM_RedPaletteColorLookupTableData, DCM_GreenPaletteColorLookupTableData,
        DCM_BluePaletteColorLookupTableData}) {
    const Uint16* values = nullptr;
    unsigned long count = 0;
    if (dataset_.findAndGetUint16Array(key, values, &count).bad() || count == 0) {
      return absl::UnimplementedError("a palette that cannot be read");
    }
    sum.resize(sum.empty() ? count : std::min<size_t>(sum.size(), count));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  const auto [low, high] = std::minmax_element(sum.begin(), sum.end());
  black_ = static_cast<uint16_t>(low - sum.begin());
  for (const int value : sum) {
    palette_.push_back(static_cast<uint8_t>((value - *low) * 255LL / std::max(1, *high - *low)));
  }
  return absl::OkStatus();
}

uint16_t Pictures::Sample(size_t frame, size_t pixel, size_t sample) const {
  const size_t pixels = rows_ * columns_, base = frame * pixels * samples_;
  return samples_of_all_[base + (planar_ ? sample * pixels + pixel : pixel * samples_ + sample)];
}

int Pictures::Luminance(size_t frame, size_t pixel) const {
  const uint16_t first = Sample(frame, pixel, 0) & mask_;
  if (!palette_.empty()) return palette_[std::min<size_t>(first, palette_.size() - 1)];
  if (samples_ >= 3 && !ybr_) {
    // The brightest channel counts as well, or blue letters would be nearly black.
    const int green = Sample(frame, pixel, 1), blue = Sample(frame, pixel, 2);
    return (first + green + blue) / 3 + std::max({static_cast<int>(first), green, blue});
  }
  const int sign = (mask_ >> 1) + 1;
  return is_signed_ && (first & sign) != 0 ? first - 2 * sign : first;
}

GreyFrame Pictures::Grey(size_t frame) const {
  GreyFrame grey{static_cast<int>(rows_), static_cast<int>(columns_), {}};
  std::vector<int> values(rows_ * columns_);
  for (size_t i = 0; i < values.size(); ++i) values[i] = Luminance(frame, i);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const int64_t base = *low, range = std::max(1, *high - *low);
  grey.values.reserve(values.size());
  for (const int value : values) {
    grey.values.push_back(static_cast<uint8_t>((value - base) * 255 / range));
  }
  return grey;
}

std::vector<PixelBox> Pictures::Text() const {
  std::vector<PixelBox> boxes;
  const size_t step = std::max<size_t>(1, frames_ / kFramesLookedAtMax);
  for (size_t frame = 0; frame < frames_; frame += step) {
    for (const PixelBox& box : FindText(Grey(frame))) {
      if (std::find(boxes.begin(), boxes.end(), box) == boxes.end()) boxes.push_back(box);
    }
  }
  return boxes;
}

bool Pictures::ShowText() const { return !Text().empty(); }

void Pictures::Fill(const PixelBox& box) {
  const size_t pixels = rows_ * columns_;
  for (size_t frame = 0; frame < frames_; ++frame) {
    for (int row = box.row; row < box.row + box.rows; ++row) {
      for (int column = box.column; column < box.column + box.columns; ++column) {
        const size_t pixel = static_cast<size_t>(row) * columns_ + static_cast<size_t>(column);
        for (size_t sample = 0; sample < samples_; ++sample) {
          const size_t at = frame * pixels * samples_ +
                            (planar_ ? sample * pixels + pixel : pixel * samples_ + sample);
          // No colour lies in the middle of the range.
          samples_of_all_[at] = ybr_ && sample > 0 ? (mask_ >> 1) + 1 : black_;
        }
      }
    }
  }
}

absl::Status Pictures::BlackOut(const std::vector<const PixelRule*>& rules, DeidReport& report) {
  const int rows = static_cast<int>(rows_), columns = static_cast<int>(columns_);
  ++report.pictures_blackened;
  for (const PixelRule* const rule : rules) {
    for (const PixelBox& box : BoxesOf(*rule, rows, columns)) Fill(box);
    ++report.pixel_rules[rule->name];
  }
  if (const auto outside = OutsideUltrasoundRegions(dataset_, rows, columns); outside.has_value()) {
    for (const PixelBox& box : *outside) Fill(box);
    ++report.pixel_rules[kUltrasoundRegionsRule];
  }
  for (int round = 0; round < kRoundsMax; ++round) {
    const std::vector<PixelBox> boxes = Text();
    if (boxes.empty()) return Store();
    for (const PixelBox& box : boxes) Fill(box);
  }
  return absl::FailedPreconditionError("text that could not be blackened");
}

absl::Status Pictures::Store() {
  // What the header says of the pixels' range may be that of the letters.
  for (const DcmTagKey& key : {DCM_SmallestImagePixelValue, DCM_LargestImagePixelValue}) {
    delete dataset_.remove(key);
  }
  std::vector<Uint8> bytes;
  if (!wide_) {
    for (const uint16_t value : samples_of_all_) bytes.push_back(static_cast<Uint8>(value));
    if (bytes.size() % 2 != 0) bytes.push_back(0);
  }
  const bool stored =
      wide_ ? dataset_
                  .putAndInsertUint16Array(DCM_PixelData, samples_of_all_.data(),
                                           samples_of_all_.size())
                  .good()
            : dataset_.putAndInsertUint8Array(DCM_PixelData, bytes.data(), bytes.size()).good();
  return stored ? absl::OkStatus() : absl::InternalError("the pixels cannot be written");
}

}  // namespace consilium::privacy
