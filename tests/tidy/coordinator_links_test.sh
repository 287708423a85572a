#!/usr/bin/env bash
# The coordinator cannot look at a picture: no LibTorch, ITK, GDCM, DCMTK or OpenJPEG among the
# libraries that it or the CLI loads, directly or through others.
set -euo pipefail
for binary in "$@"; do
  loaded=$(ldd "$binary")
  grep -q 'librocksdb\|libgrpc' <<<"$loaded" || { echo "$binary: ldd shows no library of ours"; exit 1; }
  if grep -iE 'libtorch|libc10|libITK|libgdcm|libdcm|libofstd|libopenjp2' <<<"$loaded"; then
    echo "$(basename "$binary") links an imaging or training library"
    exit 1
  fi
done
# And the check can fail: the agent does link them.
loaded=$(ldd "$(dirname "$1")/consilium-agent-full")
grep -q libtorch <<<"$loaded" || { echo "consilium-agent-full links no LibTorch?"; exit 1; }
# What de-identifies starts without LibTorch: it costs a second and 150 MB.
loaded=$(ldd "$(dirname "$1")/consilium-agent")
if grep -i libtorch <<<"$loaded"; then
  echo "consilium-agent links LibTorch"
  exit 1
fi
