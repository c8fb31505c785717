"""Temporary directories of servers, which a killed run can't leave behind for good.

A home is held by a lock that ends with the run; the next run finds those that nobody holds, ends the process that is
recorded in them, and removes them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from adapters.database.cluster.locks import FileLock
from tests.kit.services import identity

PREFIX = "millrace-service-"


class Home:
    """One directory, ours alone, until `remove`. Making one clears what killed runs have left."""

    def __init__(self, name: str) -> None:
        clear_abandoned()
        unnamed = Path(tempfile.mkdtemp(prefix=f".{PREFIX}{name}-"))
        self._held = FileLock(unnamed / "held")
        self._held.take()
        # It gets its name only now: others never see one that is not held yet.
        self.path = unnamed.rename(unnamed.with_name(unnamed.name.removeprefix(".")))
        self.process = self.path / "process"
        self.log = self.path / "server.log"
        self.data = self.path / "data"
        self.data.mkdir()

    def remove(self) -> None:
        """Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._held.release()


def clear_abandoned() -> None:
    for home in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if home.stat().st_uid != os.geteuid():
                continue
            with FileLock(home / "held") as held:
                if held.take():
                    identity.end_recorded(home / "process")
                    shutil.rmtree(home, ignore_errors=True)
        except (FileNotFoundError, NotADirectoryError):  # another run was faster
            continue
