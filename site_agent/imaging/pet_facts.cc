#include "site_agent/imaging/pet_facts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::imaging {
namespace {

constexpr double kDoseMinBq = 1e5;  // less was written in MBq
constexpr double kDoseMaxBq = 1e12;
constexpr double kWeightMinKg = 0.2;
constexpr double kWeightMaxKg = 700;
// A time of day without a date stands for the scan's day only where another day is out of question.
constexpr double kHalfLifeOfTimeOnlyS = 3 * 3600;
constexpr double kHalfLivesMax = 20;

// What has to be the same in all files.
struct FileFacts {
  std::string units, suv_type, decay_correction;
  std::string series_date, series_time;
  bool attenuation_corrected = false;
  bool decay_corrected = false;
  std::optional<double> weight_kg, dose_bq, half_life_s;
  size_t radiopharmaceuticals = 0;
  std::string start_datetime, start_time, zone;
  friend bool operator==(const FileFacts&, const FileFacts&) = default;
};

bool AllDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

// Seconds since 1970 of a date YYYYMMDD and a time HHMMSS with a fraction or without.
std::optional<double> Seconds(absl::string_view date, absl::string_view time) {
  constexpr size_t kTimeDigits = 6, kFractionMax = 7;
  if (date.size() != 8 || time.size() < kTimeDigits || !AllDigits(date) ||
      !AllDigits(time.substr(0, kTimeDigits))) {
    return std::nullopt;
  }
  double fraction = 0;
  const absl::string_view rest = time.substr(kTimeDigits);
  if (!rest.empty() &&
      (rest[0] != '.' || rest.size() > kFractionMax || !AllDigits(rest.substr(1)) ||
       !absl::SimpleAtod(absl::StrCat("0", rest, "0"), &fraction))) {
    return std::nullopt;
  }
  const auto number = [](absl::string_view digits) {
    int value = 0;
    return absl::SimpleAtoi(digits, &value) ? value : -1;
  };
  const std::array<int, 6> parts = {number(date.substr(0, 4)), number(date.substr(4, 2)),
                                    number(date.substr(6, 2)), number(time.substr(0, 2)),
                                    number(time.substr(2, 2)), number(time.substr(4, 2))};
  const absl::CivilSecond moment(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]);
  // A civil time takes month 13 for the next year's first; a header that says so says nothing.
  if (moment.month() != parts[1] || moment.day() != parts[2] || moment.hour() != parts[3] ||
      moment.minute() != parts[4]) {
    return std::nullopt;
  }
  return static_cast<double>(moment - absl::CivilSecond()) + fraction;
}

FileFacts FactsOf(DcmItem& dataset) {
  FileFacts facts;
  facts.units = Text(dataset, DCM_Units);
  facts.suv_type = Text(dataset, DCM_SUVType);
  facts.decay_correction = Text(dataset, DCM_DecayCorrection);
  facts.series_date = Text(dataset, DCM_SeriesDate);
  facts.series_time = Text(dataset, DCM_SeriesTime);
  for (const std::string& done : Texts(dataset, DCM_CorrectedImage)) {
    facts.attenuation_corrected |= done == "ATTN";
    facts.decay_corrected |= done == "DECY";
  }
  facts.weight_kg = Number(dataset, DCM_PatientWeight);
  facts.zone = Text(dataset, DCM_TimezoneOffsetFromUTC);
  const std::vector<DcmItem*> given =
      SequenceItems(dataset, DCM_RadiopharmaceuticalInformationSequence);
  facts.radiopharmaceuticals = given.size();
  if (given.size() == 1) {
    facts.dose_bq = Number(*given[0], DCM_RadionuclideTotalDose);
    facts.half_life_s = Number(*given[0], DCM_RadionuclideHalfLife);
    facts.start_datetime = Text(*given[0], DCM_RadiopharmaceuticalStartDateTime);
    facts.start_time = Text(*given[0], DCM_RadiopharmaceuticalStartTime);
  }
  return facts;
}

// Of the injection, on the clock of the series.
absl::StatusOr<double> InjectionSeconds(const FileFacts& facts) {
  constexpr size_t kDateDigits = 8;
  absl::string_view text = facts.start_datetime;
  if (text.empty()) {
    if (facts.start_time.empty()) return absl::InvalidArgumentError("no time of the injection");
    if (*facts.half_life_s > kHalfLifeOfTimeOnlyS) {
      return absl::InvalidArgumentError("no date of the injection");
    }
    const std::optional<double> at = Seconds(facts.series_date, facts.start_time);
    if (at) return *at;
    return absl::InvalidArgumentError("a time of the injection that cannot be read");
  }
  if (const size_t zone = text.find_first_of("+-"); zone != text.npos) {
    if (text.substr(zone) != facts.zone) {
      return absl::InvalidArgumentError("the injection's time is of another time zone");
    }
    text = text.substr(0, zone);
  }
  if (text.size() < kDateDigits) {
    return absl::InvalidArgumentError("a time of the injection that cannot be read");
  }
  const std::optional<double> at = Seconds(text.substr(0, kDateDigits), text.substr(kDateDigits));
  if (at) return *at;
  return absl::InvalidArgumentError("a time of the injection that cannot be read");
}

