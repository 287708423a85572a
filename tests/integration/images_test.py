#!/usr/bin/python3
"""The images of the services, run as a cluster would: read-only, no capability, no network.

    images_test.py --bin BUILD/bin [unittest arguments]
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from federation import wait_for

BIN = None
TAG = "test"
RUNC = pathlib.Path("/usr/sbin/runc")
PODMAN = ["podman", "--runtime", str(RUNC)]
# Where root runs this, the user of the images and of the cluster; otherwise there is only oneself.
USER, GROUP = (65532, 65532) if os.geteuid() == 0 else (os.getuid(), os.getgid())
# The limits are named: those that podman sets by itself may lie above what it may raise here.
HARDENED = ["--rm", "--network", "none", "--read-only", "--cap-drop", "all",
            "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--pull", "never",
            "--user", f"{USER}:{GROUP}"]


def call(*command, seconds=120, cwd=None):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=seconds, cwd=cwd)


def cluster_init():
    """What the job in deploy/kubernetes/init makes the home with."""
    text = (pathlib.Path(__file__).parents[2] / "deploy/kubernetes/init/coordinator.yaml").read_text()
    arguments = re.search(r"^ +args:\n((?: +- .*\n)+)", text, re.MULTILINE)[1]
    return [line.strip().removeprefix("- ") for line in arguments.splitlines()]


class ImagesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-images-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for service in ("coordinator", "agent"):
            done = cls.make(service, cls.folder / service)
            assert done.returncode == 0, done.stderr
            print(service, done.stdout.splitlines()[0])
        cls.ids = {}

    @classmethod
    def make(cls, service, to, *more):
        return call(BIN / "consilium-image", service, "--bin", BIN, "--to", to, "--tag", TAG, *more)

    def image(self, service):
        """The image's id in podman's store, or the test is skipped."""
        if not shutil.which("podman") or not RUNC.exists():
            self.skipTest("podman with runc is absent; the layouts themselves were checked")
        if service not in self.ids:
            # By its name alone: podman makes an image's name of the path, and refuses some.
            done = call(*PODMAN, "pull", "--quiet", f"oci:{service}:{TAG}", seconds=200,
                        cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.ids[service] = done.stdout.split()[-1]
            self.addClassCleanup(call, *PODMAN, "rmi", self.ids[service])
        return self.ids[service]

    def home(self, name):
        home = self.folder / name
        home.mkdir()
        os.chown(home, USER, GROUP)
        return home

    def in_container(self, service, home, program, *arguments):
        return call(*PODMAN, "run", *HARDENED, "-v", f"{home}:/var/lib/consilium",
                    "--entrypoint", f"/app/bin/{program}", self.image(service), *arguments)

    # ---- the layouts ---------------------------------------------------------------------
    def test_same_programs_same_bytes(self):
        again = self.folder / "again"
        self.assertEqual(self.make("coordinator", again).returncode, 0)
        self.assertEqual((again / "index.json").read_bytes(),
                         (self.folder / "coordinator" / "index.json").read_bytes())
        same = self.make("coordinator", again)
        self.assertEqual(same.returncode, 0)
        self.assertIn("Already there", same.stdout)
        dated = self.folder / "dated"
        self.assertEqual(self.make("coordinator", dated, "--created", "1700000000").returncode, 0)
        self.assertEqual(self.config(dated)["created"], "2023-11-14T22:13:20Z")
        self.assertEqual(self.config(again)["created"], "1970-01-01T00:00:00Z")

    def config(self, layout):
        def blob(descriptor):
            digest = descriptor["digest"].removeprefix("sha256:")
            return json.loads((layout / "blobs" / "sha256" / digest).read_text())
        index = json.loads((layout / "index.json").read_text())
        return blob(blob(index["manifests"][0])["config"])

    def test_wrong_use_is_exit_code_2_and_a_missing_program_3(self):
        for wrong in (("coordinator",), ("database", "--to", self.folder / "x"),
                      ("agent", "--to", self.folder / "x:y"),
                      ("agent", "--to", self.folder / "x", "--tag", "a/b"),
                      ("agent", "--to", self.folder / "coordinator", "--bin", BIN)):
            self.assertEqual(call(BIN / "consilium-image", *wrong).returncode, 2, wrong)
        empty = self.home("no-programs")
        self.assertEqual(call(BIN / "consilium-image", "agent", "--bin", empty, "--to",
                              self.folder / "x").returncode, 3)
        self.assertFalse((self.folder / "x").exists())

    # ---- in containers -------------------------------------------------------------------
    def test_coordinator_starts_answers_and_drains(self):
        home = self.home("centre")
        made = self.in_container("coordinator", home, "consilium", *cluster_init())
        self.assertEqual(made.returncode, 0, made.stderr)
        name = f"consilium-images-test-{os.getpid()}"
        log = self.folder / "coordinator.log"
        with open(log, "wb") as sink:
            coordinator = subprocess.Popen(
                [*PODMAN, "run", *HARDENED, "--name", name, "-v", f"{home}:/var/lib/consilium",
                 self.image("coordinator")], stderr=sink)
        self.addCleanup(call, *PODMAN, "rm", "--force", "--ignore", name)

        def consilium(*arguments):
            return call(*PODMAN, "exec", name, "/app/bin/consilium", "--credentials",
                        "/var/lib/consilium/admin", "--coordinator", "127.0.0.1:7443", *arguments)

        def answers():
            self.assertIsNone(coordinator.poll(), log.read_text())
            return consilium("site", "list").returncode == 0
        wait_for(answers, "the coordinator answers", 60)
        self.probe(name)
        invited = consilium("site", "invite", "amc", "--out", "/var/lib/consilium/amc.json")
        self.assertEqual(invited.returncode, 0, invited.stderr)
        self.assertTrue((home / "amc.json").exists())
        # The root stays as it is, and there is no shell in it.
        refused = consilium("site", "invite", "bmc", "--out", "/app/bmc.json")
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotEqual(call(*PODMAN, "exec", name, "/bin/sh", "-c", "true").returncode, 0)
        stopped = call(*PODMAN, "kill", "--signal", "TERM", name)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.assertEqual(coordinator.wait(timeout=60), 0, log.read_text())
        self.assertIn("stopped", log.read_text())

    def probe(self, name):
        """What the kubelet asks, from inside the container's network."""
        if os.geteuid() != 0 or not shutil.which("nsenter"):
            return
        pid = call(*PODMAN, "inspect", "--format", "{{.State.Pid}}", name).stdout.strip()
        for path in ("/healthz", "/readyz"):
            ask = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:7445{path}')"
            done = call("nsenter", "--target", pid, "--net", sys.executable, "-c", ask)
            self.assertEqual(done.returncode, 0, path + done.stderr)

    def test_coordinator_without_a_home_says_so(self):
        done = call(*PODMAN, "run", *HARDENED, "-v", f"{self.home('bare')}:/var/lib/consilium",
                    self.image("coordinator"))
        self.assertIn(done.returncode, (2, 3), done.stderr)
        self.assertIn("coordinator.yaml", done.stderr)

    def test_agent_says_its_version_and_where_it_stands(self):
        home = self.home("site")
        version = self.in_container("agent", home, "consilium-agent", "--version")
        self.assertEqual(version.returncode, 0, version.stderr)
        self.assertEqual(version.stdout, call(BIN / "consilium-agent", "--version").stdout)
        status = self.in_container("agent", home, "consilium-agent", "status", "--home",
                                   "/var/lib/consilium")
        self.assertEqual(status.returncode, 3, status.stderr)
        self.assertIn("consilium-agent enroll", status.stderr)
        # What the entrypoint alone does with it.
        run = call(*PODMAN, "run", *HARDENED, "-v", f"{home}:/var/lib/consilium",
                   self.image("agent"))
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertIn("consilium-agent enroll", run.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    known, rest = parser.parse_known_args()
    BIN = known.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
