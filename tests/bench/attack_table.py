#!/usr/bin/env python3
"""Fetches handwritten digits and runs attack_sim on them: hostile sites against the robust rules.

    attack_table.py --bin build/check/tests/bench/attack_sim [--digits FILE] [--seeds N] [--alpha A]
                    [--rounds N]

The digits are the 1,797 pictures of 8x8 pixels of the test part of "Optical Recognition of Handwritten
Digits" (E. Alpaydin, C. Kaynak; UCI Machine Learning Repository), as Debian's package python3-sklearn
carries them. Taken, in this order, from --digits (digits.csv or digits.csv.gz), from that package if it
is installed, or from the package's file, which `apt-get download` fetches without installing it.
Nothing is kept. Standard library only. The exit status is attack_sim's; 77: no digits to be had.
"""
import argparse
import gzip
import pathlib
import subprocess
import sys
import tempfile

IN_PACKAGE = "usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"
PACKAGE = "python3-sklearn"
NO_DIGITS = 77


def from_archive(folder):
    """The compressed digits out of the package's file, or None."""
    fetched = subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, capture_output=True)
    files = list(pathlib.Path(folder).glob(f"{PACKAGE}_*.deb"))
    if fetched.returncode != 0 or not files:
        return None
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", files[0]], capture_output=True)
    out = subprocess.run(["tar", "-xO", f"./{IN_PACKAGE}"], input=tar.stdout, capture_output=True)
    return out.stdout if out.returncode == 0 else None


def digits_csv(given, folder):
    """The digits as text, with where they came from; (None, None) if there are none."""
    source = pathlib.Path(given) if given else pathlib.Path("/") / IN_PACKAGE
    if source.is_file():
        data = source.read_bytes()
    elif given:
        return None, None
    else:
        source, data = f"package {PACKAGE}", from_archive(folder)
        if data is None:
            return None, None
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data), source


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--digits")
    for number in ("--seeds", "--alpha", "--rounds"):
        parser.add_argument(number)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, source = digits_csv(arguments.digits, folder)
        if data is None:
            print("attack_table: no digits: give --digits, or install or make reachable "
                  f"Debian's {PACKAGE}", file=sys.stderr)
            return NO_DIGITS
        print(f"digits of {source}", flush=True)
        path = pathlib.Path(folder) / "digits.csv"
        path.write_bytes(data)
        command = [arguments.bin, str(path)]
        for name in ("seeds", "alpha", "rounds"):
            value = getattr(arguments, name)
            if value is not None:
                command += [f"--{name}", value]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
