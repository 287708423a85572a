// Which parameters stay at a site (FedBN, Li et al. 2021). IsLocal is in session.h. Std only.
#ifndef CONSILIUM_TRAINING_LOOP_LOCAL_LAYERS_H_
#define CONSILIUM_TRAINING_LOOP_LOCAL_LAYERS_H_

#include <span>
#include <string>
#include <vector>

#include "training/session.h"

namespace consilium::training {

// Throws std::invalid_argument where there are too many patterns, one is empty, too long or matches
// no name, or together they match all names and leave nothing to share.
void CheckLocalLayers(std::span<const std::string> names, std::span<const std::string> patterns);

// `global` with its local arrays replaced by `own`, which must be exactly these, in order, or be
// empty. Throws std::invalid_argument where a name is not the expected one; shapes and values are
// left for the network to check.
std::vector<NamedArray> WithOwnLocal(const std::vector<NamedArray>& global,
                                     const std::vector<NamedArray>& own,
                                     std::span<const std::string> patterns);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_LOOP_LOCAL_LAYERS_H_
