#include "proto/base/heap.h"

#include <malloc.h>

namespace consilium {
namespace {

constexpr int kPoolsMax = 4;

}  // namespace

void BoundHeapPools() { ::mallopt(M_ARENA_MAX, kPoolsMax); }

void ReturnFreeHeap() { ::malloc_trim(0); }

}  // namespace consilium
