// A small grey picture of a frame, as PNG.
#ifndef CONSILIUM_PRIVACY_DEID_THUMBNAIL_H_
#define CONSILIUM_PRIVACY_DEID_THUMBNAIL_H_

#include <string>

#include "privacy/deid/text_regions.h"

namespace consilium::privacy {

// At most 1024 pixels a side, each the brightest of the pixels that it stands for: thin letters stay
// legible. Privacy: shows what the picture shows.
std::string ThumbnailPng(const GreyFrame& frame);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_THUMBNAIL_H_
