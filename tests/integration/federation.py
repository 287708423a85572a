"""A federation of the real programs on loopback, for the integration tests.

Standard library only. Every process is stopped by its pid when the federation is closed.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time


def free_port():
    """A port that was free a moment ago: the coordinator must come back on the same one after a kill."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Federation:
    """Coordinator, CLI and agents in `folder`, with programs from `bin_dir`."""

    def __init__(self, bin_dir, folder, name="test-federation", host="127.0.0.1"):
        self.bin = pathlib.Path(bin_dir)
        self.folder = pathlib.Path(folder)
        self.home = self.folder / "coordinator"
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.port, self.enrolment_port = free_port(), free_port()
        self.coordinator = None
        self.agents = {}
        self.run("consilium", "init", self.home, "--name", name,
                 "--host", host, "--listen", f"{host}:{self.port}",
                 "--enrolment-listen", f"{host}:{self.enrolment_port}",
                 "--http-listen", "127.0.0.1:0")

    def run(self, program, *arguments, check=True, **options):
        done = subprocess.run([self.bin / program, *map(str, arguments)], capture_output=True,
                              text=True, timeout=600, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{program} {arguments}: exit {done.returncode}\n"
                                 f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    def cli(self, *arguments, check=True):
        return self.run("consilium", "--home", self.home, *arguments, check=check)

    def show(self, *arguments):
        return json.loads(self.cli("--output", "json", *arguments).stdout)

    def start_coordinator(self):
        with open(self.logs / "coordinator.log", "ab") as log:
            self.coordinator = subprocess.Popen(
                [self.bin / "consilium-coordinator", "--home", self.home], stderr=log)
        wait_for(lambda: self.cli("site", "list", check=False).returncode == 0,
                 "the coordinator answers", 30)

    def kill_coordinator(self):
        self.coordinator.send_signal(signal.SIGKILL)
        self.coordinator.wait()

    def site_home(self, site):
        return self.folder / "sites" / site

    def add_site(self, site, archive):
        """Invites, enrols, approves, and takes the archive in. Returns ingest's JSON report."""
        invitation = self.folder / f"{site}.json"
        self.cli("site", "invite", site, "--out", invitation)
        self.run("consilium-agent", "enroll", "--home", self.site_home(site), "--invitation", invitation)
        self.cli("site", "approve", site)
        # Without a policy a site masks its updates or sends none.
        (self.site_home(site) / "policy.yaml").write_text(
            "protections: [secure-aggregation, sealed]\n")
        done = self.run("consilium-agent", "ingest", "--home", self.site_home(site), archive,
                        "--output", "json")
        (self.logs / f"{site}.ingest.log").write_text(done.stdout + done.stderr)
        return json.loads(done.stdout)

    def start_agent(self, site, environment=None):
        # One thread each: the agents of a test share the machine.
        settings = self.site_home(site) / "agent.yaml"
        lines = [line for line in settings.read_text().splitlines() if not line.startswith("threads:")]
        settings.write_text("\n".join(lines + ["threads: 1"]) + "\n")
        with open(self.logs / f"{site}.log", "ab") as log:
            self.agents[site] = subprocess.Popen(
                [self.bin / "consilium-agent", "run", "--home", self.site_home(site)], stderr=log,
                env={**os.environ, **(environment or {})})

    def stop_agent(self, site):
        agent = self.agents.pop(site)
        agent.terminate()
        return agent.wait(timeout=60)

    def wait_until_finished(self, study, seconds=600):
        def ended():
            state = self.show("study", "show", study)
            if state["state"] in ("failed", "stopped"):
                raise AssertionError(f"study {state['state']}: {state.get('reason')}")
            return state["state"] == "finished"
        wait_for(ended, f"study {study} finishes", seconds)
        return self.show("study", "show", study)

    def log_lines(self, name):
        """The JSON lines of a program's log, in order."""
        lines = []
        for line in (self.logs / f"{name}.log").read_text(errors="replace").splitlines():
            if line.startswith("{"):
                lines.append(json.loads(line))
        return lines

    def close(self):
        for process in [*self.agents.values(), self.coordinator]:
            if process is not None and process.poll() is None:
                process.terminate()
        for process in [*self.agents.values(), self.coordinator]:
            if process is not None:
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_for(condition, what, seconds, every=0.3):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(every)
