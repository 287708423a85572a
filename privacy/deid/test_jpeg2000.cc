#include "privacy/deid/test_jpeg2000.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/check.h"

namespace consilium::privacy {
namespace {

struct Sink {
  std::string bytes;
  size_t at = 0;
};

OPJ_SIZE_T Write(void* from, OPJ_SIZE_T count, void* user) {
  Sink& sink = *static_cast<Sink*>(user);
  sink.bytes.resize(std::max(sink.bytes.size(), sink.at + count));
  std::memcpy(sink.bytes.data() + sink.at, from, count);
  sink.at += count;
  return count;
}

OPJ_OFF_T Skip(OPJ_OFF_T count, void* user) {
  static_cast<Sink*>(user)->at += static_cast<size_t>(count);
  return count;
}

OPJ_BOOL Seek(OPJ_OFF_T to, void* user) {
  static_cast<Sink*>(user)->at = static_cast<size_t>(to);
  return OPJ_TRUE;
}

}  // namespace

TestPicture Patterned(TestPicture picture) {
  const int range = 1 << picture.precision, low = picture.is_signed ? -range / 2 : 0;
  for (int i = 0; i < picture.rows * picture.columns * picture.components; ++i) {
    const unsigned hash = static_cast<unsigned>(i) * 2654435761u;
    // Smooth with a little of everything, so that a lossy codec has something to keep.
    const int smooth = i / picture.components % picture.columns * range / picture.columns;
    const int noisy = static_cast<int>(hash >> 8) % range;
    picture.values.push_back(low + (i % 7 == 0 && !picture.lossy ? noisy : smooth));
  }
  return picture;
}

std::string EncodeJpeg2000(const TestPicture& picture) {
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.irreversible = picture.lossy ? 1 : 0;
  parameters.tcp_numlayers = 1;
  parameters.tcp_rates[0] = picture.lossy ? 10 : 0;
  parameters.cp_disto_alloc = 1;
  parameters.numresolution = 3;
  parameters.tcp_mct = picture.components == 3 ? 1 : 0;
  if (picture.tile > 0) {
    parameters.tile_size_on = OPJ_TRUE;
    parameters.cp_tdx = parameters.cp_tdy = picture.tile;
  }
  std::vector<opj_image_cmptparm_t> forms(static_cast<size_t>(picture.components));
  for (opj_image_cmptparm_t& form : forms) {
    form.dx = form.dy = 1;
    form.w = static_cast<OPJ_UINT32>(picture.columns);
    form.h = static_cast<OPJ_UINT32>(picture.rows);
    form.prec = static_cast<OPJ_UINT32>(picture.precision);
    form.sgnd = picture.is_signed ? 1 : 0;
  }
  opj_image_t* image = opj_image_create(static_cast<OPJ_UINT32>(forms.size()), forms.data(),
                                        forms.size() == 3 ? OPJ_CLRSPC_SRGB : OPJ_CLRSPC_GRAY);
  image->x1 = forms[0].w;
  image->y1 = forms[0].h;
  for (size_t i = 0; i < picture.values.size(); ++i) {
    image->comps[i % forms.size()].data[i / forms.size()] = picture.values[i];
  }
  Sink sink;
  opj_codec_t* codec = opj_create_compress(OPJ_CODEC_J2K);
  opj_stream_t* stream = opj_stream_create(1 << 16, OPJ_FALSE);
  opj_stream_set_user_data(stream, &sink, nullptr);
  opj_stream_set_write_function(stream, Write);
  opj_stream_set_skip_function(stream, Skip);
  opj_stream_set_seek_function(stream, Seek);
  CSL_CHECK(opj_setup_encoder(codec, &parameters, image) != OPJ_FALSE);
  CSL_CHECK(opj_start_compress(codec, image, stream) != OPJ_FALSE);
  CSL_CHECK(opj_encode(codec, stream) != OPJ_FALSE);
  CSL_CHECK(opj_end_compress(codec, stream) != OPJ_FALSE);
  opj_stream_destroy(stream);
  opj_destroy_codec(codec);
  opj_image_destroy(image);
  return sink.bytes;
}

void PutJpeg2000(const std::string& path, const TestPicture& picture, int frames,
                 const std::vector<std::string>& items) {
  DcmFileFormat file;
  CSL_CHECK(file.loadFile(path.c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  const auto put = [&](const DcmTagKey& key, int value) {
    CSL_CHECK(dataset.putAndInsertUint16(key, static_cast<Uint16>(value)).good());
  };
  put(DCM_Rows, picture.rows);
  put(DCM_Columns, picture.columns);
  put(DCM_SamplesPerPixel, picture.components);
  put(DCM_BitsAllocated, picture.precision > 8 ? 16 : 8);
  put(DCM_BitsStored, picture.precision);
  put(DCM_HighBit, picture.precision - 1);
  put(DCM_PixelRepresentation, picture.is_signed ? 1 : 0);
  CSL_CHECK(dataset.putAndInsertString(DCM_NumberOfFrames, std::to_string(frames).c_str()).good());
  const char* const colours = picture.components == 1 ? "MONOCHROME2"
                              : picture.lossy         ? "YBR_ICT"
                                                      : "YBR_RCT";
  CSL_CHECK(dataset.putAndInsertString(DCM_PhotometricInterpretation, colours).good());
  auto* sequence = new DcmPixelSequence(DcmTag(DCM_PixelData, EVR_OB));
  for (std::string bytes : items) {
    if (bytes.size() % 2 != 0) bytes += '\0';
    auto* item = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
    CSL_CHECK(
        item->putUint8Array(reinterpret_cast<const Uint8*>(bytes.data()), bytes.size()).good());
    CSL_CHECK(sequence->insert(item).good());
  }
  const E_TransferSyntax syntax = picture.lossy ? EXS_JPEG2000 : EXS_JPEG2000LosslessOnly;
  auto* pixels = new DcmPixelData(DCM_PixelData);
  pixels->putOriginalRepresentation(syntax, nullptr, sequence);
  CSL_CHECK(dataset.insert(pixels, /*replaceOld=*/OFTrue).good());
  CSL_CHECK(file.saveFile(path.c_str(), syntax).good());
}

}  // namespace consilium::privacy
