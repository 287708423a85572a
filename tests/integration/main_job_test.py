#!/usr/bin/python3
"""The main job with the real programs: train, be killed and go on, refuse, release, segment.

    main_job_test.py --bin BUILD/bin [--shared DIR] [unittest arguments]

One small federation is run for all tests of the class; each test then looks at one promise.
"""
import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

from federation import Federation, wait_for
from identity_search import DATES_BY_CHANCE, Searcher, identifiers, split_dates, wire_bytes

BIN = SHARED = None
STUDY = """
name: phantom
task: {labels: {1: Ellipsoid organ, 2: Curved tube}}
series: {modality: MR, rules: [{ImageType: "!LOCALIZER"}]}
plan: {features: [8, 16, 32], strides_xyz: [[1,1,1],[2,2,2],[2,2,2]], spacing_xyz_mm: [3, 3, 3],
       patch_xyz: [32, 40, 32], batch: 2, steps_per_round: 6}
aggregation: {min_sites: 3, unlabelled_after: 1}
protection: sealed
rounds: {count: 3, deadline: 10m, quorum: 2}
sites: {evaluators: [validation]}
evaluation: {every: 0}
"""
SITES = ("site-a", "site-b", "site-c", "validation")


class MainJobTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-main-job-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.hospitals = cls.folder / "hospitals"
        subprocess.run([BIN / "consilium-phantom", cls.hospitals, "--cases", "4,4,3,2"], check=True,
                       capture_output=True)
        cls.federation = federation = Federation(BIN, cls.folder / "run")
        cls.addClassCleanup(federation.close)
        federation.start_coordinator()
        cls.ingest = {site: federation.add_site(site, cls.hospitals / site / "archive")
                      for site in SITES}
        study = cls.folder / "study.yaml"
        study.write_text(STUDY)
        federation.cli("study", "create", study)
        federation.cli("study", "start", "phantom")
        for site in SITES:
            # The plaintext of every byte that site-a's agent sends and receives, for the search.
            trace = {"GRPC_TRACE": "secure_endpoint", "GRPC_VERBOSITY": "DEBUG"}
            federation.start_agent(site, trace if site == "site-a" else None)
        cls.kill_mid_round(federation)
        cls.study = federation.wait_until_finished("phantom")
        federation.cli("model", "export", "phantom/3", "--to", cls.folder / "model.safetensors")

    @classmethod
    def kill_mid_round(cls, federation):
        """SIGKILL once an update of round 2 is in and another is missing.

        The site that is missing is held back, or both might come between two looks.
        """
        def second():
            rounds = federation.show("round", "list", "phantom").get("rounds", [])
            return next((r for r in rounds if int(r["number"]) == 2), None)
        wait_for(second, "round 2 is open", 240)
        federation.agents["site-b"].send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: any(c.get("outcome") == "folded"
                                 for c in second().get("contributions", [])),
                     "an update of round 2 is in", 120)
            cls.ended_before_the_kill = int(second().get("ended_unix", 0)) != 0
            federation.kill_coordinator()
            federation.start_coordinator()
        finally:
            federation.agents["site-b"].send_signal(signal.SIGCONT)

    # ---- the round went on ---------------------------------------------------------------
    def test_killed_coordinator_ends_with_the_final_model(self):
        self.assertFalse(self.ended_before_the_kill)
        self.assertEqual(self.study["state"], "finished")
        self.assertEqual(self.study["latest_version"], "phantom/3")
        models = self.federation.show("model", "list", "phantom")["models"]
        self.assertEqual(sorted(m["version"] for m in models),
                         ["phantom/0", "phantom/1", "phantom/2", "phantom/3"])

    def test_no_site_trained_a_task_twice(self):
        for site in SITES[:3]:
            trained = [line["task"] for line in self.federation.log_lines(site)
                       if line["msg"] == "task done" and "train" in line["task"]]
            given_up = [line for line in self.federation.log_lines(site)
                        if line["msg"] == "task given up"]
            self.assertEqual(given_up, [], site)
            self.assertTrue(trained, site)
            self.assertEqual(len(trained), len(set(trained)), f"{site}: {trained}")

    def test_site_without_labels_joins_after_the_warm_up(self):
        rounds = self.federation.show("round", "list", "phantom")["rounds"]
        folded = {int(r["number"]): {c["site"]: c for c in r["contributions"]
                                     if c["outcome"] == "folded"} for r in rounds}
        self.assertNotIn("site-c", folded[1])
        self.assertIn("site-c", folded[3])
        self.assertLess(folded[3]["site-c"]["weight"], folded[3]["site-a"]["weight"])

    def test_localizers_are_rejected_with_their_reason(self):
        text = json.dumps(self.ingest).lower()
        self.assertIn("localizer", text)

    # ---- nothing of a patient left -------------------------------------------------------
    def test_no_identifier_leaves_the_archive(self):
        # Stopped first, so that everything is on disk.
        values = set()
        for site in SITES:
            values |= identifiers(self.hospitals / site / "phi.json")
        self.assertGreater(len(values), 50)
        values, dates = split_dates(values)
        searcher = Searcher(values)
        self.assertTrue(searcher.in_tree(self.hospitals / "site-a" / "archive"),
                        "the search finds nothing even where the identifiers are")
        self.assertEqual(searcher.in_tree(self.federation.folder), {})
        trace = (self.federation.logs / "site-a.log").read_bytes()
        wire = wire_bytes(trace)
        self.assertGreater(len(wire["WRITE"]), 100_000, "the trace holds no traffic")
        self.assertEqual(searcher.in_bytes(wire["WRITE"]), set())
        self.assertEqual(searcher.in_bytes(wire["READ"]), set())
        self.assertEqual(Searcher(dates).in_bytes(wire["WRITE"] + wire["READ"]), set())
        store = self.federation.site_home("site-a") / "store"
        files = sum(path.is_file() for path in store.rglob("*"))
        self.assertLessEqual(len(Searcher(dates).in_tree(store)), files * DATES_BY_CHANCE)

    # ---- the model -----------------------------------------------------------------------
    def test_exported_weights_read_in_python_and_match_the_registry(self):
        raw = (self.folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8:8 + length])
        meta = header.pop("__metadata__")
        self.assertEqual(meta["consilium.version"], "phantom/3")
        self.assertEqual(json.loads(meta["consilium.plan"])["study"], "phantom")
        model = self.federation.show("model", "show", "phantom/3")
        count = 0
        try:
            import torch
        except ImportError:
            self.skipTest("python3-torch is absent")
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensor = torch.frombuffer(bytearray(raw[8 + length + begin:8 + length + end]),
                                      dtype=torch.float32).reshape(entry["shape"])
            self.assertTrue(torch.isfinite(tensor).all(), name)
            count += tensor.numel()
        self.assertEqual(count, int(model["parameters"]))
        import hashlib
        self.assertEqual(hashlib.sha256(raw).hexdigest(), model["sha256"])

    def test_segmentation_is_valid_and_its_dice_is_the_coordinators(self):
        out = self.folder / "segmentations"
        self.federation.run("consilium-infer", "--input", self.hospitals / "validation" / "archive",
                            "--output", out, "--model", self.folder / "model.safetensors")
        files = sorted(out.rglob("*.seg.dcm"))
        self.assertEqual(len(files), 2)
        if shutil.which("dciodvfy"):
            for file in files:
                report = subprocess.run(["dciodvfy", file], capture_output=True, text=True)
                errors = [line for line in (report.stdout + report.stderr).splitlines()
                          if line.startswith("Error")]
                self.assertEqual(errors, [], file)
        try:
            import numpy
            import pydicom
        except ImportError:
            self.skipTest("python3-pydicom is absent")
        truths = {}
        for path in (self.hospitals / "validation" / "archive").rglob("*.dcm"):
            data = pydicom.dcmread(path)
            if data.Modality == "SEG":
                truths[data.ReferencedSeriesSequence[0].SeriesInstanceUID] = data
        measured = []
        for file in files:
            found = pydicom.dcmread(file)
            truth = truths[found.ReferencedSeriesSequence[0].SeriesInstanceUID]
            measured.append([dice(voxels(found, 1 + i), voxels(truth, 1 + i)) for i in range(2)])
        evaluation = next(e for e in self.study["evaluations"] if e["version"] == "phantom/3")
        reported = next(s for s in evaluation["sites"] if s["site"] == "validation")
        table = [[float(d) for d in case["dice"]] for case in reported["cases"]]
        numpy.testing.assert_allclose(sorted(measured), sorted(table), atol=1e-6)

    def test_published_image_segments_without_a_network(self):
        image = self.folder / "image"
        self.federation.cli("release", "create", "phantom/3")
        self.federation.cli("release", "publish", "phantom-3", "--to", image)
        again = self.folder / "image-again"
        self.federation.cli("release", "publish", "phantom-3", "--to", again)
        self.assertEqual((image / "index.json").read_bytes(), (again / "index.json").read_bytes())
        if not shutil.which("podman") or not pathlib.Path("/usr/sbin/runc").exists():
            self.skipTest("podman with runc is absent; the layout itself was checked")
        result = self.folder / "image-out"
        result.mkdir()
        tag = json.loads((image / "index.json").read_text())["manifests"][0]["annotations"][
            "org.opencontainers.image.ref.name"]
        done = subprocess.run(
            ["podman", "--runtime", "/usr/sbin/runc", "run", "--rm", "--network", "none",
             "--read-only", "--cap-drop", "all", "--ulimit", "nofile=1024:1024",
             "--ulimit", "nproc=1024:1024", "--pull", "never",
             "--user", f"{os.getuid()}:{os.getgid()}",
             "-v", f"{self.hospitals / 'validation' / 'archive'}:/app/data/input_data:ro",
             "-v", f"{result}:/app/data/output_data", f"oci:{image.name}:{tag}"],
            cwd=image.parent, capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        self.assertEqual(len(list(result.rglob("*.seg.dcm"))), 2)

    # ---- who may not ---------------------------------------------------------------------
    def test_tls_1_2_is_refused_and_1_3_is_not(self):
        def handshake(version):
            identity = self.federation.site_home("site-b") / "identity"
            return subprocess.run(
                ["openssl", "s_client", version, "-connect", f"127.0.0.1:{self.federation.port}",
                 "-cert", identity / "site.crt", "-key", identity / "site.key",
                 "-CAfile", identity / "ca.crt", "-alpn", "h2"],
                input="", capture_output=True, text=True, errors="replace", timeout=20)
        self.assertIn("TLSv1.3", handshake("-tls1_3").stdout)
        refused = handshake("-tls1_2")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("Cipher is (NONE)", refused.stdout)

    def test_foreign_certificate_is_refused(self):
        other = Federation(BIN, self.folder / "other", name="other-federation")
        self.addCleanup(other.close)
        other.start_coordinator()
        other.cli("site", "invite", "site-a", "--out", self.folder / "other.json")
        home = self.folder / "foreign-agent"
        other.run("consilium-agent", "enroll", "--home", home, "--invitation", self.folder / "other.json")
        # A certificate of the other federation, and this federation's CA so that only the
        # coordinator has a reason to refuse.
        ours = self.federation.site_home("site-a")
        shutil.copy(ours / "identity" / "ca.crt", home / "identity" / "ca.crt")
        shutil.copy(ours / "agent.yaml", home / "agent.yaml")
        agent = subprocess.Popen([BIN / "consilium-agent", "run", "--home", home],
                                 stderr=subprocess.PIPE, text=True)
        try:
            _, log = agent.communicate(timeout=8)
        except subprocess.TimeoutExpired:
            agent.terminate()
            _, log = agent.communicate(timeout=30)
        self.assertIn("agent started", log)
        self.assertIn("trying again", log)  # it tried, and was turned away
        self.assertNotIn("connected to the coordinator", log)

    def test_revoked_site_is_refused(self):
        self.federation.stop_agent("site-c")
        self.federation.cli("site", "revoke", "site-c", "--reason", "left the consortium")
        agent = subprocess.Popen(
            [BIN / "consilium-agent", "run", "--home", self.federation.site_home("site-c")],
            stderr=subprocess.PIPE, text=True)
        try:
            _, log = agent.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            agent.terminate()
            _, log = agent.communicate(timeout=30)
        self.assertIn("revoked", log)
        self.assertNotIn("connected to the coordinator", log)
        entries = self.federation.show("audit", "search", "--action", "site.revoke")["entries"]
        self.assertIn("left the consortium", entries[-1]["readable"])


def voxels(segmentation, number):
    """The set voxels of one segment as (plane position, row, column)."""
    import numpy
    frames = numpy.atleast_3d(segmentation.pixel_array)
    if frames.ndim == 2 or segmentation.NumberOfFrames == 1:
        frames = segmentation.pixel_array.reshape(1, segmentation.Rows, segmentation.Columns)
    found = set()
    for frame, groups in zip(frames, segmentation.PerFrameFunctionalGroupsSequence):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        where = tuple(round(float(v), 2)
                      for v in groups.PlanePositionSequence[0].ImagePositionPatient)
        found |= {(where, int(r), int(c)) for r, c in zip(*numpy.nonzero(frame))}
    return found


def dice(a, b):
    return math.nan if not a and not b else 2 * len(a & b) / (len(a) + len(b))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--shared", type=pathlib.Path)
    options, rest = parser.parse_known_args()
    BIN, SHARED = options.bin.resolve(), options.shared
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
