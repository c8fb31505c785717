"""What `kustomize build` makes of a directory of `deploy/k8s`."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.architecture.doc_tables import ROOT
from tests.kit import services
from tests.kit.services.go_programs import go_program

OVERLAYS = sorted(path.parent for path in (ROOT / "deploy" / "k8s" / "overlays").glob("*/kustomization.yaml"))
VERSION = "v5.8.1"
MODULE = f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"
REMEDY = "Install kustomize (5 or newer), kubectl, or Go, which builds it."


@functools.cache
def built(directory: Path) -> list[dict[str, Any]]:
    """Its manifests. Ends the test where there is no kustomize."""
    try:
        command = _command()
    except services.CannotStart as error:
        services.missing("kustomize", reason=str(error), remedy=REMEDY)
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"it warns: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def _command() -> list[str]:
    if program := shutil.which("kustomize"):
        return [program, "build"]
    if program := shutil.which("kubectl"):
        return [program, "kustomize"]
    return [str(go_program("kustomize", MODULE, version=VERSION)), "build"]
