"""Who runs the server: PostgreSQL refuses to run as root, so root hands it to an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import Unavailable

NAME = "millrace"
HOME = "/nonexistent"
NO_SHELL = "/usr/sbin/nologin"
MAKERS: tuple[tuple[str, ...], ...] = (
    ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", HOME, "--shell", NO_SHELL, NAME),
    ("adduser", "-S", "-D", "-H", "-h", HOME, "-s", NO_SHELL, NAME),  # BusyBox
)


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The server's user; `switch` when that is not the user who starts it."""

    uid: int
    gid: int
    switch: bool

    def process(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make its process the owner's."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def give(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_read(self, path: Path) -> bool:
        """Judged by the mode bits, without the owner's groups: it is in none but its own."""
        if not self.switch:
            return os.access(path, os.R_OK)
        path = path.resolve()
        wanted = 0o5 if path.is_dir() or os.access(path, os.X_OK) else 0o4
        return self._has(path, wanted) and all(self._has(parent, 0o1) for parent in path.parents)

    def can_pass(self, path: Path) -> bool:
        """Whether it can go through `path` to what is below it."""
        path = path.resolve()
        return all(self._has(step, 0o1) for step in [path, *path.parents])

    def _has(self, path: Path, bits: int) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & bits == bits


def find_owner() -> Owner:
    """The current user, or for root the user `millrace`, made when missing. Raises `Unavailable`."""
    if os.geteuid() != 0:
        return Owner(uid=os.geteuid(), gid=os.getegid(), switch=False)
    user = _lookup() or _make()
    return Owner(uid=user.pw_uid, gid=user.pw_gid, switch=True)


def _lookup() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def _make() -> pwd.struct_passwd:
    said = "neither useradd nor adduser is installed"
    for command in MAKERS:
        if (program := shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin")) is None:
            continue
        done = subprocess.run(
            [program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
        # Whoever else makes the user at this moment makes it for us as well.
        if (user := _lookup()) is not None:
            return user
        said = " ".join((done.stderr or done.stdout).split()) or f"{command[0]} ended with {done.returncode}"
    raise Unavailable(
        "embedded PostgreSQL",
        f"PostgreSQL does not run as root, and the user {NAME!r} could not be made ({said}). "
        f"Run as another user, make a system user named {NAME!r}, or set DB_POSTGRES_URL to a server",
    )
