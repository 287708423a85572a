// Tells the volumes apart that one series holds: echoes, phases, time points, b-values.
// Pure: reads no file.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_SERIES_SPLIT_H_
#define CONSILIUM_SITE_AGENT_IMAGING_SERIES_SPLIT_H_

#include <string>
#include <vector>

#include "site_agent/imaging/slice_reader.h"

namespace consilium::imaging {

struct SeriesPart {
  std::vector<Slice> slices;
  std::string words;           // "echo 2 of 3, trigger time 1 of 20"; empty: nothing to tell
  std::vector<SplitKey> keys;  // what was split by, in order
};

// The slices by one key, in the order of its values (numbers as numbers).
std::vector<std::vector<Slice>> GroupBy(std::vector<Slice> slices, SplitKey key);

// Echo, temporal position and diffusion always split. Image type and contrast agent split where
// images of one position differ in them. Trigger time, acquisition number and acquisition time
// split by their order where every position has the same number of images, all different in it;
// so does the instance number, where besides each volume's numbers end before the next one's begin.
// What cannot be told apart stays together, for StackSlices' caller to refuse.
std::vector<SeriesPart> SplitIntoVolumes(SeriesPart whole);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_SERIES_SPLIT_H_
