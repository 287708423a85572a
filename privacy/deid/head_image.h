// Images from which a face could be rendered.
#ifndef CONSILIUM_PRIVACY_DEID_HEAD_IMAGE_H_
#define CONSILIUM_PRIVACY_DEID_HEAD_IMAGE_H_

#include <cstdint>

class DcmDataset;

namespace consilium::privacy {

// Why an image of CT, MR and the like is to be kept from those who might render a face (PS3.15
// E.3.2), in words without a value; nullptr where no face can be seen. By the header alone: voxels
// of 2 mm and more on a side show none; of finer ones those do that name the head or the neck
// anywhere, and those that name no part of the body at all. What a header does not say of its
// voxels counts as fine.
const char* FaceRisk(DcmDataset& header);

// Whether FaceRisk looks at an attribute of the data set itself.
bool DecidesAboutFace(uint32_t tag);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_HEAD_IMAGE_H_
