#include "training/testing/parity.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace consilium::training {
namespace {

uint64_t Fnv1a(const std::string& text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001B3u;
  return hash;
}

double FormulaValue(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return 2.0 * (static_cast<double>(z >> 40) * 0x1p-24) - 1.0;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The integers or doubles of the bracket list that follows `key` from `from` on.
std::vector<double> ListAfter(const std::string& text, const std::string& key, size_t from) {
  size_t at = text.find(key, from);
  if (at == std::string::npos) throw std::runtime_error("oracle has no " + key);
  at = text.find('[', at);
  std::vector<double> values;
  while (text[at] != ']') {
    char* end = nullptr;
    values.push_back(std::strtod(text.c_str() + at + 1, &end));
    at = static_cast<size_t>(end - text.c_str());
    while (text[at] != ',' && text[at] != ']') ++at;
  }
  return values;
}

}  // namespace

at::Tensor FormulaTensor(const std::string& name, at::IntArrayRef shape, double scale,
                         double offset) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  const uint64_t seed = Fnv1a(name);
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] =
        static_cast<float>(offset + scale * FormulaValue(seed, static_cast<uint64_t>(i)));
  }
  return tensor;
}

at::Tensor FormulaParameter(const std::string& net, const std::string& name,
                            at::IntArrayRef shape) {
  const std::string full = net + "/" + name;
  if (shape.size() == 1 && name.ends_with("bias")) return FormulaTensor(full, shape, 0.1);
  if (shape.size() == 1) return FormulaTensor(full, shape, 0.2, 1.0);
  int64_t fan_in = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) fan_in *= shape[axis];
  return FormulaTensor(full, shape, std::sqrt(3.0 / static_cast<double>(fan_in)));
}

double FormulaDot(const at::Tensor& tensor, const std::string& name) {
  const at::Tensor flat = tensor.detach().contiguous();
  const float* values = flat.data_ptr<float>();
  const uint64_t seed = Fnv1a(name);
  double sum = 0;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    sum += values[i] * FormulaValue(seed, static_cast<uint64_t>(i));
  }
  return sum;
}

std::optional<std::string> ParityFolder() {
  const std::string folder = std::string(CONSILIUM_SHARED_DIR) + "/data/parity";
  if (!std::filesystem::exists(folder + "/manifest.json")) return std::nullopt;
  return folder;
}

at::Tensor ExpectedTensor(const std::string& folder, const std::string& name) {
  const std::string bytes = ReadAll(folder + "/expected_small.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const std::string header = bytes.substr(8, header_bytes);
  const size_t entry = header.find("\"" + name + "\"");
  if (entry == std::string::npos) throw std::runtime_error("oracle has no " + name);
  std::vector<int64_t> shape;
  for (double n : ListAfter(header, "\"shape\"", entry)) shape.push_back(std::llround(n));
  const std::vector<double> offsets = ListAfter(header, "\"data_offsets\"", entry);
  const char* data = bytes.data() + 8 + header_bytes + static_cast<size_t>(offsets[0]);
  const std::string description = header.substr(entry, header.find('}', entry) - entry);
  const bool is_float = description.find("F32") != std::string::npos;
  at::Tensor raw = at::empty(shape, is_float ? at::kFloat : at::kByte);
  std::memcpy(raw.data_ptr(), data, static_cast<size_t>(offsets[1] - offsets[0]));
  return raw.to(at::kFloat);
}

std::vector<double> ExpectedGradient(const std::string& folder, const std::string& net,
                                     const std::string& name) {
  static const std::string manifest = ReadAll(folder + "/manifest.json");
  const size_t entry = manifest.find("\"" + net + "\":");
  const size_t gradients = manifest.find("\"grads\"", entry);
  return ListAfter(manifest, "\"" + name + "\"", gradients);
}

}  // namespace consilium::training
