#!/usr/bin/env bash
# The offline verifier has neither a store nor a network: neither RocksDB, gRPC nor protobuf among the
# libraries that it loads, directly or through others, and it is one program by itself.
set -euo pipefail
loaded=$(ldd "$1")
grep -q 'libcrypto' <<<"$loaded" || { echo "$1: ldd shows no libcrypto"; exit 1; }
if grep -iE 'librocksdb|libgrpc|libprotobuf|libcares|libssl|libcurl|libhpdf|libtorch|libITK|libdcm' <<<"$loaded"; then
  echo "$(basename "$1") links more than formats and cryptography"
  exit 1
fi
# And the check can fail: the coordinator does link them.
loaded=$(ldd "$2")
grep -q 'librocksdb\|libgrpc' <<<"$loaded" || { echo "$(basename "$2") links no gRPC?"; exit 1; }
