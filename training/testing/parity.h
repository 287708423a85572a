// Reads the parity oracle: numbers MONAI computed, and the closed formula its weights and inputs
// follow. For tests. The oracle is not part of the source tree; its README has the formula.
#ifndef CONSILIUM_TRAINING_TESTING_PARITY_H_
#define CONSILIUM_TRAINING_TESTING_PARITY_H_

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

namespace consilium::training {

// Value i is float32(offset + scale * v_i), v in [-1, 1) from FNV-1a and splitmix64 of `name`.
at::Tensor FormulaTensor(const std::string& name, at::IntArrayRef shape, double scale,
                         double offset = 0);

// A parameter of `net` by its MONAI name, with the offset and scale of its kind.
at::Tensor FormulaParameter(const std::string& net, const std::string& name,
                            at::IntArrayRef shape);

// sum(gradient * v) in double, v the formula's values of `name` with scale 1.
double FormulaDot(const at::Tensor& tensor, const std::string& name);

// The folder of the oracle, where it is there.
std::optional<std::string> ParityFolder();

// One tensor (F32 or U8, as float) of expected_small.safetensors in `folder`. Throws
// std::runtime_error where it is missing.
at::Tensor ExpectedTensor(const std::string& folder, const std::string& name);

// The two numbers of `"name": [a, b]` in the entry `net` of manifest.json, from its "grads".
std::vector<double> ExpectedGradient(const std::string& folder, const std::string& net,
                                     const std::string& name);

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_TESTING_PARITY_H_
