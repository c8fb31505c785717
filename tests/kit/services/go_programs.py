"""Programs that are built from their Go modules at the first time, and kept for later runs."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.kit.services.cache import BUILD_TIMEOUT_S, call, kept
from tests.kit.services.service import CannotStart


def go_program(name: str, module: str, *, version: str) -> Path:
    """The program `name` that `module` (with its version behind an @) makes; it is kept by `version`. It takes a minute
    or two, and some more on a busy machine. Raises `CannotStart`."""

    def build(directory: Path) -> None:
        _install(name, module, into=directory, cwd=directory)

    return kept(f"{name}-{version}", build, timeout_s=BUILD_TIMEOUT_S) / name


def own_go_program(source: Path) -> Path:
    """The program that a directory of ours makes: a module of that name, with its versions and their hashes in `go.mod`
    and `go.sum`. It is kept until one of its files changes. Raises `CannotStart`."""
    name, digest = source.name, hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")

    def build(directory: Path) -> None:
        _install(name, "-mod=readonly", ".", into=directory, cwd=source)

    return kept(f"{name}-{digest.hexdigest()[:12]}", build, timeout_s=BUILD_TIMEOUT_S) / name


def _install(name: str, *what: str, into: Path, cwd: Path) -> None:
    if (go := shutil.which("go")) is None:
        raise CannotStart(f"Go, which builds {name}, is not installed")
    install = ["env", f"GOBIN={into}", "CGO_ENABLED=0", go, "install", "-trimpath", "-ldflags=-s -w", *what]
    call(install, cwd=cwd, timeout_s=BUILD_TIMEOUT_S)
