"""deploy/: what can be held of it without Docker and Kubernetes."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from confluent_kafka.admin import ResourceType
from deploy_help import DEPLOY, documents, rights
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from streamad_connectors.kafka.ownership import trainers_of
from streamad_connectors.kafka.source import group_of
from streamad_connectors.kafka.state import StateOptions, _scorer_name

import streamad
from streamad.cli import parser
from streamad.config import load_config
from streamad.job import Job
from streamad.records.kdd import KDD_FIELDS
from streamad.wiring.cluster import member

ROOT = DEPLOY.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = documents("compose.yaml")[0]
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "streamad"}
KUSTOMIZATION = documents("kubernetes/kustomization.yaml")[0]
UNITS = ("streamad.service", "streamad@.service")


def pins():
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)


def asked(words):
    """What a command line asks streamad for."""
    return parser().parse_args([str(word) for word in words])


# ---- the image ---------------------------------------------------------------------------------------


def test_every_dependency_has_a_pin_that_it_allows():
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    assert [one.name for one in wanted if not one.specifier.contains(pins().get(one.name.lower(), "0"))] == []


def test_the_image_is_built_with_the_pins_and_a_python_that_streamad_takes():
    assert "PIP_CONSTRAINT=/src/deploy/constraints.txt" in DOCKERFILE
    assert "COPY deploy/constraints.txt deploy/constraints.txt" in DOCKERFILE
    (python,) = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE)
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images == ["python:${PYTHON}-slim-bookworm"] * 2


def test_what_the_image_copies_is_there_and_not_left_out():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [word for line in copied for word in line.split()]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_in[0] == "*"
    assert {f"!{name}" for name in sources} == {line for line in let_in if line.startswith("!")}


def test_the_image_runs_as_a_user_without_rights():
    stages = DOCKERFILE.split("\nFROM ")
    assert re.findall(r"^USER (.+)$", stages[-1], re.MULTILINE) == ["10001:10001"]
    assert 'ENTRYPOINT ["streamad"]' in stages[-1]


def test_the_install_of_each_variant_is_a_shell_command(tmp_path):
    (install,) = re.findall(r"^RUN (python -m venv (?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    said = {}
    for index in ("", "INDEX"):
        called = install.replace("\\\n", " ").replace("/opt/streamad/bin/pip", "pip")
        script = f'python() {{ :; }}\npip() {{ echo "$@"; }}\n{called}'
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={"CPU_INDEX": index, "PATH": "/nowhere"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        said[index] = (done.returncode, done.stdout.splitlines())
    assert said == {
        "": (0, ["install torch"]),
        "INDEX": (0, ["install --no-deps --index-url INDEX torch"]),
    }


# ---- compose -----------------------------------------------------------------------------------------


def test_the_feed_of_compose_is_one_of_a_cluster_and_of_the_traffic_that_it_gets():
    feed = member(Job("run", DEPLOY / "compose" / "feed.yaml"))
    assert (feed.state.create_topics, [*feed.config.schema_.fields]) == (True, [*KDD_FIELDS])
    brokers, topic, _rate = OURS["traffic"]["command"]
    assert (feed.source.brokers, feed.source.topic) == (brokers, topic)
    made = COMPOSE["services"]["topics"]["command"]
    assert {f"--topic={topic}", f"--bootstrap-server={brokers}"} <= {*made}
    listeners = COMPOSE["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert listeners == f"PLAINTEXT://{brokers}"


def test_what_compose_starts_is_what_streamad_can_do():
    commands = {
        name: asked(service["command"]) for name, service in OURS.items() if "entrypoint" not in service
    }
    functions = {name: args.command_function for name, args in commands.items()}
    assert functions == {"trainer": "running:trainer", "scorer-1": "running:run", "scorer-2": "running:run"}
    ((mount, _cache),) = {tuple(service["volumes"]) for service in OURS.values()}
    source, target, mode = mount.split(":")
    assert ((DEPLOY / source).is_file(), mode) == (True, "ro")
    assert {str(args.config) for args in commands.values()} == {target}


def test_the_traffic_of_compose_is_a_command_that_there_is():
    entrypoint, command = OURS["traffic"]["entrypoint"], OURS["traffic"]["command"]
    done = subprocess.run(
        [sys.executable, *entrypoint[1:], "--help"], capture_output=True, text=True, check=True
    )
    assert all(word.partition("=")[0] in done.stdout for word in command if word.startswith("--"))


def test_scorers_of_compose_keep_a_name_each():
    names = [service.get("hostname") for name, service in OURS.items() if name.startswith("scorer")]
    assert names == ["scorer-1", "scorer-2"]


def test_nothing_of_ours_in_compose_may_do_more_than_it_must():
    for service in OURS.values():
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
            True,
            ["ALL"],
            ["no-new-privileges:true"],
        )
        assert "ports" not in service


def test_the_health_that_compose_asks_for_is_the_one_that_the_feed_gives():
    listen = load_config(DEPLOY / "compose" / "feed.yaml").http.listen
    tests = {
        json.dumps(service["healthcheck"]["test"]) for name, service in OURS.items() if name != "traffic"
    }
    assert [re.search(r"http://127.0.0.1:(\d+)/healthz", test)[1] for test in tests] == [
        listen.rpartition(":")[2]
    ]


# ---- Kubernetes --------------------------------------------------------------------------------------


def manifests():
    return [one for name in KUSTOMIZATION["resources"] for one in documents(f"kubernetes/{name}")]


def the(kind, name=None):
    found = [one for one in manifests() if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1
    return found[0]


WORKLOADS = [one for one in manifests() if one["kind"] in {"StatefulSet", "Deployment"}]
PODS = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one["metadata"]["name"])


@pytest.fixture
def feed(tmp_path, monkeypatch):
    """The config as it lies in a pod: beside it the secret."""
    (example, _) = documents("kubernetes/secret.example.yaml")
    for folder, files in (("config", {}), ("secret", example["stringData"])):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text, encoding="utf-8")
    path = tmp_path / "config" / "feed.yaml"
    shutil.copy(DEPLOY / "kubernetes" / "feed.yaml", path)
    monkeypatch.setenv("KAFKA_USER", example["stringData"]["username"])
    return member(Job("run", path))


def test_every_file_of_the_folder_is_a_resource_or_said_to_be_none():
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    apart = {"kustomization.yaml", "feed.yaml", "secret.example.yaml", "scaledobject.yaml"}
    assert files == {*KUSTOMIZATION["resources"]} | apart


def test_the_manifests_are_these():
    assert [(one["kind"], one["metadata"]["name"]) for one in manifests()] == [
        ("Namespace", "streamad"),
        ("NetworkPolicy", "streamad"),
        ("Service", "streamad-scorer"),
        ("PodDisruptionBudget", "streamad-scorer"),
        ("StatefulSet", "streamad-scorer"),
        ("PodDisruptionBudget", "streamad-trainer"),
        ("Deployment", "streamad-trainer"),
    ]


@PODS
def test_selectors_match_the_labels_of_their_pods(workload):
    labels = workload["spec"]["template"]["metadata"]["labels"]
    name = workload["metadata"]["name"]
    budget = the("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"]
    (spread,) = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (
        labels
        == workload["spec"]["selector"]["matchLabels"]
        == budget
        == spread["labelSelector"]["matchLabels"]
    )
    if workload["kind"] == "StatefulSet":
        service = the("Service", workload["spec"]["serviceName"])
        assert (service["spec"]["selector"], service["spec"]["clusterIP"]) == (labels, "None")


@PODS
def test_a_pod_may_do_no_more_than_it_must(workload):
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    rest = pod["securityContext"]
    assert (rest["runAsNonRoot"], rest["runAsUser"], rest["seccompProfile"]) == (
        True,
        10001,
        {"type": "RuntimeDefault"},
    )
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"].keys() >= {"memory"}


@PODS
def test_what_a_pod_mounts_and_reads_is_there(workload):
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == KUSTOMIZATION["configMapGenerator"][0]["name"]
    secrets = {
        one["metadata"]["name"]: one["stringData"] for one in documents("kubernetes/secret.example.yaml")
    }
    secret = volumes["secret"]["secret"]["secretName"]
    assert secret == workload["metadata"]["name"]
    read = [
        one["valueFrom"]["secretKeyRef"] for one in container["env"] if "secretKeyRef" in one["valueFrom"]
    ]
    assert [(one["name"], one["key"] in secrets[secret]) for one in read] == [(secret, True)]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert Path(places["secret"]) == Path(places["config"]).parent / "secret"


def test_pods_start_the_roles_of_a_cluster(feed):
    words = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["args"] for one in WORKLOADS
    }
    scorer, trainer = asked(words["streamad-scorer"]), asked(words["streamad-trainer"])
    assert (scorer.command_function, trainer.command_function) == ("running:run", "running:trainer")
    assert {str(scorer.config), str(trainer.config)} == {f"/etc/streamad/config/{feed.job.config.name}"}
    assert isinstance(feed.state, StateOptions)


def test_pods_of_two_feeds_write_under_transactional_ids_of_their_own(feed, monkeypatch):
    name = the("StatefulSet")["metadata"]["name"]
    monkeypatch.setattr(
        "socket.gethostname", lambda: f"{name}-1"
    )  # as Kubernetes names a pod, and so its host
    text = feed.job.config.read_text(encoding="utf-8")
    ids = {}
    for other in (feed.config.feed, "web"):
        feed.job.config.write_text(
            text.replace(f"\nfeed: {feed.config.feed}\n", f"\nfeed: {other}\n"), encoding="utf-8"
        )
        words = the("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"]
        one = member(Job("run", feed.job.config, tuple(asked(words).set)))
        ids[other] = _scorer_name(one.state, one.source, one.context)
    assert ids == {"conn": f"streamad-conn-scorer-{name}-1", "web": f"streamad-web-scorer-{name}-1"}
    (prefix,) = (name for kind, name, _ in rights("scorer") if kind == ResourceType.TRANSACTIONAL_ID)
    assert {other: id_.startswith(prefix) for other, id_ in ids.items()} == {"conn": True, "web": False}
    assert not trainers_of("conn").startswith(prefix)


def test_no_host_is_called_so_that_its_scorer_writes_as_the_trainer(feed, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "trainer")
    assert _scorer_name(feed.state, feed.source, feed.context) == "streamad-conn-scorer-trainer"
    assert trainers_of("conn") == "streamad-conn-trainer"


@PODS
def test_probes_ask_where_the_feed_listens(workload, feed):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert feed.config.http.listen == f"0.0.0.0:{port['containerPort']}"
    probes = {key: probe["httpGet"] for key, probe in container.items() if key.endswith("Probe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {probe["path"] for probe in probes.values()} <= {"/healthz", "/readyz", "/metrics"}
    assert {"startupProbe", "livenessProbe"} <= probes.keys()


@PODS
def test_a_pod_is_not_restarted_for_a_partition_that_is_paused(workload):
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/metrics"


def test_the_network_lets_brokers_and_metrics_through_and_nothing_else(feed):
    policy = the("NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    (metrics,) = policy["ingress"]
    assert [port["port"] for port in metrics["ports"]] == [int(feed.config.http.listen.rpartition(":")[2])]
    ports = [sorted((port["protocol"], port["port"]) for port in rule["ports"]) for rule in policy["egress"]]
    assert ports == [[("TCP", int(feed.source.brokers.rpartition(":")[2]))], [("TCP", 53), ("UDP", 53)]]


def test_scaling_looks_at_the_lag_of_the_feeds_own_group(feed):
    authentication, scaled = documents("kubernetes/scaledobject.yaml")
    (trigger,) = scaled["spec"]["triggers"]
    told = trigger["metadata"]
    assert (told["topic"], told["consumerGroup"], told["bootstrapServers"]) == (
        feed.source.topic,
        group_of(feed.source, feed.context.source),
        feed.source.brokers,
    )
    target = scaled["spec"]["scaleTargetRef"]
    assert the(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert {ref["name"] for ref in authentication["spec"]["secretTargetRef"]} == {"streamad-scorer"}


def test_the_image_of_the_manifests_is_of_this_version():
    (image,) = KUSTOMIZATION["images"]
    used = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in WORKLOADS}
    assert (used, image["newTag"]) == ({image["name"]}, streamad.__version__)


def kept_by_kubernetes():
    """What Kubernetes itself knows the kinds of, by its schemas: not what kustomize and KEDA read."""
    found = [
        one
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for one in documents(f"kubernetes/{path.name}")
        if "kind" in one and not one["apiVersion"].startswith(("kustomize.config.k8s.io/", "keda.sh/"))
    ]
    return [pytest.param(one, id=f"{one['kind']}-{one['metadata']['name']}") for one in found]


@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", kept_by_kubernetes())
def test_a_manifest_is_what_the_schema_of_its_kind_takes(manifest, version):
    assert version.startswith(kubernetes_validate.validate(manifest, version, strict=True))


def test_every_manifest_is_looked_at_and_a_word_that_the_schema_does_not_know_is_refused():
    seen = [param.values[0]["kind"] for param in kept_by_kubernetes()]
    assert sorted(seen) == sorted([*(one["kind"] for one in manifests()), "Secret", "Secret"])
    scorer = the("StatefulSet")
    scorer["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="'livenesProbe' was unexpected"):
        kubernetes_validate.validate(scorer, kubernetes_validate.latest_version(), strict=True)


def test_kustomize_takes_the_folder():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is missing")
    done = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    built = [*yaml.safe_load_all(done.stdout)]
    assert len(built) == len(manifests()) + 1
    pods = [one["spec"] for one in built if one["kind"] in {"StatefulSet", "Deployment"}]
    assert all(pod["selector"]["matchLabels"] == pod["template"]["metadata"]["labels"] for pod in pods)


# ---- rights and units --------------------------------------------------------------------------------


def test_the_rights_are_on_what_the_manifests_use(feed):
    users = [one["stringData"]["username"] for one in documents("kubernetes/secret.example.yaml")]
    assert users == ["scorer", "trainer"]
    named = {name for user in users for _, name, _ in rights(user)}
    fields = ("alerts", "rejected", "candidates", "labels", "models", "control")
    topics = {feed.source.topic, *(f"{feed.config.feed}.{field}" for field in fields)}
    prefix = f"streamad-{feed.config.feed}-scorer-"
    assert named == topics | {f"streamad-{feed.config.feed}", trainers_of(feed.config.feed), prefix}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_there_is(name):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / name)
    service = unit["Service"]
    words = shlex.split(service["ExecStart"].replace("${ROLE}", "run").replace("%i", "conn"))
    assert asked(words[1:]).command_function == "running:run"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["Type"], service["Restart"], service["RestartPreventExitStatus"]) == (
        "notify",
        "on-failure",
        "2",
    )


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_unit(name, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    text = (
        (DEPLOY / name)
        .read_text(encoding="utf-8")
        .replace("/opt/streamad/.venv/bin/streamad", sys.executable)
    )
    unit = tmp_path / name
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
