// Pixel data of exactly the length and the bits that the image has.
#ifndef CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_
#define CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_

#include "absl/status/status.h"
#include "privacy/deid/deidentifier.h"
#include "privacy/deid/patient_tokens.h"

class DcmDataset;

namespace consilium::privacy {

// FAILED_PRECONDITION: signs of text in the picture (screen captures, colour, BurnedInAnnotation).
// That there are none is no proof; the marker BurnedInAnnotation is never set here.
absl::Status CheckPixelsMayStay(DcmDataset& dataset, SecondaryImages secondary);

// Decodes what DCMTK can decode, so that no comment of a codec stays; cuts native pixels to rows x
// columns x samples x frames x bits and clears what lies outside the stored bits. JPEG 2000 stays
// encoded, cut behind its last end marker, with an empty offset table. Counts in
// report.hidden_bytes_dropped.
// INVALID_ARGUMENT: pixels absent or shorter than the image, or bits that contradict each other.
// UNIMPLEMENTED: encoding not covered. FAILED_PRECONDITION: a token inside encoded pixels.
absl::Status ExactPixels(DcmDataset& dataset, const PatientTokens& tokens, DeidReport& report);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_PIXEL_DATA_H_
