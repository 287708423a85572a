// A stream of random words that repeats, for tests only: whoever knows the seed can take the noise
// off again.
#ifndef CONSILIUM_PRIVACY_DP_TEST_RANDOM_STREAM_H_
#define CONSILIUM_PRIVACY_DP_TEST_RANDOM_STREAM_H_

#include <cstdint>

#include "privacy/dp/random_stream.h"

namespace consilium::dp {

RandomStream SeededRandomStream(uint64_t seed);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_TEST_RANDOM_STREAM_H_
