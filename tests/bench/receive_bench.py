#!/usr/bin/env python3
"""How fast `consilium-agent listen` takes images, beside dcmtk's own storescp in the same run.

    python3 tests/bench/receive_bench.py --bin build/check/bin [--dir /dev/shm] [--slices 500]

Sends the same CT slices of 530 KB with storescu to each in turn, TCP_NODELAY=1 everywhere, and prints
the medians and their ratio. The goal is 1.5 against storescp as it is; against `storescp +B`, which
looks at nothing that it writes, is for information. Needs Debian's dcmtk and python3-pydicom.
"""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

GOAL = 1.5
ENVIRONMENT = dict(os.environ, TCP_NODELAY="1")


def write_slices(folder, count):
    """CT slices 512 x 512 with some 180 private elements, as scanners write them."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
    os.makedirs(folder)
    for index in range(count):
        slice_ = Dataset()
        slice_.SOPClassUID = CTImageStorage
        slice_.SOPInstanceUID = f"2.25.77{index:06d}"
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "2.25.5", "2.25.6"
        slice_.PatientID, slice_.PatientName, slice_.Modality = "BENCH", "Bench^One", "CT"
        slice_.ImagePositionPatient = [0, 0, index]
        slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing = [0.7, 0.7]
        slice_.Rows = slice_.Columns = 512
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 1, 1
        slice_.PhotometricInterpretation = "MONOCHROME2"
        block = slice_.private_block(0x0009, "BENCH", create=True)
        for element in range(180):
            block.add_new(element, "LO", f"value {element}")
        slice_.PixelData = bytes(512 * 512 * 2)
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.is_little_endian, slice_.is_implicit_VR = True, False
        pydicom.dcmwrite(os.path.join(folder, f"{index:06d}.dcm"), slice_,
                         write_like_original=False)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, port):
    server = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        if server.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"{command[0]} does not listen")


def start_agent(binary, home, port):
    os.makedirs(home)
    with open(os.path.join(home, "dicom.yaml"), "w", encoding="utf-8") as file:
        file.write(f"listen: {{address: 127.0.0.1, port: {port}}}\n"
                   "quarantine: {settle: 1h}\n"
                   "peers: {bench: {ae_title: BENCH, host: 127.0.0.1}}\n")
    return start([os.path.join(binary, "consilium-agent"), "listen", "--home", home], port)


def send(port, folder):
    begin = time.monotonic()
    subprocess.run(["storescu", "-aet", "BENCH", "-aec", "CONSILIUM", "127.0.0.1", str(port),
                    "+sd", folder], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--dir", default="/dev/shm")
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="receive_bench", dir=arguments.dir)
    servers = {}
    try:
        slices = os.path.join(work, "slices")
        write_slices(slices, arguments.slices)
        ports = {}
        for name, more in (("storescp", []), ("storescp +B", ["+B"])):
            out = os.path.join(work, name.replace(" ", "_"))
            os.makedirs(out)
            ports[name] = free_port()
            servers[name] = start(["storescp", *more, "-od", out, str(ports[name])], ports[name])
        ports["listen"] = free_port()
        servers["listen"] = start_agent(arguments.bin, os.path.join(work, "home"),
                                        ports["listen"])
        seconds = {name: [] for name in ports}
        for _ in range(arguments.repeat):
            for name, port in ports.items():
                seconds[name].append(send(port, slices))
        print(f"{arguments.slices} slices, {arguments.repeat} times each")
        for name, times in seconds.items():
            print(f"{name:12} median {statistics.median(times):6.2f} s   "
                  f"from {min(times):.2f} to {max(times):.2f}")
        ratios = {name: statistics.median(seconds["listen"]) / statistics.median(seconds[name])
                  for name in ("storescp", "storescp +B")}
        best = min(seconds["listen"]) / min(seconds["storescp"])
        print(f"listen / storescp    {ratios['storescp']:.2f} (of the fastest {best:.2f}; "
              f"goal {GOAL})")
        print(f"listen / storescp +B {ratios['storescp +B']:.2f}")
        return 0 if ratios["storescp"] <= GOAL else 1
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
