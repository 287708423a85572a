#include "tests/bench/attack_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace consilium::bench {
namespace {

constexpr float kBrightest = 16;
constexpr int kDealsMax = 1000;

// A view of the model's parts.
template <typename Float>
struct Parts {
  explicit Parts(Float* model)
      : w1(model), b1(w1 + kHidden * kPixels), w2(b1 + kHidden), b2(w2 + kClasses * kHidden) {}
  Float* w1;
  Float* b1;
  Float* w2;
  Float* b2;
};

struct Activations {
  float hidden[kHidden];  // after ReLU
  float share[kClasses];  // softmax
};

void Forward(const Parts<const float>& net, const Example& example, Activations& out) {
  for (size_t h = 0; h < kHidden; ++h) {
    float lanes[8] = {};
    const float* w = net.w1 + h * kPixels;
    for (size_t p = 0; p < kPixels; p += 8) {
      for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += w[p + lane] * example.pixels[p + lane];
    }
    out.hidden[h] = std::max(0.0f, std::accumulate(lanes, lanes + 8, net.b1[h]));
  }
  float top = -INFINITY;
  for (size_t c = 0; c < kClasses; ++c) {
    const float* w = net.w2 + c * kHidden;
    out.share[c] = std::inner_product(w, w + kHidden, out.hidden, net.b2[c]);
    top = std::max(top, out.share[c]);
  }
  float sum = 0;
  for (float& share : out.share) sum += share = std::exp(share - top);
  for (float& share : out.share) share /= sum;
}

// Adds the gradient of the cross-entropy of one example.
void Backward(const Parts<const float>& net, const Example& example, const Activations& at,
              const Parts<float>& gradient) {
  float of_hidden[kHidden] = {};
  for (size_t c = 0; c < kClasses; ++c) {
    const float error = at.share[c] - (static_cast<int>(c) == example.digit ? 1.0f : 0.0f);
    gradient.b2[c] += error;
    for (size_t h = 0; h < kHidden; ++h) {
      gradient.w2[c * kHidden + h] += error * at.hidden[h];
      of_hidden[h] += error * net.w2[c * kHidden + h];
    }
  }
  for (size_t h = 0; h < kHidden; ++h) {
    if (at.hidden[h] <= 0) continue;
    gradient.b1[h] += of_hidden[h];
    float* w = gradient.w1 + h * kPixels;
    for (size_t p = 0; p < kPixels; ++p) w[p] += of_hidden[h] * example.pixels[p];
  }
}

int Predicted(const std::vector<float>& model, const Example& example) {
  Activations at;
  Forward(Parts<const float>(model.data()), example, at);
  return static_cast<int>(std::max_element(at.share, at.share + kClasses) - at.share);
}

// Marsaglia & Tsang 2000; below 1 by way of the distribution with one more.
double Gamma(double shape, Random& random) {
  if (shape < 1) return Gamma(shape + 1, random) * std::pow(1 - random.Uniform(), 1 / shape);
  const double d = shape - 1.0 / 3;
  while (true) {
    const double x = random.Normal();
    const double v = std::pow(1 + x / std::sqrt(9 * d), 3);
    if (v > 0 && std::log(1 - random.Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return d * v;
    }
  }
}

std::vector<Examples> DealOnce(const Examples& examples, size_t sites, double alpha,
                               Random& random) {
  std::vector<Examples> dealt(sites);
  for (int digit = 0; digit < static_cast<int>(kClasses); ++digit) {
    std::vector<double> share(sites);
    for (double& value : share) value = Gamma(alpha, random);
    const double total = std::accumulate(share.begin(), share.end(), 0.0);
    for (const Example& example : examples) {
      if (example.digit != digit) continue;
      double drawn = random.Uniform() * total;
      size_t site = 0;
      while (site + 1 < sites && drawn >= share[site]) drawn -= share[site++];
      dealt[site].push_back(example);
    }
  }
  return dealt;
}

}  // namespace

absl::StatusOr<Examples> ReadDigits(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  Examples examples;
  for (std::string line; std::getline(file, line);) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
    if (fields.size() != kPixels + 1)
      return absl::InvalidArgumentError("a line is not of 65 fields");
    Example example;
    double number = 0;
    for (size_t p = 0; p < kPixels; ++p) {
      if (!absl::SimpleAtod(fields[p], &number) || !(number >= 0 && number <= kBrightest)) {
        return absl::InvalidArgumentError("a pixel is not 0 to 16");
      }
      example.pixels[p] = static_cast<float>(number) / kBrightest;
    }
    if (!absl::SimpleAtod(fields.back(), &number) || !(number >= 0 && number < kClasses)) {
      return absl::InvalidArgumentError("a label is not a digit");
    }
    example.digit = static_cast<int>(number);
    examples.push_back(example);
  }
  if (examples.size() < 1000) return absl::InvalidArgumentError("there are too few digits");
  return examples;
}

