// CSL_CHECK: an invariant of our own code. It stays on in production and ends the process, because
// a program that has lost an invariant must not go on to write to the store or send an update.
// Never for input: foreign bytes get an absl::Status.
#ifndef CONSILIUM_PROTO_BASE_CHECK_H_
#define CONSILIUM_PROTO_BASE_CHECK_H_

namespace consilium {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace consilium

#define CSL_CHECK(condition) \
  ((condition) ? (void)0 : ::consilium::CheckFailed(__FILE__, __LINE__, #condition))

#endif  // CONSILIUM_PROTO_BASE_CHECK_H_
