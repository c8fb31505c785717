"""Which process a number means: process ids are given again, a start time with it is not."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from adapters.database.cluster.locks import Deadline

END_TIMEOUT_S = 10.0


def started(pid: int) -> str | None:
    """When the process started, in whatever unit; None when it lives no more."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        try:
            fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # what nobody waits for has ended all the same
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def write(path: Path, pid: int) -> None:
    """Never half written."""
    half = path.with_suffix(".new")
    half.write_text(f"{pid} {started(pid)}\n")
    half.replace(path)


def end_recorded(path: Path) -> None:
    """End the process that `write` recorded, if it is still that one, and wait for its end."""
    try:
        pid_text, _, when = path.read_text().strip().partition(" ")
    except FileNotFoundError:
        return
    pid = int(pid_text)
    deadline = Deadline(END_TIMEOUT_S, waiting_for=f"the end of process {pid}")
    while started(pid) == when:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline.pause()
