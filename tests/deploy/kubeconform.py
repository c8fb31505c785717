"""What kubeconform says of manifests: as an API server that is asked for strict validation would, without a network."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.deploy import kubernetes_schemas
from tests.kit import services
from tests.kit.services.go_programs import go_program

VERSION = "v0.8.0"
MODULE = f"github.com/yannh/kubeconform/cmd/kubeconform@{VERSION}"
REMEDY = "Install kubeconform, or Go, which builds it."


def faults_of(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """What it objects to, by kind and name. Ends the test where there is no kubeconform."""
    try:
        program = shutil.which("kubeconform") or go_program("kubeconform", MODULE, version=VERSION)
    except services.CannotStart as error:
        services.missing("kubeconform", reason=str(error), remedy=REMEDY)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "manifests.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
        for name, schema in _schemas().items():
            (place / name).write_text(schema)
        template = f"{place}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.schema.json"
        done = subprocess.run(
            [program, "-strict", "-output", "json", "-verbose", "-schema-location", template, place / "manifests.json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)["resources"]
    assert len(told) == len(manifests), "it looked at each"
    return {f"{one['kind']} {one['name']}": one["msg"] for one in told if one["status"] != "statusValid"}


@functools.cache
def _schemas() -> dict[str, str]:
    """Each kind's own, under the name that kubeconform asks for."""
    kept = json.loads(kubernetes_schemas.KEPT.read_text())
    named = {}
    for kind, schema in kept["kinds"].items():
        *group, version, name = kind.split("/")
        file = f"{group[0] if group else version}_{version}_{name.lower()}.schema.json"
        named[file] = json.dumps({**schema, "definitions": kept["definitions"]})
    return named
