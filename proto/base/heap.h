// The allocator's own habits, where a program has promised how much memory it takes.
#ifndef CONSILIUM_PROTO_BASE_HEAP_H_
#define CONSILIUM_PROTO_BASE_HEAP_H_

namespace consilium {

// For main, before any thread: few pools. Each thread of a busy server would otherwise get one of its
// own, and each keeps what was freed in it.
void BoundHeapPools();

// Gives what was freed back to the system, from all pools: after a step that took much and before one
// whose memory counts. Thread-safe.
void ReturnFreeHeap();

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_HEAP_H_
