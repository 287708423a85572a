#include "training/models/unet3d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "training/testing/parity.h"

namespace consilium::training {
namespace {

// Writes the oracle's weights into a network.
void UseFormulaWeights(Unet3d& network, const std::string& net) {
  at::NoGradGuard no_grad;
  for (const NamedTensor& parameter : network.parameters()) {
    parameter.tensor.detach().copy_(
        FormulaParameter(net, parameter.name, parameter.tensor.sizes()));
  }
}

TEST(Unet3dTest, ParametersAreNamedAndShapedAsInMonai) {
  const Unet3d network({}, 1, at::kCPU);
  const std::vector<NamedTensor>& p = network.parameters();
  // 4 levels: 4 + 3 blocks of 6, 3 transposed convolutions, the head.
  ASSERT_EQ(p.size(), 7u * 6 + 3 + 2);
  EXPECT_EQ(p[0].name, "input_block.conv1.conv.weight");
  EXPECT_EQ(p[0].tensor.sizes(), at::IntArrayRef({16, 1, 3, 3, 3}));
  EXPECT_EQ(p[2].name, "input_block.norm1.weight");
  EXPECT_EQ(p[6].name, "downsamples.0.conv1.conv.weight");
  EXPECT_EQ(p[18].name, "bottleneck.conv1.conv.weight");
  EXPECT_EQ(p[18].tensor.sizes(), at::IntArrayRef({128, 64, 3, 3, 3}));
  EXPECT_EQ(p[24].name, "upsamples.0.transp_conv.conv.weight");
  EXPECT_EQ(p[24].tensor.sizes(), at::IntArrayRef({128, 64, 2, 2, 2}));
  EXPECT_EQ(p[25].name, "upsamples.0.conv_block.conv1.conv.weight");
  EXPECT_EQ(p[25].tensor.sizes(), at::IntArrayRef({64, 128, 3, 3, 3}));
  EXPECT_EQ(p.back().name, "output_block.conv.conv.bias");
  EXPECT_EQ(p.back().tensor.sizes(), at::IntArrayRef({2}));
}

TEST(Unet3dTest, OutputHasTheInputsSizeWithUnequalStrides) {
  NetworkConfig config;
  config.in_channels = 2;
  config.classes = 5;
  config.features = {4, 6, 8};
  config.strides = {{1, 1, 1}, {1, 2, 2}, {2, 2, 2}};
  const Unet3d network(config, 1, at::kCPU);
  const at::Tensor out = network.Forward(at::randn({2, 2, 4, 8, 12}));
  EXPECT_EQ(out.sizes(), at::IntArrayRef({2, 5, 4, 8, 12}));
  EXPECT_EQ(TotalStride(config), (SizeDhw{2, 4, 4}));
}

// The oracle's DynUNet has deep supervision heads; they do not touch its main output, which is
// what is compared here. Its gradients do depend on them and are not.
TEST(Unet3dTest, ForwardEqualsMonaiDynUnet) {
  const auto folder = ParityFolder();
  if (!folder) GTEST_SKIP() << "no parity data";
  NetworkConfig config;
  config.classes = 3;
  config.features = {32, 64, 128, 256, 320};
  config.strides = {{1, 1, 1}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}, {2, 2, 2}};
  Unet3d network(config, 1, at::kCPU);
  UseFormulaWeights(network, "dynunet");
  for (const NamedTensor& p : network.parameters()) {
    EXPECT_EQ(ExpectedGradient(*folder, "dynunet", p.name).size(), 2u) << p.name;
  }
  at::NoGradGuard no_grad;
  const at::Tensor out = network.Forward(FormulaTensor("dynunet/input", {2, 1, 32, 32, 32}, 1));
  at::Tensor kept = out;
  for (int64_t axis = 2; axis < 5; ++axis) kept = kept.slice(axis, 0, kept.size(axis), 4);
  const at::Tensor expected = ExpectedTensor(*folder, "dynunet/out64_sub4");
  ASSERT_EQ(kept.sizes(), expected.sizes());
  const double difference = (kept - expected).abs().max().item<double>();
  RecordProperty("max_difference", std::to_string(difference));
  // MONAI's own float32 is 6.6e-6 from float64; the oracle allows four times that.
  EXPECT_LT(difference, 4 * 6.633e-6);
}

// Batches of one and of two, and passes with and without gradient, take different kernels.
TEST(Unet3dTest, BatchAndGradientModeDoNotChangeTheOutput) {
  const Unet3d network({}, 3, at::kCPU);
  const at::Tensor x = at::randn({2, 1, 16, 16, 16});
  const at::Tensor trained = network.Forward(x).detach();
  at::NoGradGuard no_grad;
  EXPECT_LT((network.Forward(x) - trained).abs().max().item<double>(), 2e-5);
  for (int64_t n = 0; n < 2; ++n) {
    const at::Tensor one = network.Forward(x.narrow(0, n, 1));
    EXPECT_LT((one[0] - trained[n]).abs().max().item<double>(), 2e-5);
  }
}

TEST(Unet3dTest, EqualSeedsGiveEqualWeights) {
  const auto a = ExportFrom(Unet3d({}, 5, at::kCPU));
  const auto b = ExportFrom(Unet3d({}, 5, at::kCPU));
  const auto c = ExportFrom(Unet3d({}, 6, at::kCPU));
  EXPECT_EQ(a[0].values, b[0].values);
  EXPECT_NE(a[0].values, c[0].values);
}

TEST(Unet3dTest, ImportOfAnExportRestoresIt) {
  Unet3d from({}, 5, at::kCPU), to({}, 6, at::kCPU);
  ImportInto(to, ExportFrom(from));
  const auto a = ExportFrom(from), b = ExportFrom(to);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].values, b[i].values);
}

TEST(Unet3dTest, ImportThatDoesNotFitChangesNothing) {
  Unet3d network({}, 5, at::kCPU);
  const auto before = ExportFrom(network);
  const auto good = ExportFrom(Unet3d({}, 6, at::kCPU));
  auto name = good, shape = good, count = good, values = good, nan = good;
  name.back().name = "other";
  shape.back().shape = {1, 2};
  count.pop_back();
  values.back().values.pop_back();
  nan.back().values[0] = std::numeric_limits<float>::quiet_NaN();
  for (const auto& bad : {name, shape, count, values, nan}) {
    EXPECT_THROW(ImportInto(network, bad), std::invalid_argument);
  }
  const auto after = ExportFrom(network);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].values, after[i].values);
}

TEST(Unet3dTest, ConfigurationsWithoutANetworkAreRefused) {
  NetworkConfig negative, classes, lengths, first, stride;
  negative.features[1] = -4;
  classes.classes = 1;
  lengths.strides.pop_back();
  first.strides[0] = {2, 2, 2};
  stride.strides[1] = {0, 2, 2};
  for (const NetworkConfig& config : {negative, classes, lengths, first, stride}) {
    EXPECT_THROW(Unet3d(config, 1, at::kCPU), std::invalid_argument);
  }
}

}  // namespace
}  // namespace consilium::training
