#!/usr/bin/python3
"""The manifests in deploy/kubernetes keep their promises, and the programs know what they are given.

    kubernetes_manifests.py ROOT BIN

Every container: not root, nothing written but volumes, no capability, no privilege; its flags are in
the program's --help. Probes, ports, claims, selectors and policies fit together, and the ports are
the defaults of `consilium init`. Prints what does not hold and exits with 1; 77: python3-yaml is absent.
"""
import copy
import pathlib
import re
import subprocess
import sys

try:
    import yaml
except ImportError:
    print("skipped: python3-yaml is absent")
    sys.exit(77)

HOME = "/var/lib/consilium"
KINDS = {
    "coordinator.yaml": ["StatefulSet", "Service", "NetworkPolicy", "PodDisruptionBudget"],
    "agent.yaml": ["PersistentVolumeClaim", "Deployment", "NetworkPolicy"],
    "init/coordinator.yaml": ["Job"],
    "init/agent.yaml": ["Job"],
}
LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of"}


def load(folder):
    return {name: list(yaml.safe_load_all((folder / name).read_text())) for name in KINDS}


def of_kind(documents, kind):
    return next(d for d in documents if d["kind"] == kind)


def workloads(manifests):
    for documents in manifests.values():
        for document in documents:
            if document["kind"] in ("StatefulSet", "Deployment", "Job"):
                yield document


class Programs:
    def __init__(self, folder):
        self.folder = folder
        self.known = {}

    def help(self, *words):
        if words not in self.known:
            self.known[words] = subprocess.run([self.folder / words[0], *words[1:], "--help"],
                                               capture_output=True, text=True, check=True).stdout
        return self.known[words]

    def flags(self, words):
        return set(re.findall(r"^ +(?:-\w,)?(--[a-z][a-z-]*)", self.help(*words), re.MULTILINE))


def container_faults(container, pod, programs):
    context = container.get("securityContext", {})
    wanted = {"runAsNonRoot": True, "runAsUser": 65532, "readOnlyRootFilesystem": True,
              "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
              "seccompProfile": {"type": "RuntimeDefault"}}
    for key, value in wanted.items():
        if context.get(key) != value:
            yield f"securityContext.{key} is not {value}"
    if set(context) - set(wanted):
        yield f"securityContext has more: {sorted(set(context) - set(wanted))}"
    resources = container.get("resources", {})
    for bound, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if what not in resources.get(bound, {}):
            yield f"resources.{bound}.{what} is absent"
    mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
    if not {HOME, "/tmp"} <= set(mounts):
        yield f"{HOME} and /tmp are not both mounted"
    elif "subPath" not in mounts[HOME]:
        yield "the home is the top of its volume, which may hold lost+found"
    # The program knows its subcommand and its flags.
    folder, _, program = container["command"][0].rpartition("/")
    if folder != "/app/bin" or len(container["command"]) != 1:
        yield f"command {container['command']}: not one program of ours"
    words = [program]
    arguments = list(container["args"])
    if not arguments[0].startswith("-"):
        words.append(arguments.pop(0))
    for argument in arguments:
        flag = argument.split("=")[0]
        if flag.startswith("-") and flag not in programs.flags(tuple(words)):
            yield f"{' '.join(words)} has no {flag}"
    if HOME not in [a.removeprefix("--home=") for a in arguments]:
        yield f"args do not name {HOME}"
    names = {volume["name"] for volume in pod.get("volumes", [])}
    for path, mount in mounts.items():
        if mount["name"] not in names:
            yield f"{path}: no volume {mount['name']}"


def workload_faults(document, programs):
    name, spec = document["metadata"]["name"], document["spec"]
    template = spec["template"]
    pod = copy.deepcopy(template["spec"])
    for claim in spec.get("volumeClaimTemplates", []):
        pod.setdefault("volumes", []).append({"name": claim["metadata"]["name"]})
    selector = spec.get("selector", {}).get("matchLabels", {})
    if not selector.items() <= template["metadata"]["labels"].items():
        yield f"{name}: its selector does not find its pods"
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{name}: carries a token of the cluster"
    if pod.get("securityContext", {}).get("fsGroup") != 65532:
        yield f"{name}: its volume is not given to 65532"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if key in pod:
            yield f"{name}: {key}"
    for container in pod["containers"] + pod.get("initContainers", []):
        for fault in container_faults(container, pod, programs):
            yield f"{name}: {fault}"


def init_ports(programs):
    text = programs.help("consilium", "init")
    return {name: int(re.search(rf"--{flag} TEXT=127\.0\.0\.1:(\d+)", text)[1])
            for name, flag in (("federation", "listen"), ("enrolment", "enrolment-listen"),
                               ("http", "http-listen"))}


