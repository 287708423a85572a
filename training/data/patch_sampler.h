// Draws training patches from cases: which case, and where in it. Std only.
//
// Two streams, labelled and unlabelled, each a shuffled pass over its cases (every case is seen
// once before any is seen twice). A patch of a labelled case is centred on a foreground voxel with
// a given probability, its class drawn evenly from those present (nnU-Net's oversampling), else
// lies anywhere. Where a volume is smaller than the patch it lies anywhere in the patch; outside
// is 0, the mean of a z-scored image, and background.
#ifndef CONSILIUM_TRAINING_DATA_PATCH_SAMPLER_H_
#define CONSILIUM_TRAINING_DATA_PATCH_SAMPLER_H_

#include <cstdint>
#include <random>
#include <vector>

#include "training/session.h"

namespace consilium::training {

struct Patch {
  SizeDhw size = {0, 0, 0};
  std::vector<float> image;    // channels * D * H * W
  std::vector<uint8_t> label;  // D * H * W, empty where the case has none
};

struct PatchSamplerOptions {
  int64_t channels = 1;
  int64_t classes = 2;
  SizeDhw patch = {0, 0, 0};  // the region the centre is chosen for
  SizeDhw crop = {0, 0, 0};   // what is cut out around that region's centre; >= patch
  double foreground_fraction = 0.5;
  std::vector<int64_t> cases;  // empty: all
};

// Copies `size` voxels from `first` on (may lie outside: 0 there) of a case.
Patch Crop(const Case& volume, int64_t channels, const SizeDhw& first, const SizeDhw& size);

// Throws std::invalid_argument where sizes do not fit, an intensity is not finite or a label is
// not below `classes`. Messages name voxel counts only.
void CheckCase(const Case& volume, int64_t channels, int64_t classes);

// Not thread-safe. Borrows `source`, which must outlive it. Equal seeds and sources give equal
// patches.
class PatchSampler {
 public:
  // Throws std::invalid_argument on an index outside the source or where no case is left.
  PatchSampler(CaseSource& source, const PatchSamplerOptions& options, uint64_t seed);

  bool has_labelled() const { return !labelled_.cases.empty(); }
  bool has_unlabelled() const { return !unlabelled_.cases.empty(); }

  // The next patch of a stream, which must not be empty. Loads one case.
  // Throws as CheckCase, and where a case said to be labelled has no label.
  Patch NextLabelled();
  Patch NextUnlabelled();

 private:
  struct Stream {
    std::vector<int64_t> cases;
    size_t next = 0;
  };

  int64_t NextCase(Stream& stream);
  SizeDhw ChooseFirst(const Case& volume);
  Patch Cut(const Case& volume);
  int64_t Uniform(int64_t low, int64_t high);  // both included
  void Shuffle(std::vector<int64_t>& cases);

  CaseSource& source_;
  PatchSamplerOptions options_;
  std::mt19937_64 random_;
  Stream labelled_;
  Stream unlabelled_;
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_DATA_PATCH_SAMPLER_H_
