#!/usr/bin/python3
"""Secure aggregation between the real coordinator and real agents' drivers.

    masked_test.py --bin BUILD/bin [--kills N] [unittest arguments]

The sites' updates are random numbers of a known seed (consilium-sim-agent), so that the test computes
every sum again by itself, while the coordinator knows the sums alone.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time
import unittest

import survival_test
from federation import wait_for
from survival_test import PARAMETERS, SimFederation, update_of, weights_of

KILLS = 25
SITES = ("site-a", "site-b", "site-c", "site-d")
STUDY = """
name: survival
task: {{labels: {{1: Organ}}}}
series: {{modality: MR}}
plan: {{features: [8, 16], strides_xyz: [[1,1,1],[2,2,2]], spacing_xyz_mm: [3, 3, 3],
       patch_xyz: [32, 32, 32], batch: 1, steps_per_round: 1}}
aggregation: {{min_sites: {sites}, unlabelled_after: 0}}
protection: {{kind: secure-aggregation, bits: {bits}, clip: 0.01}}
rounds: {{count: {count}, deadline: {deadline}, quorum: {quorum}, lease: {lease}}}
evaluation: {{every: 0}}
"""


class Masked(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-masked-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.federation = SimFederation(survival_test.BIN, self.folder / "run")
        self.addCleanup(self.federation.close)

    def start(self, work_seconds=0.3, bits=32, deadline="10m"):
        federation = self.federation
        federation.start_coordinator()
        for site in SITES:
            federation.add_sim_site(site)
        path = self.folder / "study.yaml"
        path.write_text(STUDY.format(
            bits=bits, deadline=deadline, sites=len(SITES), quorum=3, count=1000, lease="10s"))
        federation.cli("study", "create", path)
        federation.cli("study", "start", "survival")
        for site in SITES:
            federation.start_sim(site, work_seconds)
        wait_for(lambda: len(federation.committed()) >= 1, "the first round is through", 120)

    def wait_for_rounds(self, more, seconds):
        wanted = len(self.federation.committed()) + more
        wait_for(lambda: len(self.federation.committed()) >= wanted, f"{more} more rounds", seconds)

    def newest(self):
        return self.federation.rounds()[-1]

    def check_model(self, item, tolerance):
        """The version is its parent plus the mean of the survivors' updates, which weigh the same."""
        number = int(item["number"])
        folded = [c["site"] for c in item["contributions"] if c["outcome"] == "folded"]
        (group,) = item["masked"]["groups"]
        self.assertEqual(sorted(folded), sorted(group["survivors"]))
        self.assertGreaterEqual(len(folded), 3)
        for contribution in item["contributions"]:
            for key in ("weight", "labelled_cases", "unlabelled_cases"):
                self.assertEqual(float(contribution.get(key, 0)), 0, f"{key} of a single site is known")
        values = []
        for version in (item["base_version"], item["new_version"]):
            path = self.folder / "weights.safetensors"
            self.federation.cli("model", "export", version, "--to", path)
            values.append(weights_of(path))
            path.unlink()
        mean = [0.0] * PARAMETERS
        for site in folded:
            tasks = {line["task"] for line in self.federation.log_lines(site)
                     if line.get("msg") == "task done" and re.match(rf"train-{number}-", line["task"])}
            self.assertEqual(len(tasks), 1, f"{site} trained round {number} more than once")
            for i, value in enumerate(update_of(site, tasks.pop())):
                mean[i] += value / len(folded)
        worst = max(abs(b + m - a) for b, m, a in zip(values[0], mean, values[1]))
        self.assertLess(worst, tolerance, f"round {number}")

    def check_log(self):
        verified = self.federation.cli("audit", "verify", check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)

    def test_sums_are_right_and_single_updates_unknown(self):
        self.start()
        self.wait_for_rounds(2, 90)
        self.federation.cli("study", "stop", "survival")
        for item in self.federation.committed()[-2:]:
            self.check_model(item, 2e-7)
            self.assertAlmostEqual(item["masked"]["means"]["saturated"], 0)
            self.assertGreater(item["masked"]["means"]["labelled_cases"], 0)
        self.check_log()

    def test_sixteen_bits(self):
        self.start(bits=16)
        self.wait_for_rounds(2, 90)
        self.federation.cli("study", "stop", "survival")
        for item in self.federation.committed()[-2:]:
            self.check_model(item, 3e-5)  # of values of about 1e-3; rounding at random has no bias
        whole = [c["bytes"] for c in self.newest()["contributions"] if int(c.get("bytes", 0)) > 0]
        for size in whole:
            self.assertLess(int(size), 2 * (PARAMETERS + 4096) + 2048)

    def test_one_of_four_is_killed_between_sharing_and_delivery(self):
        self.start(work_seconds=4)
        number = int(self.newest()["number"])
        wait_for(lambda: int(self.newest()["number"]) > number and
                 self.newest()["masked"]["groups"][0]["phase"] == "masked",
                 "the keys of a round are shared", 60, every=0.1)
        number = int(self.newest()["number"])
        self.federation.kill_sim("site-d")
        wait_for(lambda: any(int(r["number"]) == number for r in self.federation.committed()),
                 "the round ends without the killed site", 90)
        self.federation.cli("study", "stop", "survival")
        (item,) = [r for r in self.federation.committed() if int(r["number"]) == number]
        self.assertEqual(sorted(item["masked"]["groups"][0]["survivors"]),
                         ["site-a", "site-b", "site-c"])
        self.check_model(item, 2e-7)

    def test_two_of_four_are_killed(self):
        """Nothing is opened: the round fails, and says why."""
        self.start(work_seconds=6, deadline="20s")
        number = int(self.newest()["number"])
        wait_for(lambda: int(self.newest()["number"]) > number and
                 self.newest()["masked"]["groups"][0]["phase"] == "masked",
                 "the keys of a round are shared", 60, every=0.1)
        number = int(self.newest()["number"])
        self.federation.kill_sim("site-c")
        self.federation.kill_sim("site-d")
        wait_for(lambda: any(int(r["number"]) == number and r["phase"] == "failed"
                             for r in self.federation.rounds()), "the round fails", 90)
        (item,) = [r for r in self.federation.rounds() if int(r["number"]) == number]
        self.assertEqual(item["masked"]["groups"][0].get("survivors", []), [])

    def test_coordinator_and_agents_killed_at_random_instants(self):
        seed = int(os.environ.get("SEED", time.time()))
        print(f"SEED={seed}", file=sys.stderr)
        dice = random.Random(seed)
        self.start()
        met = set()
        for kill in range(KILLS):
            time.sleep(dice.uniform(0.05, 1.2))
            if kill % 3 < 2:
                newest = self.newest()
                if "masked" in newest and newest["phase"] in ("collecting", "unmasking"):
                    met.add(newest["masked"]["groups"][0]["phase"])
                self.federation.kill_coordinator()
                time.sleep(dice.uniform(0, 0.3))
                self.federation.start_coordinator()
            else:
                site = dice.choice(SITES)
                self.federation.kill_sim(site)
                time.sleep(dice.uniform(0, 0.3))
                self.federation.start_sim(site)
        print(f"killed in phases {sorted(met)}", file=sys.stderr)
        self.wait_for_rounds(2, 180)
        self.federation.cli("study", "stop", "survival")
        for item in self.federation.committed():
            self.check_model(item, 2e-7)
        self.check_log()


def main():
    global KILLS
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=KILLS)
    options, rest = parser.parse_known_args()
    survival_test.BIN, KILLS = options.bin.resolve(), options.kills
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
