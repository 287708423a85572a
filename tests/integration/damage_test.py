#!/usr/bin/python3
"""What an operator sees when a coordinator's memory was damaged, rolled back or has no room.

    damage_test.py --bin BUILD/bin [unittest arguments]

Every refusal must say what happened and what to do, and nothing acknowledged may be lost in silence.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from federation import Federation, wait_for

BIN = None
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Damage(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-damage-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.federation = Federation(BIN, self.folder / "run")
        self.addCleanup(self.federation.close)

    def invite(self, count, prefix="site"):
        for number in range(count):
            self.federation.cli("site", "invite", f"{prefix}-{number}", "--out",
                                self.folder / f"{prefix}-{number}.json")

    def refused_start(self):
        """The text with which the coordinator refuses to start."""
        done = subprocess.run([BIN / "consilium-coordinator", "--home", self.federation.home],
                              capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0, "it started on a damaged store")
        self.assertNotIn("Traceback", done.stderr)
        return done.stderr

    def newest_wal(self):
        logs = [p for p in (self.federation.home / "store").glob("*.log") if p.stat().st_size > 0]
        return max(logs, key=lambda p: p.stat().st_mtime)

    # ---- the write-ahead log ---------------------------------------------------------------
    def test_flipped_bit_in_the_wal_stops_the_start(self):
        self.federation.start_coordinator()
        self.invite(6)
        self.federation.kill_coordinator()
        wal = self.newest_wal()
        content = bytearray(wal.read_bytes())
        content[len(content) // 2] ^= 0x10
        wal.write_bytes(content)
        text = self.refused_start()
        self.assertIn("store", text)
        self.assertRegex(text, "restore|backup")

    def test_deleted_wal_stops_the_start(self):
        self.federation.start_coordinator()
        self.invite(3)
        time.sleep(1.5)  # a checkpoint is signed each second
        self.federation.kill_coordinator()
        for log in (self.federation.home / "store").glob("*.log"):
            log.unlink()
        text = self.refused_start()
        self.assertRegex(text, "checkpoint")
        self.assertRegex(text, "restore|backup")

    def test_rolled_back_store_stops_the_start(self):
        self.federation.start_coordinator()
        self.invite(2, "early")
        time.sleep(1.5)
        self.federation.kill_coordinator()
        shutil.copytree(self.federation.home / "store", self.folder / "old-store")
        self.federation.start_coordinator()
        self.invite(2, "late")
        time.sleep(1.5)
        self.federation.kill_coordinator()
        shutil.rmtree(self.federation.home / "store")
        shutil.copytree(self.folder / "old-store", self.federation.home / "store")
        text = self.refused_start()
        self.assertRegex(text, "rolled back|smaller|behind")
        self.assertRegex(text, "restore|backup")

    def test_killed_forty_times_loses_no_acknowledged_entry(self):
        acknowledged = []
        for turn in range(40):
            self.federation.start_coordinator()
            process = subprocess.Popen(
                [BIN / "consilium", "--home", self.federation.home, "site", "invite",
                 f"site-{turn}", "--out", self.folder / f"{turn}.json"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep((turn % 10) * 0.004)
            if turn % 3 == 0:
                process.wait()
            self.federation.kill_coordinator()
            if process.wait() == 0:
                acknowledged.append(f"site-{turn}")
        self.federation.start_coordinator()
        sites = {site["name"] for site in self.federation.show("site", "list")["sites"]}
        self.assertTrue(acknowledged)
        self.assertEqual([name for name in acknowledged if name not in sites], [])
        done = self.federation.cli("audit", "verify", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    # ---- time ------------------------------------------------------------------------------
    def test_clock_set_back_is_flagged_in_the_log(self):
        if not pathlib.Path(FAKETIME).exists():
            self.skipTest("libfaketime is absent")
        self.federation.start_coordinator()
        self.invite(1, "before")
        self.federation.kill_coordinator()
        environment = {**os.environ, "LD_PRELOAD": FAKETIME, "FAKETIME": "-3d",
                       "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with open(self.federation.logs / "coordinator.log", "ab") as log:
            self.federation.coordinator = subprocess.Popen(
                [BIN / "consilium-coordinator", "--home", self.federation.home], stderr=log,
                env=environment)
        # Certificates made "in the future" are refused by a clock that is behind, so no call is
        # tried: the start itself is an entry.
        time.sleep(3)
        self.federation.coordinator.terminate()
        self.federation.coordinator.wait(timeout=30)
        self.federation.start_coordinator()
        entries = self.federation.show("audit", "search")["entries"]
        flagged = [e for e in entries if "clock_back" in e["json"]]
        self.assertTrue(flagged, [e["json"][:200] for e in entries][-4:])

    # ---- space -----------------------------------------------------------------------------
    def test_full_disk_refuses_and_goes_on_when_there_is_space(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "none", disk],
                          capture_output=True).returncode != 0:
            self.skipTest("a tmpfs cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk])
        shutil.move(self.federation.home, disk / "home")
        self.federation.home = disk / "home"
        self.addCleanup(self.federation.close)
        self.federation.start_coordinator()
        self.invite(2, "before")
        filler = disk / "filler"
        with open(filler, "wb") as out:
            try:
                while True:
                    out.write(b"\0" * (1 << 20))
            except OSError:
                pass
        acknowledged, refused = [], ""
        for number in range(200):
            done = self.federation.cli("site", "invite", f"full-{number}", "--out",
                                       self.folder / f"full-{number}.json", check=False)
            if done.returncode == 0:
                acknowledged.append(f"full-{number}")
            else:
                refused = done.stderr
                break
        self.assertRegex(refused, "space|disk")
        filler.unlink()

        def again():
            return self.federation.cli("site", "invite", "after", "--out",
                                       self.folder / "after.json", check=False).returncode == 0
        wait_for(again, "it goes on after space was freed", 60)
        self.federation.kill_coordinator()
        self.federation.start_coordinator()
        sites = {site["name"] for site in self.federation.show("site", "list")["sites"]}
        for name in ["before-0", "before-1", "after", *acknowledged]:
            self.assertIn(name, sites)
        actions = [json.loads(e["json"])["action"]
                   for e in self.federation.show("audit", "search", "--action", "store.full")["entries"]]
        self.assertTrue(actions, "the full disk is not in the audit log")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    options, rest = parser.parse_known_args()
    BIN = options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
