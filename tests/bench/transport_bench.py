#!/usr/bin/env python3
"""How fast and how small transport and rounds are, as ratios to floors measured in the same run.

    transport_bench.py upload|line|round|sites|stalled --bin build/check/bin --bench build/check/tests/bench

Prints one JSON object. Standard library only; every process is stopped by its pid.
"""
import argparse
import json
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from federation import Federation, wait_for  # noqa: E402

MODEL_BYTES = 250_000_000
ROUND_PARAMETERS = 62_000_000
LINE_BYTES_PER_S = 125_000_000  # 1 Gbit/s
ONE_WAY_MS = 50
STALLED_UPLOADS = 32
STALLED_PARAMETERS = 4_000_000

STUDY = """name: bench
task: {{labels: {{1: Anterior, 2: Posterior}}, codes: {{1: HIPPOCAMPUS_ANTERIOR}}}}
series: {{modality: MR, rules: [{{ImageType: "!LOCALIZER"}}]}}
plan: auto
aggregation: {{min_sites: {sites}, unlabelled_weight: 0.2, unlabelled_after: 0}}
rounds: {{count: {rounds}, deadline: 60m, quorum: {sites}}}
protection: sealed
"""


def memory(pid, key):
    """Bytes of a process: VmRSS, VmHWM."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", text).group(1))


class Bench:
    def __init__(self, arguments, folder):
        self.bench = pathlib.Path(arguments.bench)
        self.folder = pathlib.Path(folder)
        self.federation = Federation(arguments.bin, self.folder / "f", "bench")
        self.sims = []
        self.floors = []
        self.certificates = self.folder / "certificates"
        self.run_floor("grpc_floor", "certificates", self.certificates)

    def run_floor(self, program, *arguments):
        done = subprocess.run([self.bench / program, *map(str, arguments)], check=True,
                              capture_output=True, text=True, timeout=600)
        return [float(x) for x in done.stdout.split()]

    def start_floor(self, program, *arguments):
        """A server of ours; returns its port."""
        process = subprocess.Popen([self.bench / program, *map(str, arguments)], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.floors.append(process)
        return int(process.stdout.readline())

    def start_sims(self, name, homes, *more):
        with open(self.federation.logs / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [self.federation.bin / "consilium-sim-agent", "--homes", homes, *map(str, more)],
                stderr=log)
        self.sims.append(process)
        return process

    def start_study(self, sites, rounds):
        study = self.folder / "study.yaml"
        study.write_text(STUDY.format(sites=sites, rounds=rounds))
        self.federation.cli("study", "create", study)
        self.federation.cli("study", "start", "bench")

    def timed(self, name, what):
        return [(line["bytes"], line["seconds"]) for line in self.federation.log_lines(name)
                if line["msg"] == what]

    def close(self):
        for process in [*self.sims, *self.floors]:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=120)
        self.federation.close()


def upload(bench, arguments):
    """A 250 MB update over loopback and over a long line, against raw TLS."""
    federation = bench.federation
    federation.start_coordinator()
    tls_port = bench.start_floor("tls_floor", "serve", bench.certificates)
    grpc_port = bench.start_floor("grpc_floor", "serve", bench.certificates)
    homes = bench.folder / "homes"
    bench.start_study(1, arguments.repeat)
    raw, bare = [], []
    sim = bench.start_sims("sim", homes, "--admin", federation.home / "admin", "--sites", 1,
                           "--parameters", MODEL_BYTES // 4, "--work-seconds", 4)
    seen = 0
    # While the site lets its work's time pass, the floors are measured on the same machine.
    deadline = time.monotonic() + arguments.seconds
    while time.monotonic() < deadline:
        time.sleep(0.2)
        downloads = len(bench.timed("sim", "downloaded"))
        if downloads > seen:
            seen = downloads
            raw += bench.run_floor("tls_floor", "send", bench.certificates, tls_port, MODEL_BYTES)
            bare.append(bench.run_floor("grpc_floor", "site", bench.certificates, grpc_port, 0,
                                        MODEL_BYTES)[1])
        if len(bench.timed("sim", "sent")) > arguments.repeat:
            break
    sent = [s for _, s in bench.timed("sim", "sent")][1:]  # the first is INITIALISE
    accepted = [s for _, s in bench.timed("sim", "sent and accepted")][1:]
    down = [s for _, s in bench.timed("sim", "downloaded")]
    result = {"raw_tls_s": raw, "bare_grpc_s": bare, "sent_s": sent, "accepted_s": accepted,
              "downloaded_s": down,
              "sent_over_raw": statistics.median(raw) / statistics.median(sent),
              "accepted_over_raw": statistics.median(raw) / statistics.median(accepted)}
    sim.terminate()
    sim.wait(timeout=60)
    return result


def line(bench, arguments):
    """An update through 1 Gbit/s and 100 ms, as a share of what the line carries."""
    federation = bench.federation
    federation.start_coordinator()
    relay = bench.start_floor("relay", federation.port, LINE_BYTES_PER_S, ONE_WAY_MS)
    homes = bench.folder / "homes"
    bench.start_study(1, 2)
    # Enrolled directly, then every call goes over the line.
    first = bench.start_sims("enrol", homes, "--admin", federation.home / "admin", "--sites", 1,
                             "--parameters", MODEL_BYTES // 4)
    wait_for(lambda: (homes / "sim-0001" / "identity" / "site.crt").exists(), "enrolled", 60)
    first.terminate()
    first.wait(timeout=60)
    settings = homes / "sim-0001" / "agent.yaml"
    settings.write_text(settings.read_text().replace(f":{federation.port}", f":{relay}"))
    bench.start_sims("sim", homes, "--parameters", MODEL_BYTES // 4)
    wait_for(lambda: len(bench.timed("sim", "sent")) >= 2, "two updates are sent", arguments.seconds)
    sent = [(b, s) for b, s in bench.timed("sim", "sent")]
    down = [(b, s) for b, s in bench.timed("sim", "downloaded")]
    return {"sent_s": [s for _, s in sent], "downloaded_s": [s for _, s in down],
            "sent_share_of_line": [b / s / LINE_BYTES_PER_S for b, s in sent],
            "downloaded_share_of_line": [b / s / LINE_BYTES_PER_S for b, s in down]}


def round_(bench, arguments):
    """A whole round of four sites without training, against the same bytes over bare gRPC."""
    federation = bench.federation
    federation.start_coordinator()
    homes = [bench.folder / f"homes-{i}" for i in range(4)]
    # sim-0001 to sim-0004 are enrolled together and then run as a process each.
    together = bench.folder / "homes"
    first = bench.start_sims("enrol", together, "--admin", federation.home / "admin", "--sites", 4)
    wait_for(lambda: (together / "sim-0004" / "identity" / "site.crt").exists(), "enrolled", 60)
    time.sleep(1)
    first.terminate()
    first.wait(timeout=60)
    for i, home in enumerate(homes):
        home.mkdir()
        (together / f"sim-000{i + 1}").rename(home / f"sim-000{i + 1}")
    bench.start_study(4, arguments.repeat)
    sims = [bench.start_sims(f"sim-{i}", home, "--parameters", ROUND_PARAMETERS)
            for i, home in enumerate(homes)]
    federation.wait_until_finished("bench", arguments.seconds)
    peaks = [memory(sim.pid, "VmHWM") for sim in sims]
    coordinator_peak = memory(federation.coordinator.pid, "VmHWM")
    begun, ended = {}, {}
    for entry in federation.log_lines("coordinator"):
        if entry["msg"] == "study event" and entry["action"] == "round.open":
            begun[entry["round"]] = entry["ts"]
        if entry["msg"] == "study event" and entry["action"] == "round.commit":
            ended[entry["round"]] = entry["ts"]
    floor_port = bench.start_floor("grpc_floor", "serve", bench.certificates)
    floors = []
    for _ in range(arguments.repeat):
        started = time.monotonic()
        sites = [subprocess.Popen([bench.bench / "grpc_floor", "site", bench.certificates,
                                   str(floor_port), str(4 * ROUND_PARAMETERS),
                                   str(4 * ROUND_PARAMETERS)], stdout=subprocess.DEVNULL)
                 for _ in range(4)]
        for site in sites:
            site.wait()
        floors.append(time.monotonic() - started)
    model = 4 * ROUND_PARAMETERS
    return {"events": sorted({e["action"] for e in federation.log_lines("coordinator")
                              if e["msg"] == "study event"}),
            "begun": begun, "ended": ended, "floor_s": floors,
            "coordinator_peak_models": coordinator_peak / model,
            "agent_peak_models": [p / model for p in peaks],
            "sent_s": [bench.timed(f"sim-{i}", "sent") for i in range(4)],
            "accepted_s": [bench.timed(f"sim-{i}", "sent and accepted") for i in range(4)],
            "downloaded_s": [bench.timed(f"sim-{i}", "downloaded") for i in range(4)]}


def sites(bench, arguments):
    """Many sites: what each costs the coordinator, and whether their round completes."""
    federation = bench.federation
    federation.start_coordinator()
    pid = federation.coordinator.pid
    homes = bench.folder / "homes"
    samples = {"empty": memory(pid, "VmRSS")}
    started = time.monotonic()
    bench.start_sims("sim", homes, "--admin", federation.home / "admin", "--sites",
                     arguments.sites, "--parameters", 1_000_000)

    def all_run():
        return any(l["msg"] == "simulated sites run" for l in federation.log_lines("sim"))
    wait_for(all_run, "all are enrolled", arguments.seconds)
    samples["enrolled"] = memory(pid, "VmRSS")
    enrolled_s = time.monotonic() - started
    time.sleep(20)
    samples["connected"] = memory(pid, "VmRSS")
    bench.start_study(arguments.sites, 1)
    started = time.monotonic()
    federation.wait_until_finished("bench", arguments.seconds)
    samples["after the round"] = memory(pid, "VmRSS")
    samples["peak"] = memory(pid, "VmHWM")
    return {"sites": arguments.sites, "enrolled_s": enrolled_s,
            "study_s": time.monotonic() - started, "rss": samples,
            "kib_per_connected_site": (samples["connected"] - samples["enrolled"]) / 1024 /
            arguments.sites,
            "threads": len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))}


def stalled(bench, arguments):
    """32 uploads that stop half way, their senders alive: what the coordinator holds for them."""
    federation = bench.federation
    federation.start_coordinator()
    pid = federation.coordinator.pid
    homes = bench.folder / "homes"
    sim = bench.start_sims("sim", homes, "--admin", federation.home / "admin", "--sites",
                           STALLED_UPLOADS, "--parameters", STALLED_PARAMETERS)
    wait_for(lambda: any(l["msg"] == "simulated sites run" for l in federation.log_lines("sim")),
             "all are enrolled", arguments.seconds)
    time.sleep(5)
    connected = memory(pid, "VmRSS")
    bench.start_study(STALLED_UPLOADS, 1)
    staging = federation.home / "staging" / "bench" / "1"
    whole = 4 * STALLED_PARAMETERS

    def half_way():
        sizes = [f.stat().st_size for f in staging.iterdir()] if staging.exists() else []
        return len(sizes) == STALLED_UPLOADS and sum(sizes) > STALLED_UPLOADS * whole / 4
    wait_for(half_way, "the uploads are under way", arguments.seconds, every=0.02)
    sim.send_signal(signal.SIGSTOP)
    try:
        time.sleep(5)
        held = memory(pid, "VmRSS")
        under_way = sum(1 for f in staging.iterdir() if f.stat().st_size < whole)
    finally:
        sim.send_signal(signal.SIGCONT)
    federation.wait_until_finished("bench", arguments.seconds)
    return {"stalled_uploads": under_way, "rss_connected": connected, "rss_stalled": held,
            "rss_peak": memory(pid, "VmHWM"), "mib_added": (held - connected) / 2**20}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    benches = {"upload": upload, "line": line, "round": round_, "sites": sites, "stalled": stalled}
    parser.add_argument("which", choices=benches)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        bench = Bench(arguments, folder)
        try:
            print(json.dumps(benches[arguments.which](bench, arguments), indent=1))
        finally:
            bench.close()


if __name__ == "__main__":
    main()
