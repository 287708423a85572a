# Sourced by deploy/demo and deploy/test: what Consilium needs from Debian 12, and how to get it.

# What building and running needs.
CONSILIUM_PACKAGES=(
  ca-certificates cmake ninja-build g++ ccache pkg-config
  libtorch-dev libopenblas0-pthread
  libinsighttoolkit5-dev libdcmtk-dev dcmtk libgdcm-tools libopenjp2-7-dev
  libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  librocksdb-dev libabsl-dev libssl-dev zlib1g-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libcpp-httplib-dev prometheus-cpp-dev libhpdf-dev
  jq openssl bsdextrautils python3
)
# What the tests use to check our output with somebody else's programs.
CONSILIUM_TEST_PACKAGES=(
  dicom3tools python3 python3-torch python3-numpy python3-pydicom python3-nibabel python3-scipy
  python3-yaml prometheus rsyslog rsyslog-gnutls libxml2-utils systemd podman runc poppler-utils
  libfaketime iproute2 libopenjp2-tools orthanc orthanc-dicomweb curl
  clang-14 libclang-rt-14-dev
)

step() { printf '\n== %s\n' "$*"; }

# Installs those of the named packages that are missing. Needs root, or sudo.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  step "Installing ${#missing[@]} Debian packages"
  local run=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "Run this as root once, or install: ${missing[*]}" >&2
      exit 2
    }
    run=(sudo)
  fi
  local log
  log=$(mktemp)
  if ! { "${run[@]}" apt-get update -q &&
         "${run[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get failed; the packages needed are: ${missing[*]}" >&2
    rm -f "$log"
    exit 3
  fi
  rm -f "$log"
}

# Configures and builds the tree at $1 into $2 (further arguments go to cmake); all of it, or what
# build_targets names.
build_targets=()
build_tree() {
  local source=$1 build=$2
  shift 2
  step "Building (the first time takes up to 25 minutes on two cores)"
  cmake -S "$source" -B "$build" -G Ninja "$@" >"$build.configure.log" 2>&1 || {
    tail -n 40 "$build.configure.log" >&2
    exit 5
  }
  # Every tenth of the way; the whole output is in the log, and its end is shown on a failure.
  if ! ninja -C "$build" "${build_targets[@]}" 2>&1 | tee "$build.build.log" | awk -F'[][/]' '
      /^\[[0-9]+\/[0-9]+\]/ && int(10 * $2 / $3) > tenth {
        tenth = int(10 * $2 / $3); printf "build: %d of %d steps\n", $2, $3; fflush()
      }'; then
    grep -A 15 -E '^FAILED|error:' "$build.build.log" | head -n 60 >&2
    exit 5
  fi
}
