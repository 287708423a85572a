// What a site's software can do, and what a study needs of it.
//
// A site names its capabilities in Hello. One that names none is of the first release, which could do
// what kEveryCapability lists; a name that is not known here is left out. Pure functions.
#ifndef CONSILIUM_COORDINATOR_ROUND_CAPABILITIES_H_
#define CONSILIUM_COORDINATOR_ROUND_CAPABILITIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/round/study.h"

namespace consilium::coordinator {

inline constexpr uint32_t kCanSeal = 1;        // "sealed"
inline constexpr uint32_t kCanUnet = 2;        // "unet"
inline constexpr uint32_t kCanMeanTeacher = 4;  // "mean_teacher"
inline constexpr uint32_t kCanMask = 8;              // "secure-aggregation"
inline constexpr uint32_t kCanDpSgd = 16;            // "dp-sgd"
inline constexpr uint32_t kCanDpSite = 32;           // "dp-site"
inline constexpr uint32_t kCanFedProx = 64;          // "fedprox"
inline constexpr uint32_t kCanScaffold = 128;        // "scaffold"
inline constexpr uint32_t kCanLocalLayers = 256;     // "local-layers"
inline constexpr uint32_t kCanPersonalModel = 512;   // "personal-model"
inline constexpr uint32_t kCanChannels = 1024;       // "channels"
// Of the first release.
inline constexpr uint32_t kEveryCapability = kCanSeal | kCanUnet | kCanMeanTeacher;

uint32_t CapabilitiesOf(const std::vector<std::string>& names);
uint32_t CapabilitiesNeeded(const StudySpec& spec);
// "its software cannot: mean_teacher; upgrade the agent"; empty: nothing is lacking.
std::string LackingText(uint32_t needed, uint32_t has);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_CAPABILITIES_H_
