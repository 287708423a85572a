#!/usr/bin/python3
"""Settings of a study beside each other: the same sites, patients, seed and rounds, one after the other.

    study_table.py --bin BUILD/bin --study FILE --hospitals DIR [--rounds N] [--out DIR]
                   [--settings NAME,NAME...] [--budget EPSILON]

Real programs on loopback: a coordinator, and an agent for each DIR/<site>/archive of DICOM, where a folder
named `validation` only evaluates (as deploy/demo). Each setting is FILE with a few of its keys replaced
(SETTINGS below). A site keeps its home, and with it which of its patients train, so that two rows differ
by their setting alone. Dice is of the last version: the mean of the structures, over the held-out cases of
the evaluators, or of all sites where there are none.

--budget gives each site a policy with that much epsilon for a patient while a setting with privacy runs (one
without it would be refused): the rows say where a study stopped.
Standard library only. Exit code 1: a study ended in another way than by its last round or by a budget.
"""
import argparse
import array
import json
import math
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from federation import Federation, wait_for  # noqa: E402

SETTINGS = {
    "sealed": {"protection": "sealed"},
    "secure-aggregation": {"protection": "secure-aggregation"},
    "secure-aggregation-16": {"protection": "{kind: secure-aggregation, bits: 16, clip: 0.1}"},
    "fedprox": {"algorithm": "{kind: fedprox, proximal_mu: 0.01}"},
    "scaffold": {"algorithm": "scaffold"},
    "fedbn": {"algorithm": '{kind: fedavg, local_layers: ["*.norm*"]}'},
    "ditto": {"algorithm": "{kind: fedavg, personal_lambda: 0.1}"},
    # One patch a patient: a step's time is that of its patches, and four patients have four.
    "sample-privacy": {"privacy": "{level: sample, epsilon: 8, delta: 1e-3, clip: 1, patients_per_step: 4}",
                       "plan.batch": "1"},
    "site-privacy": {"privacy": "{level: site, epsilon: 8, delta: 1e-2, clip: 1}",
                     "protection": "{kind: secure-aggregation, clip: 8}"},
}
POLICY = "protections: [secure-aggregation, sealed]\n"


def with_keys(text, keys):
    """The study file's text with whole lines of its top-level keys replaced or added; `plan.KEY` goes into
    its flow mapping `plan`."""
    for key in [key for key in keys if key.startswith("plan.")]:
        text = re.sub(r"(?m)^plan: \{", f"plan: {{{key[5:]}: {keys[key]}, ", text)
    keys = {key: value for key, value in keys.items() if "." not in key}
    lines = [line for line in text.splitlines() if line.split(":")[0] not in keys]
    return "\n".join(lines + [f"{key}: {value}" for key, value in keys.items()]) + "\n"


def mean_dice(show):
    """Of the last version: {structure: Dice, "mean": Dice} over the evaluators' cases."""
    evaluations = [e for e in show.get("evaluations", []) if e["version"] == show["latest_version"]]
    sites = [s for e in evaluations for s in e["sites"]]
    chosen = [s for s in sites if s["role"] == "evaluator"] or sites
    dice = {}
    for index, name in enumerate(show["label_names"]):
        pairs = [(s["mean_dice"][index], len(s["cases"])) for s in chosen]
        pairs = [(float(d), n) for d, n in pairs if isinstance(d, (int, float)) and math.isfinite(d)]
        if pairs:
            dice[name] = sum(d * n for d, n in pairs) / sum(n for _, n in pairs)
    if dice:
        dice["mean"] = sum(dice.values()) / len(dice)
    return dice


def weights_of(path):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    values = array.array("f")
    values.frombytes(raw[8 + length:])
    return values


def relative_distance(a, b):
    if len(a) != len(b):
        return math.nan
    apart = sum((x - y) ** 2 for x, y in zip(a, b))
    return math.sqrt(apart / max(sum(y * y for y in b), 1e-30))


