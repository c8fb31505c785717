"""Where and on which code something is measured."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import asyncpg

from benchmarks.history.record import Code, Machine

ROOT = Path(__file__).parents[2]
QUIET = 0.25
"""What waits for a core, per core, on a machine that has nothing else to do."""
GIT_WAIT_S = 60.0


async def this_machine(postgres_url: str) -> Machine:
    """With the version of that server, which is a part of it as far as figures go."""
    connection = await asyncpg.connect(postgres_url)
    try:
        version = await connection.fetchval("show server_version")
    finally:
        await connection.close()
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=_cores(),
        memory_gb=round(pages * page_bytes / 2**30),
        kernel=platform.release() if platform.system() == "Linux" else f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        postgresql=str(version).split()[0],
    )


def load() -> float:
    """What ran or waited for a core in the last minute, per core."""
    return os.getloadavg()[0] / _cores()


def this_code() -> Code:
    """The commit that is checked out, and every change since, files that are not added yet included."""
    commit = _git("rev-parse", "HEAD").decode().strip()
    changes = _git("diff", "--binary", "HEAD")
    added = sorted(_git("ls-files", "--others", "--exclude-standard", "-z").split(b"\0"))
    state = hashlib.sha256(_git("rev-parse", "HEAD^{tree}") + changes)
    for name in filter(None, added):
        path = ROOT / os.fsdecode(name)
        state.update(name + b"\0" + (path.read_bytes() if path.is_file() else b"") + b"\0")
    return Code(commit=commit, dirty=bool(changes or any(added)), state=state.hexdigest()[:16])


def _git(*words: str) -> bytes:
    """Raises `SystemExit` in words outside of a checkout: figures without their code are of no use."""
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=GIT_WAIT_S).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise SystemExit(
            f"which code is measured can't be told, as git says: {said.decode(errors='replace').strip()}; "
            "run this in a checkout, with git installed"
        ) from error


def _cpu() -> str:
    """As the processor names itself."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return " ".join(value.split())
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Those that this process may use: a container's share, not the host's number."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
