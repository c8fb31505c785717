"""`python -m benchmarks.aside NAME MODULE ARGUMENTS…`: a contestant in an environment of its own.

For a library that can't be installed beside ours: arq takes redis-py below 6 only. The environment is made of
`benchmarks/NAME.lock` the first time, and again when that has changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def python_of(name: str) -> Path:
    """The Python of that environment."""
    lock, home = HERE / f"{name}.lock", HERE.parent / ".task" / f"bench-{name}"
    python, stamp = home / "bin" / "python", home / "made-from"
    wanted = lock.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            str(lock),
        ]
        for command in ([sys.executable, "-m", "venv", str(home)], [str(python), *install]):
            subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    chosen = str(python_of(sys.argv[1]))
    os.execv(chosen, [chosen, "-m", *sys.argv[2:]])  # noqa: S606 - the same process, so that it ends when we do
