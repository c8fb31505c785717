"""Programs that are fetched once and kept outside of the checkout, for every run of this user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.database.cluster.locks import Deadline, FileLock
from tests.kit.services.service import CannotStart

FETCH_TIMEOUT_S = 300.0
BUILD_TIMEOUT_S = 1200.0
"""Of a program that is built from its source, on a machine that has other things to do."""


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"


def kept(name: str, make: Callable[[Path], None], *, timeout_s: float = FETCH_TIMEOUT_S) -> Path:
    """The directory `name` of the cache, filled by `make` when it is not there. It is there whole or not at all, and
    of several runs one makes it while the others wait."""
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"there is no place for what is fetched ({error}; XDG_CACHE_HOME chooses it)") from error
    there = cache / name
    if there.is_dir():
        return there
    with FileLock(cache / f"{name}.lock") as lock:
        try:
            lock.wait(deadline=Deadline(timeout_s, waiting_for=f"another run that fetches {name}"))
        except TimeoutError as error:
            raise CannotStart(str(error)) from error
        if not there.is_dir():
            half = cache / f"{name}.new"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            make(half)
            half.rename(there)
    return there


def call(command: Sequence[str | Path], *, cwd: Path, timeout_s: float = FETCH_TIMEOUT_S) -> None:
    """Raises `CannotStart` with the end of what it said."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{name} could not be run ({error})") from error
    if done.returncode != 0:
        said = " ".join(done.stdout.decode(errors="replace").split())
        raise CannotStart(f"{name} ended with {done.returncode} ({said[-300:]})")
