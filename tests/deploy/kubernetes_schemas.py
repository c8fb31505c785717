"""The schemas by which kubeconform checks manifests, from the sources of those who define them, made small.

`python -m tests.deploy.kubernetes_schemas` renews `schemas/kubernetes.json`: it fetches three Go modules (Kubernetes,
KEDA, the Prometheus operator; all of the Apache-2.0 licence), and keeps what the kinds of `deploy/k8s` need, without
descriptions. A key that a kind does not know is a fault, as for an API server that is asked for strict validation.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

KEPT = Path(__file__).parent / "schemas" / "kubernetes.json"
KUBERNETES = "k8s.io/kubernetes@v1.34.2"
KINDS = {
    "v1/Namespace": "io.k8s.api.core.v1.Namespace",
    "v1/ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
    "v1/ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "v1/Service": "io.k8s.api.core.v1.Service",
    "apps/v1/Deployment": "io.k8s.api.apps.v1.Deployment",
    "batch/v1/Job": "io.k8s.api.batch.v1.Job",
    "batch/v1/CronJob": "io.k8s.api.batch.v1.CronJob",
    "policy/v1/PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "networking.k8s.io/v1/NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "autoscaling/v2/HorizontalPodAutoscaler": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
}
CUSTOM = {
    "github.com/kedacore/keda/v2@v2.17.0": [
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ],
}
WORDS = {"description", "x-kubernetes-group-version-kind"}
REFERENCE = re.compile(r'"#/definitions/([^"]+)"')


def renew() -> None:
    """Write the file; needs Go, and the module proxy that it is set up for."""
    definitions = json.loads((_module(KUBERNETES) / "api/openapi-spec/swagger.json").read_text())["definitions"]
    kinds: dict[str, Any] = {kind: {"$ref": f"#/definitions/{name}"} for kind, name in KINDS.items()}
    for module, files in CUSTOM.items():
        for file in files:
            kinds |= _of_custom(yaml.safe_load((_module(module) / file).read_text()))
    made = {
        "from": [KUBERNETES, *CUSTOM],
        "licence": "Apache-2.0",
        "kinds": kinds,
        "definitions": {name: _strict(definitions[name]) for name in sorted(set(_needed(definitions, kinds)))},
    }
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")


def _module(name: str) -> Path:
    told = subprocess.run(["go", "mod", "download", "-json", name], check=True, capture_output=True, cwd="/").stdout
    return Path(json.loads(told)["Dir"])


def _of_custom(definition: dict[str, Any]) -> dict[str, Any]:
    spec = definition["spec"]
    group, kind = spec["group"], spec["names"]["kind"]
    return {
        f"{group}/{version['name']}/{kind}": _strict(version["schema"]["openAPIV3Schema"], at_top=True)
        for version in spec["versions"]
        if version["served"]
    }


def _needed(definitions: dict[str, Any], kinds: dict[str, Any]) -> Iterator[str]:
    left, seen = REFERENCE.findall(json.dumps(kinds)), set()
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += REFERENCE.findall(json.dumps(definitions[name]))
            yield name


def _strict(schema: Any, *, at_top: bool = False) -> Any:
    """Without words, and closed: what is not declared may not be there."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["integer", "string"]}
    closed = {
        key: {name: _strict(one) for name, one in value.items()} if key == "properties" else _strict(value)
        for key, value in schema.items()
        if key not in WORDS
    }
    if at_top:
        closed["properties"]["metadata"] = {"type": "object"}
    if "properties" in closed and "additionalProperties" not in closed:
        closed["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return closed


if __name__ == "__main__":
    renew()
    print(f"wrote {KEPT.name}")
