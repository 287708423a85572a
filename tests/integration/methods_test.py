#!/usr/bin/python3
"""What a study may ask of its sites, between real agents that train and a real coordinator.

    methods_test.py --bin BUILD/bin [unittest arguments]

Three small hospitals (made-up patients) and one federation for all tests of a class: each study is a few
rounds of a tiny network, and what is looked at is what only the whole can get wrong. The arithmetic has tests
of its own.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

from federation import Federation, wait_for

BIN = None
SITES = ("site-a", "site-b", "site-c")
STUDY = """
name: {name}
task: {{labels: {{1: Organ, 2: Tube}}}}
series: {{modality: MR, rules: [{{ImageType: "!LOCALIZER"}}]}}
plan: {{features: [8, 16], strides_xyz: [[1,1,1],[2,2,2]], spacing_xyz_mm: [3, 3, 3],
       patch_xyz: [32, 32, 32], batch: 1, steps_per_round: 2}}
aggregation: {{min_sites: 3, unlabelled_after: 0{aggregation}}}
rounds: {{count: {rounds}, deadline: 10m, quorum: 3}}
evaluation: {{every: 0}}
{more}
"""
POLICY = "protections: [secure-aggregation, sealed]\n"


class TrainingSites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="consilium-methods-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        federation = cls.federation = Federation(BIN, cls.folder / "run")
        cls.addClassCleanup(federation.close)
        federation.run("consilium-phantom", cls.folder / "hospitals", "--cases", "4,4,4,0",
                       "--labelled", "1,0.5,0.5,0")
        federation.start_coordinator()
        for site in SITES:
            federation.add_site(site, cls.folder / "hospitals" / site / "archive")
            federation.start_agent(site)

    def tearDown(self):
        for site in SITES:
            self.set_policy(site, POLICY)

    def set_policy(self, site, text):
        (self.federation.site_home(site) / "policy.yaml").write_text(text)

    def start(self, name, more, rounds=3, aggregation=""):
        path = self.folder / f"{name}.yaml"
        path.write_text(STUDY.format(name=name, more=more, rounds=rounds, aggregation=aggregation))
        self.federation.cli("study", "create", path)
        self.federation.cli("study", "start", name)

    def finish(self, name, more, **terms):
        """The rounds that the study committed; it has to come to its end."""
        self.start(name, more, **terms)
        self.federation.wait_until_finished(name, 240)
        rounds = self.federation.show("round", "list", name)["rounds"]
        committed = [r for r in rounds if r["phase"] == "committed" and int(r["number"]) > 0]
        self.assertEqual(len(committed), terms.get("rounds", 3))
        for item in committed:
            folded = [c["site"] for c in item["contributions"] if c["outcome"] == "folded"]
            self.assertEqual(sorted(folded), list(SITES))
        return committed

    def kept(self, study, site="site-a"):
        folder = self.federation.site_home(site) / "studies" / study
        return {path.name for path in folder.rglob("*.safetensors")}

    def budget(self, site):
        done = self.federation.run("consilium-agent", "budget", "--home",
                                   self.federation.site_home(site), "--output", "json")
        return json.loads(done.stdout)

    def check_spent(self, study, epsilon):
        for site in SITES:
            (entry,) = [e for e in self.budget(site)["studies"] if e["study"] == study]
            self.assertTrue(entry["guarantee"])
            self.assertGreater(entry["epsilon"], 0)
            self.assertLessEqual(entry["epsilon"], epsilon)


class Methods(TrainingSites):
    def test_scaffold_sends_its_control_variates_under_masks(self):
        committed = self.finish("scaffold", "algorithm: scaffold")
        self.assertIn("masked", committed[-1])
        self.assertIn("control.safetensors", self.kept("scaffold"))

    def test_scaffold_sealed(self):
        self.finish("scaffold-sealed", "algorithm: scaffold\nprotection: sealed")

    def test_layers_and_models_that_stay(self):
        self.finish("local", "algorithm: {kind: fedprox, proximal_mu: 0.1, local_layers: ['*.norm*'], "
                    "personal_lambda: 0.1}")
        self.assertLessEqual({"local.safetensors", "personal.safetensors"}, self.kept("local"))

    def test_server_optimisers(self):
        for name in ("momentum", "fedadagrad", "fedadam", "fedyogi"):
            self.finish(name, "", rounds=2, aggregation=f", server_optimizer: {name}")

    def test_words_of_sixteen_bits(self):
        self.finish("sixteen", "protection: {kind: secure-aggregation, bits: 16, clip: 0.1}", rounds=2)


class Privacy(TrainingSites):
    """Apart from the others: who was in a training without noise has no budget left."""

    def setUp(self):
        for site in SITES:  # the ledger's numbers at the studies' own delta
            self.set_policy(site, POLICY + "budget: {epsilon: 100, delta: 0.001}\n")

    def test_a_patient_s_privacy_ends_at_the_site_s_budget(self):
        terms = "privacy: {level: sample, epsilon: 8, delta: 1e-3, clip: 1, patients_per_step: 2}"
        self.finish("patients", terms, rounds=2)
        self.check_spent("patients", 8)
        # One site allows its patients hardly more: it takes part as long as that lasts.
        allowed = self.budget("site-b")["epsilon"] + 2
        self.set_policy("site-b", POLICY + f"budget: {{epsilon: {allowed}, delta: 0.001}}\n")
        self.start("patients-again", terms, rounds=20)

        def declined():
            return self.federation.show("site", "show", "site-b").get("declined", "")
        wait_for(lambda: "budget.epsilon" in declined(), "the site stops at its budget", 240)
        self.federation.cli("study", "stop", "patients-again", check=False)
        spent = self.budget("site-b")
        (again,) = [e for e in spent["studies"] if e["study"] == "patients-again"]
        self.assertGreater(again["trainings"], 0)
        self.assertLessEqual(spent["epsilon"], allowed)

    def test_privacy_of_a_whole_site(self):
        self.finish("whole-site", "privacy: {level: site, epsilon: 8, delta: 1e-3, clip: 1}\n"
                    "protection: {kind: secure-aggregation, clip: 16}")
        self.check_spent("whole-site", 8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    options, rest = parser.parse_known_args()
    BIN = options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
