// Arithmetic with 113 bits, for the one decision in billions that 53 bits cannot make, and for
// tables of probabilities. Slow. Internal to the samplers. Pure functions; thread-safe.
#ifndef CONSILIUM_PRIVACY_DP_WIDE_H_
#define CONSILIUM_PRIVACY_DP_WIDE_H_

#include <cfloat>

namespace consilium::dp {

#if LDBL_MANT_DIG >= 113
using Wide = long double;
#else
using Wide = __float128;
#endif

// Relative error below 2^-105 for |x| up to 200, here and below.
Wide WideExp(Wide x);
// REQUIRES: x > 0 and within the range of double.
Wide WideLog(Wide x);

}  // namespace consilium::dp

#endif  // CONSILIUM_PRIVACY_DP_WIDE_H_
