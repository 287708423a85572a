#!/usr/bin/python3
"""`consilium-agent patient` on a home: who is used, who is not any more, and what is left of whom.

    patients_test.py --bin BUILD/bin [unittest arguments]

Needs pydicom and numpy of Debian; exits with 77 (skipped) where one is absent.
"""
import argparse
import fcntl
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
BIN = None
PEOPLE = {"QX-4711": "Lovelace^Ada", "QX-0815": "Hopper^Grace", "QX-1234": "Noether^Emmy"}


def write_series(folder, patient, name):
    import numpy
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    folder.mkdir(parents=True)
    study, series, frame = (pydicom.uid.generate_uid() for _ in range(3))
    for i in range(6):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.is_little_endian, image.is_implicit_VR = True, False
        image.SOPClassUID, image.SOPInstanceUID = (meta.MediaStorageSOPClassUID,
                                                   meta.MediaStorageSOPInstanceUID)
        image.PatientID, image.PatientName = patient, name
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID, image.Modality = frame, "MR"
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        image.StudyDate, image.InstanceNumber = "20200101", i + 1
        image.ImagePositionPatient = [0, 0, 2.0 * i]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [1, 1], 2
        image.Rows = image.Columns = 16
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelRepresentation = 0
        image.PixelData = (numpy.arange(256, dtype=numpy.uint16) * (i + 1)).tobytes()
        image.save_as(folder / f"{i}.dcm", write_like_original=False)


class PatientsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-patients-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.home = self.folder / "home"
        for patient, name in PEOPLE.items():
            write_series(self.folder / "archive" / patient, patient, name)

    def agent(self, *arguments, code=0):
        done = subprocess.run([BIN / "consilium-agent", *map(str, arguments)], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, code, done.stderr[-2000:])
        return done

    def patient(self, command, *arguments, code=0):
        done = self.agent("patient", command, "--home", self.home, "--output", "json", *arguments,
                          code=code)
        return json.loads(done.stdout) if done.stdout else None

    def ingest(self):
        return json.loads(self.agent("ingest", "--home", self.home, self.folder / "archive",
                                     "--output", "json").stdout)

    def catalog(self):
        return json.loads(self.agent("catalog", "--home", self.home, "--output", "json").stdout)

    def list_of(self, *patients):
        path = self.folder / "list.txt"
        path.write_text("# as the archive has them\n" + "\n".join(patients) + "\n")
        return path

    def assert_nobody_is_named(self):
        for path in self.home.rglob("*"):
            if not path.is_file():
                continue
            content = path.read_bytes() + path.name.encode()
            for words in PEOPLE.items():
                for word in words:
                    self.assertNotIn(word.encode(), content, path)

    def test_an_objection_holds_for_what_comes_and_for_what_is_there(self):
        self.patient("opt-out", "--ids", self.list_of("QX-4711"))
        report = self.ingest()
        self.assertEqual(report["cases_added"], 2)
        self.assertEqual(report["rejected"]["opted_out"]["files"], 6)
        marked = self.patient("opt-out", "--ids", self.list_of("QX-0815"), "--whole")
        self.assertEqual((len(marked["marked"]), len(marked["cleared"])), (1, 1))
        states = [item["reason"] for item in self.catalog()["found"]["series"]]
        self.assertEqual(sorted(states), ["", "opted_out", "opted_out"])  # one of before, one in the store
        self.assertEqual(self.ingest()["cases_added"], 1)  # whose objection was taken back
        self.assert_nobody_is_named()

    def test_consent_does_not_undo_an_objection(self):
        self.patient("opt-out", "--id", "QX-4711")
        self.agent("patient", "policy", "--home", self.home, "consented")
        given = self.patient("consent", "--ids", self.list_of("QX-4711", "QX-0815"))
        self.assertEqual((len(given["marked"]), given["kept_out"]), (1, 1))
        report = self.ingest()
        self.assertEqual(report["cases_added"], 1)
        self.assertEqual(report["rejected"]["no_consent"]["series"], 1)
        self.patient("consent", "--ids", self.list_of("QX-1234\tSome Issuer"), code=2)
        self.assert_nobody_is_named()

    def test_a_deleted_patient_is_gone_and_stays_out(self):
        self.ingest()
        ada = ("--id", "QX-4711")
        before = self.patient("forget", *ada)
        self.assertEqual(len(before[0]["cases"]), 1)
        self.assertEqual(len(self.catalog()["cases"]), 3)  # nothing was deleted
        (self.home / "store" / ".lock").touch()
        with open(self.home / "store" / ".lock") as lock:  # as an ingest that runs
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.patient("forget", *ada, "--yes", code=2)
            self.assertEqual(len(self.patient("list")["being_forgotten"]), 1)
        listed = self.patient("list")  # whatever command comes next finishes it
        self.assertEqual(listed["being_forgotten"], [])
        name = before[0]["patient"]
        self.assertEqual(listed["patients"], {name: "forgotten"})
        self.assertEqual(len(self.catalog()["cases"]), 2)
        report = self.ingest()
        self.assertEqual((report["cases_added"], report["already_in_store"]), (0, 2))
        self.assertEqual(report["rejected"]["forgotten"]["files"], 6)
        left = [path for path in self.home.rglob("*")
                if path.is_file() and name.encode() in path.read_bytes()]
        self.assertEqual({path.relative_to(self.home).parts[0] for path in left},
                         {"log", "patients.json"})
        events = json.loads(self.agent("audit", "show", "--home", self.home, "--output",
                                       "json").stdout)
        about = [event["action"] for event in events if event.get("request") == name]
        self.assertEqual(about, ["patient.forget", "patient.forgotten"])
        self.assertEqual(self.patient("consent", *ada)["kept_out"], 1)
        self.patient("clear", *ada)
        self.assertEqual(self.ingest()["cases_added"], 1)
        self.assert_nobody_is_named()

    def test_a_damaged_register_stops_everything(self):
        self.ingest()
        self.patient("opt-out", "--id", "QX-4711")
        (self.home / "patients.json").write_text("{")
        for command in ("ingest", "catalog"):
            paths = [self.folder / "archive"] if command == "ingest" else []
            self.agent(command, "--home", self.home, *paths, code=5)


def main():
    global BIN
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    options, rest = parser.parse_known_args()
    BIN = options.bin.resolve()
    try:
        import numpy  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as missing:
        print(f"skipped: {missing}")
        return SKIPPED
    return 0 if unittest.main(argv=[sys.argv[0], *rest], exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
