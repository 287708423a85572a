#!/usr/bin/python3
"""Peak memory of a site that masks an update, and of the coordinator that folds them.

    masking_memory.py --bin BUILD/bin [--parameters N] [--sites 3,6] [--bits 32]

Real coordinator and the agent's own driver, masking and spool with made-up work (consilium-sim-agent), so that
nothing but the update's way is measured. For each number of sites: two rounds under secure aggregation, then
the peak of resident memory (VmHWM) of each process beside the size of the model. Limits: a site the model and
64 MiB, the coordinator the model and 128 MiB, however many sites there are. Exit code 1: one was exceeded.
Standard library only. Needs about 3 models of disk a site in the temporary folder.
"""
import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import survival_test  # noqa: E402
from masked_test import STUDY  # noqa: E402
from survival_test import SimFederation  # noqa: E402

MIB = 1 << 20
SITE_MIB, COORDINATOR_MIB = 64, 128


def peak_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def measure(folder, sites, options):
    """({what: bytes beyond the model}, bytes of the model)"""
    federation = SimFederation(options.bin, folder / "run")
    try:
        federation.start_coordinator()
        names = [f"site-{number}" for number in range(sites)]
        for site in names:
            federation.add_sim_site(site)
        path = folder / "study.yaml"
        path.write_text(STUDY.format(sites=sites, quorum=sites, bits=options.bits, count=2,
                                     deadline="30m", lease="90s"))
        federation.cli("study", "create", path)
        federation.cli("study", "start", "survival")
        for site in names:
            federation.start_sim(site)
        federation.wait_until_finished("survival", 1800)
        model = 4 * options.parameters
        beyond = {"coordinator": peak_bytes(federation.coordinator.pid) - model}
        beyond.update({site: peak_bytes(federation.agents[site].pid) - model for site in names})
        return beyond, model
    finally:
        federation.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--parameters", type=int, default=62_000_000)
    parser.add_argument("--sites", default="3,6")
    parser.add_argument("--bits", type=int, choices=(16, 32), default=32)
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    survival_test.BIN, survival_test.PARAMETERS = options.bin, options.parameters
    exceeded = False
    for sites in map(int, options.sites.split(",")):
        with tempfile.TemporaryDirectory(prefix="consilium-memory-") as folder:
            beyond, model = measure(pathlib.Path(folder), sites, options)
        print(f"{sites} sites, model {model / MIB:.0f} MiB, words of {options.bits} bits; MiB beyond the model:")
        for name, extra in beyond.items():
            limit = COORDINATOR_MIB if name == "coordinator" else SITE_MIB
            exceeded |= extra > limit * MIB
            print(f"  {name:12}{extra / MIB:+8.0f}  limit {limit}{'  EXCEEDED' if extra > limit * MIB else ''}")
        sys.stdout.flush()
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
