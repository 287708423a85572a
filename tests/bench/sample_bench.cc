// A series of the store to a prepared, cached case, against ITK that reads the same files and
// resamples them linearly to the same spacing: what a script would do. sample_bench.py makes the
// series.
//   sample_bench HOME --spacing 1.5
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "CLI/CLI.hpp"
#include "itkGDCMImageIO.h"
#include "itkGDCMSeriesFileNames.h"
#include "itkImageSeriesReader.h"
#include "itkMultiThreaderBase.h"
#include "itkResampleImageFilter.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/wire/plan.h"
#include "site_agent/intake/cohort.h"
#include "site_agent/intake/sample_cache.h"

namespace consilium {
namespace {

using Image = itk::Image<float, 3>;

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Image::Pointer ReadSeries(const std::string& folder) {
  auto names = itk::GDCMSeriesFileNames::New();
  names->SetDirectory(folder);
  auto reader = itk::ImageSeriesReader<Image>::New();
  reader->SetImageIO(itk::GDCMImageIO::New());
  reader->SetFileNames(names->GetInputFileNames());
  reader->Update();
  return reader->GetOutput();
}

Image::Pointer Resample(const Image& image, const Image::SpacingType& spacing) {
  Image::SizeType size;
  for (unsigned axis = 0; axis < 3; ++axis) {
    const double extent = static_cast<double>(image.GetLargestPossibleRegion().GetSize()[axis]) *
                          image.GetSpacing()[axis];
    size[axis] = static_cast<itk::SizeValueType>(std::max(1.0, extent / spacing[axis] + 0.5));
  }
  auto filter = itk::ResampleImageFilter<Image, Image>::New();  // linear by default
  filter->SetInput(&image);
  filter->SetOutputOrigin(image.GetOrigin());
  filter->SetOutputDirection(image.GetDirection());
  filter->SetOutputSpacing(spacing);
  filter->SetSize(size);
  filter->Update();
  return filter->GetOutput();
}

struct Case {
  std::string home;
  wire::Plan plan;
  agent::CohortCase item;
};

Case OpenHome(const std::string& home, double spacing_mm) {
  Case opened{home, {}, {}};
  opened.plan.study = "bench";
  opened.plan.modality = "CT";
  opened.plan.labels = {{.value = 1, .name = "Organ", .code = ""}};
  opened.plan.spacing_xyz_mm.fill(spacing_mm);
  const agent::Catalog catalog = agent::LoadCatalog(home).value();
  const agent::Cohort cohort = agent::SelectCohort(catalog, opened.plan).value();
  CSL_CHECK(!cohort.cases.empty());
  opened.item = cohort.cases.front();
  return opened;
}

// From the files in the store to the file in the cache.
double Ours(const Case& opened) {
  std::filesystem::remove_all(JoinPath(opened.home, "cache"));
  agent::SampleCache cache =
      agent::SampleCache::Open({.home = opened.home, .plan = opened.plan}).value();
  return Seconds([&] { CSL_CHECK(cache.Load(opened.item).ok()); });
}

double Itk(const Case& opened) {
  const std::string folder =
      JoinPath(agent::CaseFolder(opened.home, opened.item.record.case_id), "image");
  Image::SpacingType spacing;
  for (unsigned axis = 0; axis < 3; ++axis) spacing[axis] = opened.plan.spacing_xyz_mm[axis];
  return Seconds([&] {
    const Image::Pointer image = ReadSeries(folder);
    CSL_CHECK(Resample(*image, spacing)->GetBufferPointer() != nullptr);
  });
}

int Main(int argc, char** argv) {
  std::string home;
  double spacing_mm = 1.5;
  int rounds = 3;
  CLI::App app("A series to a cached sample, against ITK.", "sample_bench");
  app.add_option("HOME", home, "with a CT in its store")->required();
  app.add_option("--spacing", spacing_mm, "of the sample, in mm");
  app.add_option("--rounds", rounds, "of each; the best counts");
  CLI11_PARSE(app, argc, argv);
  const Case opened = OpenHome(home, spacing_mm);
  double ours = std::numeric_limits<double>::max(), itk[2] = {ours, ours};
  for (int round = 0; round < rounds; ++round) {
    ours = std::min(ours, Ours(opened));
    for (const int threads : {1, 2}) {
      itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(static_cast<unsigned>(threads));
      itk[threads - 1] = std::min(itk[threads - 1], Itk(opened));
    }
  }
  std::printf(
      "to a cached sample %.2f s; ITK, one thread, %.2f s (%.2f x); two threads %.2f s (%.2f x)\n",
      ours, itk[0], ours / itk[0], itk[1], ours / itk[1]);
  return 0;
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) { return consilium::Main(argc, argv); }
