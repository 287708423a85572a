// Dice overlap of two label maps, by class. Std only: usable without LibTorch.
//
// Dice(c) = 2 |P_c and T_c| / (|P_c| + |T_c|)   (Dice 1945; Zou et al. 2004 for segmentation)
// Undefined, and NaN here, where neither map has a voxel of the class: there is nothing to agree
// on. 0 where only one of them has. Immutable inputs; safe to call from any number of threads.
#ifndef CONSILIUM_TRAINING_METRICS_DICE_H_
#define CONSILIUM_TRAINING_METRICS_DICE_H_

#include <cstdint>
#include <span>
#include <vector>

namespace consilium::training {

// One entry per class 1..classes-1 (background is left out), NaN where undefined.
// Throws std::invalid_argument where the maps differ in size, `classes` is not in 2..256, or a
// voxel's value is >= classes.
std::vector<double> DiceByClass(std::span<const uint8_t> prediction,
                                std::span<const uint8_t> truth, int64_t classes);

// Mean over the defined entries, NaN where none is. A prediction that misses a structure counts
// as 0; a structure neither side has does not count.
double MeanDefined(std::span<const double> values);

// The class of highest probability at each voxel, the lower class on a tie.
// `probabilities` is [classes][voxels]. Throws std::invalid_argument where its size is not a
// positive multiple of `classes`, or classes is not in 1..256.
std::vector<uint8_t> ArgmaxByVoxel(std::span<const float> probabilities, int64_t classes);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_METRICS_DICE_H_
