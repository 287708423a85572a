#!/usr/bin/python3
"""A site's own policy against a real plan: the agent declines, and everybody can read why.

    policy_test.py --bin BUILD/bin [unittest arguments]
"""
import argparse
import pathlib
import shutil
import sys
import tempfile
import unittest

from federation import Federation, wait_for

BIN = None
SITE = "site-a"
CLAUSE = "secure_aggregation.min_cohort"
STUDY = """
name: three
task: {labels: {1: Organ}}
series: {modality: MR}
plan: {features: [8, 16], strides_xyz: [[1,1,1],[2,2,2]], spacing_xyz_mm: [3, 3, 3],
       patch_xyz: [32, 32, 32], batch: 1, steps_per_round: 1}
aggregation: {min_sites: 3}
rounds: {count: 1, deadline: 10m}
"""


class Policy(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-policy-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.federation = Federation(BIN, self.folder / "run")
        self.addCleanup(self.federation.close)

    def test_a_plan_with_too_small_a_cohort_is_declined_with_the_clause(self):
        federation = self.federation
        federation.start_coordinator()
        invitation = self.folder / "invitation.json"
        federation.cli("site", "invite", SITE, "--out", invitation)
        home = federation.site_home(SITE)
        federation.run("consilium-agent", "enroll", "--home", home, "--invitation", invitation)
        federation.cli("site", "approve", SITE)
        (home / "policy.yaml").write_text("secure_aggregation: {min_cohort: 5}\n")
        path = self.folder / "study.yaml"
        path.write_text(STUDY)
        created = federation.cli("study", "create", path)
        self.assertIn("sum", created.stdout + created.stderr)
        federation.cli("study", "start", "three")
        federation.start_agent(SITE)

        def declined():
            return federation.show("site", "show", SITE).get("declined", "")
        wait_for(lambda: CLAUSE in declined(), "site show names the clause", 60)
        self.assertIn("at least 5 sites", declined())
        entries = federation.cli("audit", "search", "--action", "task.decline").stdout
        self.assertIn(CLAUSE, entries)
        federation.stop_agent(SITE)
        own = federation.run("consilium-agent", "audit", "show", "--home", home).stdout
        self.assertIn(CLAUSE, own)

        # A site whose policy allows three is asked for its data and says how much it has.
        (home / "policy.yaml").write_text("secure_aggregation: {min_cohort: 3}\n")
        federation.start_agent(SITE)
        wait_for(lambda: "cohort.report" in
                 federation.cli("audit", "search", "--actor", SITE).stdout,
                 "the site prepares", 120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    options, rest = parser.parse_known_args()
    BIN = options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
