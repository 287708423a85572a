#include "training/data/augment.h"

#include <gtest/gtest.h>

namespace consilium::training {
namespace {

Augmenter::Sample Block(const SizeDhw& size) {
  Augmenter::Sample sample;
  sample.image = at::zeros({1, size[0], size[1], size[2]});
  sample.image.narrow(1, size[0] / 4, size[0] / 2)
      .narrow(2, size[1] / 4, size[1] / 2)
      .narrow(3, size[2] / 4, size[2] / 2)
      .fill_(1.0);
  sample.label = sample.image[0].to(at::kLong);
  return sample;
}

TEST(AugmentTest, WithoutAffineTheCentreIsKept) {
  AugmentOptions options;
  options.affine_probability = 0;
  Augmenter augmenter(options, 1);
  Augmenter::Sample in;
  in.image = at::arange(6 * 6 * 6, at::kFloat).view({1, 6, 6, 6});
  const Augmenter::Sample out = augmenter.Spatial(in, {4, 2, 6});
  EXPECT_TRUE(at::equal(out.image, in.image.narrow(1, 1, 4).narrow(2, 2, 2)));
  EXPECT_FALSE(out.label.defined());
}

TEST(AugmentTest, AffineOfNothingIsTheIdentity) {
  AugmentOptions options;
  options.affine_probability = 1;
  options.rotation_max_rad = 0;
  options.scale_min = options.scale_max = 1;
  Augmenter augmenter(options, 1);
  Augmenter::Sample in = Block({16, 20, 24});
  // Only the few per cent by axis are left, so the middle stays and the corners stay empty.
  const Augmenter::Sample out = augmenter.Spatial(in, {12, 16, 20});
  EXPECT_EQ(out.image.sizes(), at::IntArrayRef({1, 12, 16, 20}));
  EXPECT_TRUE(at::allclose(CentreCrop(out.image, {4, 6, 8}), at::ones({1, 4, 6, 8})));
  EXPECT_EQ(out.image[0][0][0][0].item<float>(), 0.0f);
}

TEST(AugmentTest, ImageAndLabelMoveTogether) {
  AugmentOptions options;
  options.affine_probability = 1;
  Augmenter augmenter(options, 2);
  for (int i = 0; i < 10; ++i) {
    const Augmenter::Sample out = augmenter.Spatial(Block({32, 32, 32}), {24, 24, 24});
    const at::Tensor image = out.image[0].gt(0.5);
    const at::Tensor label = out.label.gt(0);
    const double both = image.logical_and(label).sum().item<double>();
    const double dice = 2 * both / (image.sum().item<double>() + label.sum().item<double>());
    EXPECT_GT(dice, 0.9);
    // Scale changes the volume by at most its cube and the few per cent by axis.
    EXPECT_GT(label.sum().item<double>(), 4096 * 0.85 * 0.85 * 0.85 * 0.8);
    EXPECT_LT(label.sum().item<double>(), 4096 * 1.18 * 1.18 * 1.18 * 1.25);
  }
}

TEST(AugmentTest, OnlyAllowedAxesAreMirrored) {
  AugmentOptions options;
  options.affine_probability = 0;
  options.mirror_dhw = {false, true, false};
  Augmenter augmenter(options, 3);
  Augmenter::Sample in;
  in.image = at::arange(4 * 4 * 4, at::kFloat).view({1, 4, 4, 4});
  in.label = in.image[0].to(at::kLong);
  int flipped = 0;
  for (int i = 0; i < 40; ++i) {
    const Augmenter::Sample out = augmenter.Spatial(in, {4, 4, 4});
    EXPECT_TRUE(at::equal(out.image[0].to(at::kLong), out.label));
    if (at::equal(out.image, in.image)) continue;
    EXPECT_TRUE(at::equal(out.image, in.image.flip({2})));
    ++flipped;
  }
  EXPECT_GT(flipped, 8);
  EXPECT_LT(flipped, 32);
}

TEST(AugmentTest, IntensityChangesACopyFinitelyAndRepeatably) {
  AugmentOptions options;
  options.intensity_probability = 1;
  const at::Tensor images = at::randn({2, 1, 8, 8, 8});
  const at::Tensor before = images.clone();
  Augmenter a(options, 4), b(options, 4);
  const at::Tensor x = a.Intensity(images), y = b.Intensity(images);
  EXPECT_TRUE(at::equal(images, before));
  EXPECT_TRUE(at::equal(x, y));
  EXPECT_FALSE(at::equal(x, images));
  EXPECT_TRUE(at::isfinite(x).all().item<bool>());
  // A constant image has no range and no deviation.
  EXPECT_TRUE(at::isfinite(a.Intensity(at::ones({1, 1, 4, 4, 4}))).all().item<bool>());
}

TEST(AugmentTest, ChannelsChangeByThemselves) {
  AugmentOptions options;
  options.intensity_probability = 1;
  const at::Tensor images = at::randn({1, 2, 8, 8, 8});
  at::Tensor shifted = images.clone();
  shifted.narrow(1, 1, 1).add_(1000);
  Augmenter alone(options, 5), both(options, 5), other(options, 5);
  const at::Tensor first = alone.Intensity(images.narrow(1, 0, 1));
  EXPECT_TRUE(at::equal(both.Intensity(images).narrow(1, 0, 1), first));
  EXPECT_TRUE(at::equal(other.Intensity(shifted).narrow(1, 0, 1), first));
}

}  // namespace
}  // namespace consilium::training