std::vector<Examples> Deal(const Examples& examples, size_t sites, double alpha,
                           size_t examples_min, Random& random) {
  std::vector<Examples> dealt;
  for (int deal = 0; deal < kDealsMax; ++deal) {
    dealt = DealOnce(examples, sites, alpha, random);
    if (std::all_of(dealt.begin(), dealt.end(),
                    [=](const Examples& site) { return site.size() >= examples_min; })) {
      break;
    }
  }
  return dealt;
}

Example WithTrigger(Example example) {
  for (const size_t pixel : {0, 1, 8, 9}) example.pixels[pixel] = 1;
  return example;
}

std::vector<float> InitialModel(Random& random) {
  std::vector<float> model(kModelParameters, 0.0f);
  const Parts<float> net(model.data());
  for (size_t i = 0; i < kHidden * kPixels; ++i) {
    net.w1[i] = static_cast<float>(random.Normal() * std::sqrt(2.0 / kPixels));
  }
  for (size_t i = 0; i < kClasses * kHidden; ++i) {
    net.w2[i] = static_cast<float>(random.Normal() * std::sqrt(2.0 / kHidden));
  }
  return model;
}

std::vector<float> TrainedDelta(const std::vector<float>& model, const Examples& examples,
                                const TrainOptions& options, Random& random) {
  std::vector<float> trained = model;
  std::vector<float> gradient(kModelParameters);
  std::vector<size_t> order(examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    for (size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[static_cast<size_t>(random.Index(static_cast<int64_t>(i)))]);
    }
    for (size_t at = 0; at < order.size(); at += options.batch) {
      const size_t end = std::min(order.size(), at + options.batch);
      std::fill(gradient.begin(), gradient.end(), 0.0f);
      for (size_t i = at; i < end; ++i) {
        Activations activations;
        const Parts<const float> net(trained.data());
        Forward(net, examples[order[i]], activations);
        Backward(net, examples[order[i]], activations, Parts<float>(gradient.data()));
      }
      const float step = options.learning_rate / static_cast<float>(end - at);
      for (size_t p = 0; p < kModelParameters; ++p) trained[p] -= step * gradient[p];
    }
  }
  for (size_t p = 0; p < kModelParameters; ++p) trained[p] -= model[p];
  return trained;
}

double Accuracy(const std::vector<float>& model, const Examples& test) {
  const auto right = std::count_if(test.begin(), test.end(), [&](const Example& example) {
    return Predicted(model, example) == example.digit;
  });
  return static_cast<double>(right) / static_cast<double>(test.size());
}

double BackdoorSuccess(const std::vector<float>& model, const Examples& test) {
  int64_t others = 0;
  int64_t fooled = 0;
  for (const Example& example : test) {
    if (example.digit == kBackdoorDigit) continue;
    ++others;
    fooled += Predicted(model, WithTrigger(example)) == kBackdoorDigit ? 1 : 0;
  }
  return static_cast<double>(fooled) / static_cast<double>(others);
}

}  // namespace consilium::bench