class Table:
    def __init__(self, options):
        self.options = options
        self.federation = Federation(options.bin, options.out / "run", name="study-table")
        self.text = options.study.read_text()
        if options.rounds:
            self.text = re.sub(r"(?m)^(rounds:.*\bcount: )\d+", rf"\g<1>{options.rounds}", self.text)
        self.reference = None

    def begin(self):
        federation = self.federation
        federation.start_coordinator()
        archives = sorted(self.options.hospitals.glob("*/archive"))
        if not archives:
            sys.exit(f"study_table: no <site>/archive under {self.options.hospitals}")
        self.sites = [archive.parent.name for archive in archives]
        for site, archive in zip(self.sites, archives):
            federation.add_site(site, archive)
        for site in self.sites:
            federation.start_agent(site)

    def set_policies(self, private):
        policy = POLICY
        if private and self.options.budget:
            policy += f"budget: {{epsilon: {self.options.budget}, delta: 0.001}}\n"
        for site in self.sites:
            (self.federation.site_home(site) / "policy.yaml").write_text(policy)

    def declined(self):
        """What sites said no to, by site; empty where nobody did."""
        answers = {site: self.federation.show("site", "show", site).get("declined", "")
                   for site in self.sites}
        return {site: text for site, text in answers.items() if text}

    def run(self, setting):
        federation = self.federation
        private = "privacy" in SETTINGS[setting]
        self.set_policies(private)
        name = f"table-{setting}"
        path = self.options.out / f"{name}.yaml"
        path.write_text(with_keys(self.text, {"name": name, **SETTINGS[setting]}))
        created = federation.show("study", "create", path)
        for line in created.get("promises", []) if private else []:
            print(f"  {line}")
        started = time.monotonic()
        federation.cli("study", "start", name)
        stopped = {}

        def ended():
            stopped.update({site: text for site, text in self.declined().items()
                            if text.startswith(f"{name}:") and "budget" in text})
            state = federation.show("study", "show", name)["state"]
            return state in ("finished", "failed", "stopped") or bool(stopped)
        wait_for(ended, f"{name} ends", self.options.limit, every=2)
        seconds = time.monotonic() - started
        if stopped:
            federation.cli("study", "stop", name, check=False)  # may have ended by itself
        show = federation.show("study", "show", name)
        rounds = [r for r in federation.show("round", "list", name).get("rounds", [])
                  if r["phase"] == "committed" and int(r["number"]) > 0]
        (self.options.out / f"{name}.json").write_text(json.dumps(show, indent=1))
        row = {"setting": setting, "state": show["state"], "rounds": len(rounds), "seconds": round(seconds),
               "dice": mean_dice(show), "stopped": stopped, "privacy": self.spent(name) if private else {}}
        row["ok"] = show["state"] == "finished" or bool(stopped)
        if not row["ok"]:
            row["reason"] = show.get("reason", "")
        exported = self.options.out / f"{name}.safetensors"
        if show.get("latest_version"):
            federation.cli("model", "export", show["latest_version"], "--to", exported)
            weights = weights_of(exported)
            if self.reference is None:
                self.reference = (weights, row["dice"].get("mean", math.nan))
            row["apart"] = relative_distance(weights, self.reference[0])
            row["gain"] = row["dice"].get("mean", math.nan) - self.reference[1]
        return row

    def spent(self, study):
        """What each site's own ledger says of this study."""
        said = {}
        for site in self.sites:
            done = self.federation.run("consilium-agent", "budget", "--home", self.federation.site_home(site),
                                       "--output", "json", check=False)
            if done.returncode == 0:
                said[site] = [entry for entry in json.loads(done.stdout).get("studies", [])
                              if entry.get("study") == study]
        return said


def print_row(row):
    dice = "  ".join(f"{name} {value:.4f}" for name, value in row["dice"].items())
    print(f"{row['setting']:24}{row['state']:10}{row['rounds']:3} rounds {row['seconds']:5} s  {dice}"
          f"  gain {row.get('gain', math.nan):+.4f}  weights apart {row.get('apart', math.nan):.2e}")
    for site, text in row["stopped"].items():
        print(f"  {site} stopped: {text}")
    for site, entries in row["privacy"].items():
        for entry in entries:
            print(f"  {site} spent: {json.dumps(entry)}")
    if not row["ok"]:
        print(f"  {row['reason']}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--bin", "--study", "--hospitals"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=0, help="instead of the file's")
    parser.add_argument("--settings", default=",".join(SETTINGS), help="in this order; the first is compared with")
    parser.add_argument("--budget", type=float, default=0, help="epsilon of a patient in each site's policy")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that one study may take")
    parser.add_argument("--out", type=pathlib.Path, help="kept for inspection; a temporary folder without it")
    options = parser.parse_args()
    chosen = options.settings.split(",")
    unknown = [name for name in chosen if name not in SETTINGS]
    if unknown:
        parser.error(f"unknown settings {unknown}; there are {', '.join(SETTINGS)}")
    options.bin = options.bin.resolve()
    with tempfile.TemporaryDirectory(prefix="consilium-table-") as folder:
        options.out = (options.out or pathlib.Path(folder)).resolve()
        options.out.mkdir(parents=True, exist_ok=True)
        table = Table(options)
        try:
            table.begin()
            rows = []
            for setting in chosen:
                rows.append(table.run(setting))
                print_row(rows[-1])
        finally:
            table.federation.close()
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
