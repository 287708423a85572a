// Known places of text in the pictures of known devices.
//
// A rule says what a file's header must say, and which pixels are then blackened. There are rules
// of ours (pixel_rules.csv, compiled in), those of a site's profile, and what the standard lets
// ultrasound say of itself.
#ifndef CONSILIUM_PRIVACY_DEID_PIXEL_RULES_H_
#define CONSILIUM_PRIVACY_DEID_PIXEL_RULES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "privacy/deid/text_regions.h"

class DcmDataset;

namespace consilium::privacy {

extern const char* const kPixelRulesText;  // pixel_rules.csv

// In reports, of files whose ultrasound regions (0018,6011) were used.
inline constexpr const char* kUltrasoundRegionsRule = "ultrasound-regions";

struct PixelRule {
  std::string name = {};  // in reports: letters, digits, -_.
  // Empty or 0 asks for nothing. Texts are compared without case; `*` stands for any letters.
  std::string modality = {};
  std::string sop_class = {};
  std::string manufacturer = {};
  std::string model = {};
  std::string software = {};                 // one of SoftwareVersions
  std::vector<std::string> image_type = {};  // each one of ImageType
  int rows = 0;
  int columns = 0;
  // Bands along whole sides of the picture, in pixels.
  int top = 0;
  int bottom = 0;
  int left = 0;
  int right = 0;
  std::vector<PixelBox> blacken = {};
  std::vector<PixelBox> keep = {};  // where there are any, all outside of them is blackened
};

// INVALID_ARGUMENT: a rule that matches everything, that blackens nothing, or whose places do not
// lie in pictures of its rows and columns; in words that name the key.
absl::Status CheckPixelRule(const PixelRule& rule);

// The rules of ours. Thread-safe.
const std::vector<PixelRule>& BuiltInPixelRules();

// Those of `own` and of ours that the header of `dataset` matches. They point into `own`.
std::vector<const PixelRule*> MatchingPixelRules(DcmDataset& dataset,
                                                 const std::vector<PixelRule>& own);

// What `rule` blackens in a picture of this size.
std::vector<PixelBox> BoxesOf(const PixelRule& rule, int rows, int columns);

// What lies outside the regions of SequenceOfUltrasoundRegions (PS3.3 C.8.5.5), which hold the
// echoes; nullopt where the file has no such sequence. A region that makes no sense covers nothing.
std::optional<std::vector<PixelBox>> OutsideUltrasoundRegions(DcmDataset& dataset, int rows,
                                                              int columns);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PIXEL_RULES_H_
