"""The manifests of `deploy/k8s`: an API server would take them, and they keep to what we promise of every pod."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from adapters.bus.kafka.bus import group_of
from adapters.catalog.yaml_files import YamlCatalog
from contracts.module import JobRoute, StreamRoute
from runtime import registry, settings
from runtime.http.admission import PUBLIC
from runtime.settings_sources import NOT_SETTINGS
from runtime.supervisor import CUT_GRACE_S
from tests.architecture.doc_tables import ROOT
from tests.deploy import exported, promql
from tests.deploy.kubeconform import faults_of
from tests.deploy.kustomize import OVERLAYS, built

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1000)]

EACH = pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
CLOSING_S = 2 * CUT_GRACE_S
"""What hooks and adapters may take after the drain's own time."""

Manifest = dict[str, Any]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] in kinds]


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Each workload, with the specification of its pods."""
    for one in of_kind(manifests, "Deployment", "Job"):
        yield one, one["spec"]["template"]
    for one in of_kind(manifests, "CronJob"):
        yield one, one["spec"]["jobTemplate"]["spec"]["template"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    for workload, pod in pods(manifests):
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            yield named(workload), pod["spec"], container


def config_of(manifests: list[Manifest]) -> dict[str, str]:
    [config] = of_kind(manifests, "ConfigMap")
    return dict(config["data"])


@EACH
def test_an_api_server_would_take_it(overlay: Any) -> None:
    manifests = built(overlay)
    assert manifests
    assert not faults_of(manifests)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replica"), 2),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "httpget"), {}),
        (("spec", "replicas"), "two"),
        (("kind",), "Deploymnt"),
    ],
)
def test_a_manifest_that_is_wrong_would_be_seen(path: tuple[Any, ...], value: Any) -> None:
    right = of_kind(built(OVERLAYS[0]), "Deployment")[0]
    wrong = json.loads(json.dumps(right))
    *way, last = path
    place = wrong
    for step in way:
        place = place[step]
    place[last] = value
    assert list(faults_of([right, wrong])) == [named(wrong)]


@EACH
def test_pods_are_restricted(overlay: Any) -> None:
    """As the Pod Security Standard "restricted" asks, and a root that nobody can write to."""
    manifests = built(overlay)
    assert of_kind(manifests, "Deployment")
    for name, pod, container in containers(manifests):
        around, own = pod["securityContext"], container["securityContext"]
        assert around["runAsNonRoot"] is True, name
        assert around["runAsUser"] >= 10000, name
        assert around["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert own["allowPrivilegeEscalation"] is False, name
        assert own["readOnlyRootFilesystem"] is True, name
        assert own["capabilities"] == {"drop": ["ALL"]}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert pod["automountServiceAccountToken"] is False, name
        assert all("emptyDir" in volume and volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"]), name
    for namespace in of_kind(manifests, "Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@EACH
def test_what_a_container_may_use_is_bounded_and_its_image_is_pinned(overlay: Any) -> None:
    for name, _, container in containers(built(overlay)):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][bound].keys(), name
        image, _, tag = container["image"].rpartition(":")
        assert image, f"{name}: {container['image']} has no tag"
        assert tag not in ("latest", ""), name


@EACH
def test_there_is_time_to_drain(overlay: Any) -> None:
    """The grace is more than the hook before it, the drain, and the closing."""
    manifests = built(overlay)
    drain_s = float(config_of(manifests)["DRAIN_TIMEOUT_S"])
    for workload, pod in pods(manifests):
        [container] = pod["spec"]["containers"]
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        assert hook[0] == "sleep"
        grace_s = pod["spec"]["terminationGracePeriodSeconds"]
        assert grace_s > float(hook[1]) + drain_s + CLOSING_S, named(workload)


@EACH
def test_probes_ask_what_answers_anyone(overlay: Any) -> None:
    for workload in of_kind(built(overlay), "Deployment"):
        [container] = workload["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["http"] == settings.Settings.model_fields["http_port"].default
        asked = {}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked[probe] = container[probe]["httpGet"]["path"]
            assert container[probe]["httpGet"]["port"] in ports
        assert set(asked.values()) <= PUBLIC
        assert asked["livenessProbe"] == "/health/live", "a dependency that is down is no reason for a restart"
        assert asked["readinessProbe"] == "/health/ready"


@EACH
def test_settings_are_ours_and_can_be_loaded(overlay: Any) -> None:
    manifests = built(overlay)
    config = config_of(manifests)
    given = set(config) | {entry["name"] for _, _, one in containers(manifests) for entry in one.get("env", ())}
    assert given <= {*settings.KEYS.values(), *NOT_SETTINGS}
    secrets = {} if config["MILLRACE_ENV"] == "local" else {"DB_POSTGRES_URL": "postgresql://a:b@postgres/millrace"}
    assert settings.load(overrides={}, environ={**config, **secrets}, directory=ROOT).env == config["MILLRACE_ENV"]


@EACH
def test_nothing_secret_is_written_down(overlay: Any) -> None:
    manifests = built(overlay)
    assert not of_kind(manifests, "Secret")
    assert not re.search(r"://[^/\s:]+:[^@\s]+@", yaml.safe_dump_all(manifests))


@EACH
def test_what_is_named_is_there(overlay: Any) -> None:
    """Labels find their pods, and references their objects."""
    manifests = built(overlay)
    workloads = {named(one) for one in manifests}
    labels = [pod["metadata"]["labels"] for _, pod in pods(manifests)]
    for one in of_kind(manifests, "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"):
        spec = one["spec"]
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= there.items() for there in labels), named(one)
    for one in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        assert f"Deployment {one['spec']['scaleTargetRef']['name']}" in workloads, named(one)
    for name, pod, container in containers(manifests):
        assert f"ServiceAccount {pod['serviceAccountName']}" in workloads, name
        maps = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        assert all(f"ConfigMap {reference}" in workloads for reference in maps), name
    for one in of_kind(manifests, "ServiceMonitor"):
        [endpoint] = one["spec"]["endpoints"]
        assert endpoint["path"] in PUBLIC
        assert one["spec"]["jobLabel"] == "app.kubernetes.io/name", "the rules look for jobs named millrace"


@EACH
def test_services_of_one_module_are_told_apart(overlay: Any) -> None:
    """No selector of one Deployment takes the pods of another."""
    deployments = of_kind(built(overlay), "Deployment")
    selectors = [one["spec"]["selector"]["matchLabels"] for one in deployments]
    for one in deployments:
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert sum(selector.items() <= labels.items() for selector in selectors) == 1


def modules_of(workload: Manifest) -> set[str]:
    [container] = workload["spec"]["template"]["spec"]["containers"]
    [value] = [entry["value"] for entry in container["env"] if entry["name"] == "MODULES"]
    return set(filter(None, value.split(",")))


@EACH
def test_every_module_has_a_deployment(overlay: Any) -> None:
    running = [modules_of(one) for one in of_kind(built(overlay), "Deployment")]
    everything = set() in running
    assert everything or set().union(*running) == set(registry.available())


@EACH
def test_names_still_have_dns(overlay: Any) -> None:
    """The labels that are added to selectors are not added to that one."""
    [policy] = of_kind(built(overlay), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    to = policy["spec"]["egress"][0]["to"]
    assert to == [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]


# What autoscalers ask for.

KEDA = next(path for path in OVERLAYS if path.name == "keda")


def routes() -> list[Any]:
    mounted = registry.configured(registry.load(()), YamlCatalog(ROOT / "catalog"), {})
    return [route for module in mounted for route in module.routes]


def job_addresses() -> set[str]:
    return {route.address for route in routes() if isinstance(route, JobRoute)}


def triggers(kind: str) -> list[dict[str, str]]:
    return [
        trigger["metadata"]
        for scaler in of_kind(built(KEDA), "ScaledObject")
        for trigger in scaler["spec"]["triggers"]
        if trigger["type"] == kind
    ]


def test_keda_asks_for_groups_that_there_are() -> None:
    groups = {(group_of(one), one.address) for one in routes() if isinstance(one, StreamRoute)}
    asked = {(trigger["consumerGroup"], trigger["topic"]) for trigger in triggers("kafka")}
    assert asked
    assert asked <= groups
    brokers = {trigger["bootstrapServers"] for trigger in triggers("kafka")}
    assert brokers == {config_of(built(KEDA))["MQ_KAFKA_BOOTSTRAP_SERVERS"]}


@pytest.mark.anyio
async def test_keda_asks_the_ledger_what_it_can_answer(db: Any) -> None:
    [trigger] = triggers("postgresql")
    assert await db.fetch_value(trigger["query"]) == 0
    assert set(re.findall(r"'(\w+\.\w+)'", trigger["query"])) == job_addresses()


def test_keda_is_in_the_place_of_plain_autoscalers() -> None:
    assert not of_kind(built(KEDA), "HorizontalPodAutoscaler")
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind(built(KEDA), "ScaledObject")}
    assert scaled == {one["metadata"]["name"] for one in of_kind(built(KEDA), "Deployment")}


def test_plain_autoscalers_ask_for_what_the_adapter_exports() -> None:
    adapter = yaml.safe_load((ROOT / "deploy/k8s/components/prometheus-adapter/values.yaml").read_text())["rules"]
    known = exported.series()
    for rule in (*adapter["custom"], *adapter["external"]):
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "namespace").replace("<<.LabelMatchers>>", 'namespace="a"')
        promql.labels_of(query, known)
    custom = {rule["name"]["as"] for rule in adapter["custom"]}
    external = {rule["name"]["as"] for rule in adapter["external"]}
    for overlay in OVERLAYS:
        for one in of_kind(built(overlay), "HorizontalPodAutoscaler"):
            for metric in one["spec"]["metrics"]:
                if metric["type"] == "Resource":
                    assert metric["resource"]["name"] == "cpu", "there is no more that every cluster measures"
                elif metric["type"] == "Pods":
                    assert metric["pods"]["metric"]["name"] in custom
                else:
                    assert metric["external"]["metric"]["name"] in external
                    [expression] = metric["external"]["metric"]["selector"]["matchExpressions"]
                    assert expression["key"] == "address"
                    assert set(expression["values"]) == job_addresses()


def test_the_migration_is_part_of_what_has_a_database_of_its_own() -> None:
    for overlay in OVERLAYS:
        jobs = {one["metadata"]["name"] for one in of_kind(built(overlay), "Job")}
        assert ("millrace-migrate" in jobs) is (overlay.name != "local"), overlay.name


def test_what_older_workers_can_not_bear_is_applied_by_hand_only() -> None:
    for overlay in OVERLAYS:
        phase = "after" if overlay.name == "after-upgrade" else "before"
        for job in of_kind(built(overlay), "Job"):
            if job["metadata"]["name"] == "millrace-migrate":
                [container] = job["spec"]["template"]["spec"]["containers"]
                assert container["args"] == ["millrace", "migrate", "up", "--phase", phase], overlay.name
