#include "training/loop/local_layers.h"

#include <algorithm>
#include <stdexcept>

namespace consilium::training {
namespace {

// Patterns come with a study's plan, so from outside.
constexpr size_t kPatternsMax = 256;
constexpr size_t kPatternBytesMax = 256;

[[noreturn]] void Refuse(const std::string& reason) {
  throw std::invalid_argument("local_layers: " + reason);
}

// Only the last '*' seen needs another try: an earlier one that takes more cannot make a match
// that the later one could not.
bool Matches(std::string_view name, std::string_view pattern) {
  constexpr size_t kNone = std::string_view::npos;
  size_t n = 0, p = 0, star = kNone, star_end = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_end = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != kNone) {
      p = star + 1;
      n = ++star_end;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool IsLocal(std::string_view name, std::span<const std::string> patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return Matches(name, pattern); });
}

void CheckLocalLayers(std::span<const std::string> names, std::span<const std::string> patterns) {
  if (patterns.empty()) return;
  if (patterns.size() > kPatternsMax) {
    Refuse(std::to_string(patterns.size()) + " patterns, at most " + std::to_string(kPatternsMax));
  }
  for (size_t i = 0; i < patterns.size(); ++i) {
    const std::string& pattern = patterns[i];
    if (pattern.empty() || pattern.size() > kPatternBytesMax) {
      Refuse("pattern " + std::to_string(i) + " has " + std::to_string(pattern.size()) +
             " characters, must have 1.." + std::to_string(kPatternBytesMax));
    }
    if (std::none_of(names.begin(), names.end(),
                     [&](const std::string& name) { return Matches(name, pattern); })) {
      Refuse("pattern " + std::to_string(i) + " matches no parameter");
    }
  }
  if (std::all_of(names.begin(), names.end(),
                  [&](const std::string& name) { return IsLocal(name, patterns); })) {
    Refuse("every parameter is local, nothing is shared");
  }
}

std::vector<NamedArray> WithOwnLocal(const std::vector<NamedArray>& global,
                                     const std::vector<NamedArray>& own,
                                     std::span<const std::string> patterns) {
  std::vector<NamedArray> merged = global;
  if (own.empty()) return merged;
  size_t next = 0;
  for (NamedArray& array : merged) {
    if (!IsLocal(array.name, patterns)) continue;
    if (next == own.size() || own[next].name != array.name) {
      throw std::invalid_argument("weights: own array " + std::to_string(next) + " must be " +
                                  array.name);
    }
    array = own[next++];
  }
  if (next != own.size()) {
    throw std::invalid_argument("weights: " + std::to_string(own.size()) + " own arrays where " +
                                std::to_string(next) + " are local");
  }
  return merged;
}

}  // namespace consilium::training
