#!/usr/bin/env python3
"""A CT of 512 x 512 x 300 to a cached sample at 1.5 mm, against ITK (goal: twice its time at most).

    sample_bench.py SLICE --bin BUILD/bin --bench BUILD/tests/bench

SLICE is a native CT image of 512 x 512; the series is made of it, a slice every 1.25 mm.
"""
import argparse
import pathlib
import subprocess
import tempfile

import pydicom

def make_series(source, folder, slices):
    image = pydicom.dcmread(source)
    image.SeriesInstanceUID = pydicom.uid.generate_uid()
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for number in range(slices):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        image.InstanceNumber = number + 1
        image.ImagePositionPatient = [-170, -170, 1.25 * number]
        image.save_as(folder / f"{number}.dcm")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slice", type=pathlib.Path)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--bench", type=pathlib.Path, required=True)
    parser.add_argument("--slices", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consilium-sample-bench-") as name:
        folder = pathlib.Path(name)
        (folder / "archive").mkdir()
        make_series(options.slice, folder / "archive", options.slices)
        subprocess.run([options.bin / "consilium-agent", "ingest", "--home", folder / "home",
                        folder / "archive"], check=True)
        subprocess.run([options.bench / "sample_bench", folder / "home"], check=True)


if __name__ == "__main__":
    main()
