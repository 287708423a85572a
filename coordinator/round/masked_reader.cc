#include "coordinator/round/masked_reader.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "coordinator/round/update_reader.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {

static_assert(std::endian::native == std::endian::little, "masked words are little-endian");

absl::StatusOr<MaskedReader> MaskedReader::Open(const std::string& path,
                                                const privacy::HpkeKeyPair& key,
                                                const privacy::SealContext& context,
                                                const secagg::PayloadHeader& expected) {
  CSL_ASSIGN_OR_RETURN(privacy::SealedReader sealed,
                       privacy::SealedReader::Open(path, key, context));
  if (sealed.plaintext_bytes() != expected.PayloadBytes()) {
    return absl::InvalidArgumentError(absl::StrCat("the masked update has ",
                                                   sealed.plaintext_bytes(), " bytes where ",
                                                   expected.PayloadBytes(), " belong"));
  }
  std::string head(secagg::kPayloadHeaderBytes, '\0');
  CSL_RETURN_IF_ERROR(ReadSealed(sealed, 0, head.data(), head.size()));
  CSL_ASSIGN_OR_RETURN(const secagg::PayloadHeader header, secagg::DecodePayloadHeader(head));
  if (!(header == expected)) {
    return absl::InvalidArgumentError(
        "the masked update is of another session than the round's: other keys, model or plan");
  }
  return MaskedReader(std::move(sealed), header);
}

template <typename Word>
absl::Status MaskedReader::ReadWords(uint64_t offset, absl::Span<Word> words) const {
  CSL_CHECK(header_.bits == 8 * sizeof(Word));
  if (offset > header_.words || words.size() > header_.words - offset) {
    return absl::OutOfRangeError("the block lies beyond the masked update's words");
  }
  return ReadSealed(sealed_, secagg::kPayloadHeaderBytes + offset * sizeof(Word),
                    reinterpret_cast<char*>(words.data()), words.size() * sizeof(Word));
}

absl::Status MaskedReader::Read(uint64_t offset, absl::Span<uint32_t> words) const {
  return ReadWords(offset, words);
}

absl::Status MaskedReader::Read(uint64_t offset, absl::Span<uint16_t> words) const {
  return ReadWords(offset, words);
}

uint64_t MaskedReader::BlockEnd(uint64_t begin, uint64_t end) const {
  const uint64_t size = header_.bits / 8;
  const uint64_t piece_end = (secagg::kPayloadHeaderBytes + end * size) /
                             privacy::kSealedPieceBytes * privacy::kSealedPieceBytes;
  if (end >= header_.words || piece_end <= secagg::kPayloadHeaderBytes) return end;
  const uint64_t best = (piece_end - secagg::kPayloadHeaderBytes) / size;
  return best > begin ? best : end;
}

absl::Status CheckMasked(const std::string& path, const privacy::HpkeKeyPair& key,
                         const privacy::SealContext& context,
                         const secagg::PayloadHeader& expected) {
  CSL_ASSIGN_OR_RETURN(const MaskedReader reader, MaskedReader::Open(path, key, context, expected));
  CSL_ASSIGN_OR_RETURN(const privacy::SealedReader sealed,
                       privacy::SealedReader::Open(path, key, context));
  std::string piece;
  for (uint64_t at = 0; at < sealed.pieces(); ++at) CSL_RETURN_IF_ERROR(sealed.Read(at, piece));
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
