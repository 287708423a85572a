#include "privacy/crypto/aes_ctr.h"

#include <string>

#include "gtest/gtest.h"
#include "proto/base/bytes.h"

namespace consilium::privacy {
namespace {

std::string Read(AesCtr& stream, absl::string_view key, uint64_t offset, size_t size) {
  std::string out(size, 'x');
  stream.Start(key, offset);
  stream.Read(absl::MakeSpan(out));
  return out;
}

// AES-256 of the zero block under the zero key, from NIST's known answers (AESAVS).
TEST(AesCtrTest, FirstBlockOfTheZeroKeyIsTheKnownAnswer) {
  AesCtr stream;
  EXPECT_EQ(HexEncode(Read(stream, std::string(32, '\0'), 0, 16)),
            "dc95c078a2408989ad48a21492842087");
}

TEST(AesCtrTest, StartsAnywhereAndReadsInAnyPieces) {
  const std::string key(32, 'k');
  AesCtr stream;
  const std::string whole = Read(stream, key, 0, 200'000);
  for (const uint64_t offset : {uint64_t{16}, uint64_t{4096}, uint64_t{65536 + 32}}) {
    EXPECT_EQ(Read(stream, key, offset, 1000), whole.substr(offset, 1000)) << offset;
  }
  stream.Start(key, 0);
  std::string pieces(whole.size(), 'x');
  const absl::Span<char> out = absl::MakeSpan(pieces);
  stream.Read(out.subspan(0, 1));
  stream.Read(out.subspan(1, 99'999));
  stream.Read(out.subspan(100'000));
  EXPECT_EQ(pieces, whole);
}

TEST(AesCtrTest, CounterGoesBeyond32Bits) {
  const std::string key(32, 'k');
  AesCtr stream;
  const uint64_t edge = (uint64_t{1} << 32) * kAesCtrBlockBytes;
  const std::string across = Read(stream, key, edge - 16, 32);
  EXPECT_EQ(across.substr(16), Read(stream, key, edge, 16));
  EXPECT_NE(across.substr(16), Read(stream, key, 0, 16));
}

}  // namespace
}  // namespace consilium::privacy
