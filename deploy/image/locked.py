"""The part of a lock that some packages are: `python locked.py requirements.lock <names`, one `name==version` a line.

The image is made of what runs, and the lock holds what tests and benchmarks need as well; versions and hashes are
written there only. Runs before anything is installed, so it needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")


def entries(lock: str) -> dict[str, str]:
    """Each package's lines, by its name and version: one package may be locked twice, for several Pythons."""
    found = {}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        if named := ENTRY.match(entry):
            found[f"{_plain(named[1])}=={named[2]}"] = entry
    return found


def picked(lock: str, wanted: Iterable[str]) -> Iterator[str]:
    """Raises `KeyError` for what is not locked in the version that is wanted."""
    known = entries(lock)
    for line in wanted:
        if named := ENTRY.match(line):
            yield known[f"{_plain(named[1])}=={named[2]}"]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.writelines(f"{entry}\n" for entry in picked(Path(sys.argv[1]).read_text(), sys.stdin))
