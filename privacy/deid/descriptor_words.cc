#include "privacy/deid/descriptor_words.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace consilium::privacy {
namespace {

// Sequences, anatomy, orientation and what a study's labels are called; no word that is a usual name.
constexpr absl::string_view kWords[] = {
    "2d", "3d", "4d", "abd", "abdomen", "abdominal", "ac", "acq", "acquisition", "adc", "adrenal",
    "after", "aif", "anatomic", "aneurysm", "angio", "angiography", "ankle", "anterior", "anus",
    "aorta", "aortic", "ap", "apex", "apical", "arm", "arterial", "artery", "asl", "atlas",
    "atrium", "automatic", "ax", "axial", "axis", "b0", "b1000", "b30f", "b400", "b50", "b500",
    "b70f", "b800", "background", "basal", "baseline", "bh", "bilateral", "biliary", "bladder",
    "bold", "bone", "boneplus", "bowel", "brain", "breast", "breath", "bronchi", "bronchus",
    "bssfp", "c1", "calcium", "canal", "cardiac", "carotid", "caudate", "cavity", "cbf", "cbv",
    "cerebellum", "cerebral", "cervical", "chest", "cine", "ciss", "cisternogram", "clavicle",
    "cm", "cns", "colon", "combined", "composed", "consolidation", "contour", "contours",
    "contrast", "control", "cor", "cord", "core", "coronal", "coronary", "corpus", "correction",
    "cortex", "cranial", "ct", "cta", "ctv", "cube", "curved", "cyst", "dce", "deep", "deg",
    "delay", "delayed", "den", "derived", "detail", "diastole", "difference", "diffusion", "disc",
    "dixon", "dorsal", "dose", "dti", "duodenum", "dwi", "dynamic", "echo", "ed", "edema", "edge",
    "effusion", "elbow", "ellipsoid", "endocardium", "enh", "enhanced", "enhancement", "enhancing",
    "ep2d", "epi", "es", "esophagus", "external", "extremity", "eye", "fast", "fat", "fatsat",
    "fb", "fbp", "femoral", "femur", "fh", "fiducial", "field", "fiesta", "fissure", "fl2d",
    "fl3d", "flair", "flash", "flow", "fluid", "fmri", "foot", "forearm", "fov", "frame",
    "frontal", "fs", "fse", "full", "gallbladder", "gated", "gd", "ggo", "gland", "glioma",
    "gradient", "grappa", "gray", "gre", "gross", "ground", "gtv", "gyrus", "hand", "haste",
    "head", "heart", "hemorrhage", "hepatic", "hf", "high", "hilum", "hip", "hippocampus", "hires",
    "hole", "hr", "humerus", "hz", "imag", "image", "images", "in", "index", "infarct", "inferior",
    "inner", "inph", "internal", "inv1", "inv2", "inversion", "iodine", "ir", "is", "ischemia",
    "iso", "iv", "jaw", "joint", "kernel", "kidney", "kidneys", "knee", "kv", "label", "labels",
    "lacune", "larynx", "lat", "lateral", "left", "leg", "lens", "lesion", "lesions", "lge",
    "like", "liver", "lobe", "lobule", "localizer", "long", "low", "lower", "lr", "lumbar",
    "lumen", "lung", "lungs", "lymph", "m0", "ma", "mag", "magnitude", "main", "manual", "map",
    "mask", "matter", "maxilla", "mean", "medial", "median", "mediastinum", "medium", "middle",
    "mip", "mitral", "mm", "moco", "motion", "mpgr", "mpr", "mprage", "mr", "mra", "mrcp", "mri",
    "ms", "multi", "muscle", "myocardium", "nac", "native", "neck", "necrosis", "necrotic",
    "nerve", "node", "nodes", "nodule", "noise", "non", "none", "normal", "nuclei", "obl",
    "oblique", "occipital", "opacity", "opp", "optic", "orbit", "organ", "organs", "outer",
    "ovary", "pa", "pancreas", "parallel", "parenchyma", "parietal", "parotid", "pathology",
    "pcasl", "pd", "pdw", "pelvis", "perfusion", "peripheral", "pet", "pha", "phantom", "phase",
    "phs", "pituitary", "plain", "plaque", "pons", "portal", "position", "post", "postcontrast",
    "posterior", "pre", "precontrast", "prep", "prostate", "proton", "psif", "ptv", "pulmonary",
    "putamen", "qsm", "quick", "radius", "real", "recon", "rectum", "reference", "reformat",
    "reformatted", "region", "renal", "resolution", "rest", "resting", "rib", "ribs", "right",
    "rl", "roi", "rot", "routine", "sacrum", "sag", "sagittal", "scan", "scout", "se", "seg",
    "segment", "segmentation", "sense", "sequence", "series", "sharp", "short", "shoulder", "si",
    "single", "sinus", "skin", "skull", "slab", "slice", "small", "smooth", "soft", "space",
    "spair", "spc", "spgr", "sphere", "spin", "spinal", "spine", "spir", "spleen", "ssfp", "stack",
    "standard", "std", "stem", "sternum", "stir", "stomach", "stress", "stroke", "study",
    "subtraction", "sulcus", "superior", "surface", "survey", "swan", "swi", "symmetry", "system",
    "t1", "t1w", "t2", "t2star", "t2w", "tab", "tagging", "tail", "task", "te", "temporal",
    "tendon", "test", "tfl", "thalamus", "thick", "thigh", "thin", "thoracic", "thorax",
    "thrombus", "thymus", "thyroid", "ti", "tibia", "time", "tirm", "tissue", "tof", "tongue",
    "tonsil", "total", "tr", "tra", "trace", "trachea", "trans", "transversal", "transverse",
    "trufi", "trunk", "truth", "tse", "tube", "tumor", "tumour", "turbo", "ulna", "ultrasound",
    "uni", "upper", "ureter", "urethra", "uterus", "vagina", "valve", "vein", "venous", "ventral",
    "ventricle", "ventricles", "vertebra", "vertebrae", "vessel", "vessels", "vibe", "view",
    "vitreous", "vol", "volume", "water", "wb", "weighted", "white", "whole", "window", "with",
    "without", "wo", "wrist", "zone",
};
static_assert(std::is_sorted(std::begin(kWords), std::end(kWords)));

constexpr size_t kNumberDigitsMax = 2;

bool IsKnown(absl::string_view word, const std::vector<std::string>& vocabulary) {
  if (std::binary_search(std::begin(kWords), std::end(kWords), word)) return true;
  if (std::find(vocabulary.begin(), vocabulary.end(), word) != vocabulary.end()) return true;
  const size_t digits = static_cast<size_t>(
      std::find_if_not(word.begin(), word.end(), absl::ascii_isdigit) - word.begin());
  if (digits == 0 || digits > kNumberDigitsMax) return false;
  // "3mm": a short number and its unit.
  return digits == word.size() ||
         std::binary_search(std::begin(kWords), std::end(kWords), word.substr(digits));
}

}  // namespace

std::string CleanDescriptor(absl::string_view text, const std::vector<std::string>& vocabulary,
                            const PatientTokens& tokens) {
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const auto is_part = [&](size_t at) {
      // What is not ASCII belongs to its word, so that no part of a name is taken for a word.
      const auto c = static_cast<unsigned char>(text[at]);
      return absl::ascii_isalnum(c) || c >= 0x80;
    };
    size_t end = begin;
    while (end < text.size() && is_part(end)) ++end;
    const absl::string_view word = text.substr(begin, end - begin);
    begin = end + (end == begin ? 1 : 0);
    if (word.empty() || !IsKnown(absl::AsciiStrToLower(word), vocabulary) || tokens.Hits(word)) {
      continue;
    }
    absl::StrAppend(&kept, kept.empty() ? "" : " ", word);
  }
  return kept;
}

}  // namespace consilium::privacy