def coordinator_faults(documents, job, programs):
    ports = init_ports(programs)
    spec = of_kind(documents, "StatefulSet")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    pod_labels = spec["template"]["metadata"]["labels"].items()
    if spec["replicas"] != 1:
        yield "coordinator: more than one writer of a store"
    if {p["name"]: p["containerPort"] for p in container["ports"]} != ports:
        yield f"coordinator: its ports are not those of `consilium init`: {ports}"
    service = of_kind(documents, "Service")["spec"]
    if {p["targetPort"]: p["port"] for p in service["ports"]} != ports:
        yield f"service: its ports are not {ports}"
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz"),
                        ("startupProbe", "/healthz")):
        if container.get(probe, {}).get("httpGet") != {"path": path, "port": "http"}:
            yield f"coordinator: {probe} is not {path} on http"
    policy = of_kind(documents, "NetworkPolicy")["spec"]
    if {p["port"] for rule in policy["ingress"] for p in rule["ports"]} != set(ports.values()):
        yield f"coordinator: its policy lets in other ports than {ports}"
    if any(p["port"] == ports["http"] and "from" not in rule
           for rule in policy["ingress"] for p in rule["ports"]):
        yield "coordinator: plain HTTP is open to everybody"
    if policy["egress"] or set(policy["policyTypes"]) != {"Ingress", "Egress"}:
        yield "coordinator: it may call out"
    for what, selector in (("service", service["selector"]),
                           ("policy", policy["podSelector"]["matchLabels"]),
                           ("budget", of_kind(documents, "PodDisruptionBudget")["spec"]["selector"]
                            ["matchLabels"])):
        if not selector or not selector.items() <= pod_labels:
            yield f"coordinator: the {what} does not select its pods"
    made = job["spec"]["template"]["spec"]
    for name, flag in (("federation", "listen"), ("enrolment", "enrolment-listen"),
                       ("http", "http-listen")):
        if f"--{flag}=0.0.0.0:{ports[name]}" not in made["containers"][0]["args"]:
            yield f"init: --{flag} is not 0.0.0.0:{ports[name]}, which probes and sites need"
    claim = f"{spec['volumeClaimTemplates'][0]['metadata']['name']}-consilium-coordinator-0"
    if claim not in [v.get("persistentVolumeClaim", {}).get("claimName") for v in made["volumes"]]:
        yield f"init: does not fill the coordinator's volume, {claim}"


def agent_faults(documents, job):
    spec = of_kind(documents, "Deployment")["spec"]
    if spec["replicas"] != 1 or spec["strategy"] != {"type": "Recreate"}:
        yield "agent: two of them could meet in one home"
    policy = of_kind(documents, "NetworkPolicy")["spec"]
    if policy["ingress"] or set(policy["policyTypes"]) != {"Ingress", "Egress"}:
        yield "agent: somebody may call it"
    if not policy["podSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items():
        yield "agent: the policy does not select its pods"
    claim = of_kind(documents, "PersistentVolumeClaim")["metadata"]["name"]
    for pod in (spec["template"]["spec"], job["spec"]["template"]["spec"]):
        if claim not in [v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]]:
            yield f"agent: a pod without its volume, {claim}"


def faults(manifests, programs):
    for name, documents in manifests.items():
        if [d["kind"] for d in documents] != KINDS[name]:
            yield f"{name}: holds other things than {KINDS[name]}"
        for document in documents:
            if not LABELS <= set(document["metadata"].get("labels", {})):
                yield f"{name}: {document['kind']} lacks labels {sorted(LABELS)}"
    for document in workloads(manifests):
        yield from workload_faults(document, programs)
    yield from coordinator_faults(manifests["coordinator.yaml"], manifests["init/coordinator.yaml"][0],
                                  programs)
    yield from agent_faults(manifests["agent.yaml"], manifests["init/agent.yaml"][0])


def planted(manifests):
    """Manifests with one mistake each."""
    def container(m):
        return of_kind(m["coordinator.yaml"], "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    mistakes = (
        lambda m: container(m)["securityContext"].update(readOnlyRootFilesystem=False),
        lambda m: container(m)["securityContext"].pop("seccompProfile"),
        lambda m: container(m)["args"].append("--frobnicate"),
        lambda m: container(m)["ports"][2].update(containerPort=8080),
        lambda m: container(m)["readinessProbe"]["httpGet"].update(path="/"),
        lambda m: of_kind(m["coordinator.yaml"], "Service")["spec"]["selector"].update(x="y"),
        lambda m: of_kind(m["agent.yaml"], "Deployment")["spec"].update(replicas=2),
        lambda m: of_kind(m["agent.yaml"], "NetworkPolicy")["spec"].update(ingress=[{}]),
    )
    for mistake in mistakes:
        changed = copy.deepcopy(manifests)
        mistake(changed)
        yield changed


def main():
    root, programs = pathlib.Path(sys.argv[1]), Programs(pathlib.Path(sys.argv[2]))
    folder = root / "deploy" / "kubernetes"
    manifests = load(folder)
    found = list(faults(manifests, programs))
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found += [f"kustomization.yaml: no file {name}" for name in listed["resources"]
              if not (folder / name).exists()]
    images = {image["name"] for image in listed["images"]}
    for name in ("coordinator.yaml", "agent.yaml"):
        for document in workloads({name: manifests[name]}):
            image = document["spec"]["template"]["spec"]["containers"][0]["image"]
            if image not in images:
                found.append(f"kustomization.yaml: does not name the image {image}")
    # And the check can fail.
    for number, changed in enumerate(planted(manifests)):
        if not list(faults(changed, programs)):
            found.append(f"the check does not see planted mistake {number}")
    for fault in found:
        print(fault)
    print(f"{len(found)} mistakes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