bool Between(const std::optional<double>& value, double low, double high) {
  return value && *value >= low && *value <= high;
}

// From injection to the moment that the images are decay-corrected to, the series' start.
absl::StatusOr<double> DecaySeconds(const FileFacts& facts,
                                    const std::optional<double>& first_acquisition) {
  const std::optional<double> series = Seconds(facts.series_date, facts.series_time);
  if (!series) return absl::InvalidArgumentError("no date and time of the series");
  if (!first_acquisition) return absl::InvalidArgumentError("images without a time");
  // Post-processing that makes a new series writes its own time there.
  if (*series > *first_acquisition) {
    return absl::InvalidArgumentError("the series' time is not that of its acquisition");
  }
  CSL_ASSIGN_OR_RETURN(const double injection, InjectionSeconds(facts));
  if (injection > *series) return absl::InvalidArgumentError("an injection after the scan");
  if (*series - injection > kHalfLivesMax * *facts.half_life_s) {
    return absl::InvalidArgumentError("an injection long before the scan");
  }
  return *series - injection;
}

absl::StatusOr<double> SuvFactor(const FileFacts& facts,
                                 const std::optional<double>& first_acquisition) {
  if (facts.units == "GML") {
    if (facts.suv_type.empty() || facts.suv_type == "BW") return 1;
    return absl::InvalidArgumentError("SUV of another type than body weight");
  }
  if (facts.units != "BQML") return absl::InvalidArgumentError("units that are not BQML");
  if (!facts.attenuation_corrected) {
    return absl::InvalidArgumentError("not corrected for attenuation");
  }
  if (!facts.decay_corrected) return absl::InvalidArgumentError("not corrected for decay");
  if (!Between(facts.weight_kg, kWeightMinKg, kWeightMaxKg)) {
    return absl::InvalidArgumentError("no weight of the patient");
  }
  if (facts.radiopharmaceuticals != 1) {
    return absl::InvalidArgumentError("not one radiopharmaceutical");
  }
  if (!Between(facts.dose_bq, kDoseMinBq, kDoseMaxBq)) {
    return absl::InvalidArgumentError("no total dose in Bq");
  }
  const double weight_g = *facts.weight_kg * 1000;
  if (facts.decay_correction == "ADMIN") return weight_g / *facts.dose_bq;
  if (facts.decay_correction != "START") {
    return absl::InvalidArgumentError("decay corrected to an unknown moment");
  }
  if (!Between(facts.half_life_s, 1, 1e9)) return absl::InvalidArgumentError("no half-life");
  CSL_ASSIGN_OR_RETURN(const double seconds, DecaySeconds(facts, first_acquisition));
  return weight_g / (*facts.dose_bq * std::exp2(-seconds / *facts.half_life_s));
}

std::string KnownUnits(const std::string& units) {
  for (const char* known : {"", "BQML", "GML", "CNTS"}) {
    if (units == known) return units;
  }
  return "other";
}

}  // namespace

absl::StatusOr<PetFacts> ReadPetFacts(const std::vector<std::string>& paths) {
  std::vector<FileFacts> files;
  std::vector<double> acquired;
  for (const std::string& path : paths) {
    CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
    CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
    files.push_back(FactsOf(*dataset));
    const std::optional<double> at =
        Seconds(Text(*dataset, DCM_AcquisitionDate), Text(*dataset, DCM_AcquisitionTime));
    if (at) acquired.push_back(*at);
  }
  if (files.empty()) return absl::InvalidArgumentError("no files");
  PetFacts result;
  result.units = KnownUnits(files.front().units);
  if (std::count(files.begin(), files.end(), files.front()) !=
      static_cast<std::ptrdiff_t>(files.size())) {
    result.suv_refusal = "images that disagree on unit, dose, weight or time";
    return result;
  }
  std::optional<double> first_acquisition;
  if (acquired.size() == files.size()) {
    first_acquisition = *std::min_element(acquired.begin(), acquired.end());
  }
  const absl::StatusOr<double> factor = SuvFactor(files.front(), first_acquisition);
  if (factor.ok()) {
    result.suv_factor = *factor;
  } else {
    result.suv_refusal = std::string(factor.status().message());
  }
  return result;
}

}  // namespace consilium::imaging
