"""Programs that are built from their Go modules at the first time, and kept for later runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kit.services.cache import BUILD_TIMEOUT_S, call, kept
from tests.kit.services.service import CannotStart


def go_program(name: str, module: str, *, version: str) -> Path:
    """The program `name` that `module` (with its version behind an @) makes; it is kept by `version`. It takes a minute
    or two, and some more on a busy machine. Raises `CannotStart`."""

    def build(directory: Path) -> None:
        if (go := shutil.which("go")) is None:
            raise CannotStart(f"Go, which builds {name}, is not installed")
        install = ["env", f"GOBIN={directory}", "CGO_ENABLED=0", go, "install", "-trimpath", "-ldflags=-s -w", module]
        call(install, cwd=directory, timeout_s=BUILD_TIMEOUT_S)

    return kept(f"{name}-{version}", build, timeout_s=BUILD_TIMEOUT_S) / name
