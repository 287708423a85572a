#!/usr/bin/python3
"""`consilium-agent deidentify` against files with identifiers in every place that we know of.

    deid_judge_test.py --bin BUILD/bin --shared DIR [--seed N] [unittest arguments]

Needs the DICOM corpus of the shared data, pydicom and numpy of Debian, and the tools of dcmtk, gdcm and
dicom3tools; exits with 77 (skipped), saying what is missing, where one is absent.
"""
import argparse
import io
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

from identity_search import DATES_BY_CHANCE, Searcher, identifiers, split_dates

SKIPPED = 77
BIN = SHARED = None
SEED = 1
TOOLS = ("dciodvfy", "dcmdjpeg", "dcmcjpeg", "dcmdrle", "dcmcrle", "dcmdjpls", "gdcmconv")


def deidentify(source, target, *options, check=True):
    report = target.parent / f"{target.name}.json"
    done = subprocess.run([BIN / "consilium-agent", "deidentify", source, target, "--report", report,
                           *options], capture_output=True)
    if check and done.returncode != 0:
        raise AssertionError(f"deidentify: {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done, report


class JudgeTest(unittest.TestCase):
    """One archive for all tests; each run of the tool is judged by all gates."""
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-deid-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        archive = cls.folder / "in"
        archive.mkdir()
        cls.archive = plant.Planter(SHARED / "dicom-corpus", archive, SEED).run()
        # Files a person has to look at, by what their headers say.
        cls.risky = {p.key for p in cls.archive.files if cls.is_risky(p)}

    @staticmethod
    def is_risky(planted):
        header = pydicom.dcmread(planted.path, stop_before_pixels=True)
        kind = str(header.SOPClassUID).removeprefix("1.2.840.10008.5.1.4.1.1.")
        screens = kind.split(".")[0] in ("1", "3", "6", "7", "12", "77")
        documents = kind.split(".")[0] in ("9", "11", "88", "104")
        return screens or documents or planted.banner is not None

    def run_tool(self, name, *options):
        target = self.folder / name
        done, report = deidentify(self.archive.folder, target, *options)
        outputs = judge.Outputs(self.archive, target)
        texts = {"stdout": done.stdout, "stderr": done.stderr, "report": report.read_bytes()}
        return outputs, texts, json.loads(report.read_text())

    def gates(self, outputs, texts, report, codes, changed_max):
        pictures, compared = judge.pictures(outputs, changed_max)
        findings = {"leaks": judge.leaks(outputs, texts), "links": judge.links(outputs),
                    "shifts": judge.shifts(outputs), "geometry": judge.geometry(outputs),
                    "pictures": pictures, "validity": judge.validity(outputs),
                    "markers": judge.markers(outputs, codes),
                    "accounts": judge.accounts(outputs, report)}
        self.assertGreater(compared, 25, "too few pictures were compared")
        wrong = {gate: sorted(set(found))[:12] for gate, found in findings.items() if found}
        self.assertEqual(wrong, {}, json.dumps(wrong, indent=1))

    def test_training_store_leaves_nothing_behind(self):
        outputs, texts, report = self.run_tool("hold")
        self.gates(outputs, texts, report, {"113100", "113105", "113107", "113108", "113111"}, 0)
        written = {planted.key for planted, _, _ in outputs.pairs}
        self.assertEqual({p.key for p in self.archive.files} - written - self.risky, set(),
                         "held back without need")
        self.assertEqual([p.key for p, _, _ in outputs.pairs if p.banner is not None], [])

    def test_blackout_releases_pictures_without_their_text(self):
        outputs, texts, report = self.run_tool("blackout", "--pixel-policy", "blackout")
        self.gates(outputs, texts, report, {"113100"}, 0.25)
        self.assertGreater(report["deidentification"]["pixel_rules"]["ultrasound-regions"], 0)
        released = {p.key for p, _, _ in outputs.pairs if p.banner is not None}
        banners = {p.key for p in self.archive.files if p.banner is not None}
        self.assertGreaterEqual(len(released), len(banners) - 3, f"of {len(banners)} banners")
        hidden = {p.key for p in self.archive.files if p.banner is not None and "JPEG 2000" in
                  pydicom.dcmread(p.path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name}
        self.assertGreaterEqual(len(hidden), 7)
        self.assertEqual(hidden - released, set(), "JPEG 2000 was held back")

    def test_the_judge_finds_what_a_copy_leaves(self):
        copy = self.folder / "copy"
        shutil.copytree(self.archive.folder, copy)
        outputs = judge.Outputs(self.archive, copy)
        self.assertGreaterEqual(len(judge.leaks(outputs, {})), len(outputs.paths) * 0.9)
        self.assertTrue(judge.links(outputs))
        self.assertTrue(judge.shifts(outputs))
        self.assertTrue(judge.markers(outputs, {"113100"}))
        self.assertTrue([w for w in judge.pictures(outputs, 0)[0] if "banner" in w])
        self.assertTrue([w for w in judge.pictures(outputs, 0)[0] if "behind" in w])

    def test_a_key_gives_the_same_names_for_ever_and_another_key_others(self):
        home = self.folder / "home"
        one, _, _ = self.run_tool("first", "--home", home)
        two, _, _ = self.run_tool("second", "--home", home)
        other, _, _ = self.run_tool("other")

        def identity(outputs):
            return {p.key: (str(d.PatientID), str(d.SOPInstanceUID), str(d.get("StudyDate")))
                    for p, _, d in outputs.pairs}
        self.assertEqual(identity(one), identity(two))
        apart = identity(other)
        for key, names in identity(one).items():
            self.assertNotEqual(names[0], apart[key][0])
            self.assertNotEqual(names[1], apart[key][1])


def processor_seconds():
    """Of the programs run so far: a busy machine makes none of them slower."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def hostile_streams(base):
    """Name -> file: a small JPEG 2000 picture, changed to claim what it does not have."""
    dataset = pydicom.dcmread(base)
    stream, = decode_data_sequence(dataset.PixelData)
    siz, cod, sot = (stream.index(bytes((0xFF, code))) for code in (0x51, 0x52, 0x90))

    def changed(at, value):
        return stream[:at] + value + stream[at + len(value):]

    def side(length):
        return length.to_bytes(4, "big")
    wide = side(65535)
    streams = {"tiles": changed(siz + 22, side(1) + side(1)), "layers": changed(cod + 6, b"\xff\xff"),
               "huge": changed(siz + 6, wide + wide)[:siz + 22] + wide + wide + stream[siz + 30:],
               "cut": stream[:len(stream) // 2], "part": changed(sot + 6, b"\x7f\xff\xff\xff"),
               "comments": stream[:sot] + b"\xff\x64\0\4\0\1" * 200_000 + stream[sot:]}
    for name, bytes_of_it in streams.items():
        dataset.Rows = dataset.Columns = 65535 if name == "huge" else 64
        dataset.PixelData = encapsulate([bytes_of_it])
        file = io.BytesIO()
        pydicom.dcmwrite(file, dataset)
        yield f"jpeg_2000_{name}.dcm", file.getvalue()


class HostileTest(unittest.TestCase):
    def verdict(self, path):
        """The account that the program gave of the file, which must be one."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            source = folder / "in"
            source.mkdir()
            shutil.copy(path, source)
            start = processor_seconds()
            done, report = deidentify(source, folder / "out", check=False)
            seconds = processor_seconds() - start
            self.assertIn(done.returncode, (0, 3), done.stderr[-500:])
            told = json.loads(report.read_text())
            self.assertEqual(told["files_written"] + sum(told["held_back"].values()), 1)
            self.assertLess(seconds, 2, "processor time, the program's start with it")
            self.assertEqual({p.name for p in folder.iterdir()}, {"in", "out", "out.json"})
            for written in (folder / "out").rglob("*.dcm"):
                data = written.read_bytes()
                self.assertNotEqual(data, path.read_bytes())
                self.assertEqual(data[:128], b"\0" * 128)
            return told

    def test_every_hostile_file_gets_a_verdict(self):
        before = {path for path in SHARED.rglob("*")}
        for path in sorted((SHARED / "dicom-corpus" / "generated" / "hostile").iterdir()):
            with self.subTest(path.name):
                self.verdict(path)
        self.assertEqual({path for path in SHARED.rglob("*")}, before)
        base = SHARED / "dicom-corpus" / "ts" / "MR_small_jp2klossless.dcm"
        with tempfile.TemporaryDirectory() as folder:
            for name, data in hostile_streams(base):
                path = pathlib.Path(folder) / name
                path.write_bytes(data)
                with self.subTest(name):
                    written = self.verdict(path)["files_written"]
                    self.assertEqual(written, 1 if "comments" in name else 0)
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"hostile files: peak {peak_mib:.0f} MiB", file=sys.stderr)
        self.assertLess(peak_mib, 256)


class HospitalTest(unittest.TestCase):
    def test_no_planted_identifier_of_a_hospital_is_left(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            subprocess.run([BIN / "consilium-phantom", folder / "hospitals", "--cases", "2,2,2,1"],
                           check=True, capture_output=True)
            for hospital in sorted((folder / "hospitals").iterdir()):
                values, dates = split_dates(identifiers(hospital / "phi.json"))
                searcher = Searcher(values)
                self.assertTrue(searcher.in_tree(hospital / "archive"))
                target = folder / f"out-{hospital.name}"
                done, report = deidentify(hospital / "archive", target)
                self.assertEqual(searcher.in_tree(target), {})
                self.assertEqual(searcher.in_bytes(done.stdout + report.read_bytes()), set())
                files = sum(path.is_file() for path in target.rglob("*"))
                self.assertLessEqual(len(Searcher(dates).in_tree(target)), files * DATES_BY_CHANCE)


def missing():
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    for module in ("pydicom", "numpy"):
        try:
            __import__(module)
        except ImportError:
            absent.append(f"python3-{module}")
    if not (SHARED / "dicom-corpus").is_dir():
        absent.append("the DICOM corpus of the shared data")
    return absent


def main():
    global BIN, SHARED, SEED, decode_data_sequence, encapsulate, judge, plant, pydicom
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    options, rest = parser.parse_known_args()
    BIN, SHARED, SEED = options.bin.resolve(), options.shared.resolve() / "data", options.seed
    absent = missing()
    if absent:
        print(f"skipped: {', '.join(absent)} missing")
        sys.exit(SKIPPED)
    import pydicom
    from pydicom.encaps import decode_data_sequence, encapsulate
    import deid_judge as judge
    import deid_judge_plant as plant
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
