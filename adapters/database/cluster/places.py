"""Where a cluster keeps its files.

home/           0700, of the user who starts it (0711 of root when root does)
    lock        taken while the cluster is made, started or ended
    users       shared by every process that uses it
    server      held by the server's own processes as long as one of them lives
    password    0600
    server.log
    run/        the socket, 0700 of the server's user
    data/       0700 of the server's user
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from adapters.database.cluster.locks import FileLock
from adapters.database.cluster.owner import Owner
from contracts.errors import Unavailable

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 100
"""What every system takes (108 on Linux, 104 on macOS, less a little)."""


TEMPORARY = "millrace-pg-"


class Places:
    """The paths of one cluster. Making them changes no permission of a directory that was there before."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lock = home / "lock"
        self.users = home / "users"
        self.server = home / "server"
        self.password = home / "password"
        self.settings = home / "server.conf"
        self.log = home / "server.log"
        self.data = home / "data"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    @property
    def run(self) -> Path:
        """Beside the data, or in the temporary directory when that path is too long for a socket."""
        near = self.home / "run"
        if len(os.fsencode(near / SOCKET)) < SOCKET_PATH_BYTES:
            return near
        return Path("/tmp") / f"millrace-{os.geteuid()}-{_short_hash(self.home)}"  # noqa: S108

    @property
    def socket(self) -> Path:
        return self.run / SOCKET

    @property
    def socket_lock(self) -> Path:
        return self.run / f"{SOCKET}.lock"


def state_directory() -> Path:
    """The system's place for the data of services (only root can write there)."""
    return Path("/var/db/millrace" if sys.platform == "darwin" else "/var/lib/millrace")


def home_of(directory: Path, *, state: Path) -> Path:
    """Where the cluster of `directory` is: there, or for root below `state`, as root's projects can be in places
    that the server's user can't reach. A directory that was deleted has taken its cluster with it: `cluster-id` in
    it says which one is its own.
    """
    directory = directory.resolve()
    make_private(directory)
    if os.geteuid() != 0:
        return directory
    mark = directory / "cluster-id"
    if not mark.exists():
        half = directory / f"cluster-id.{secrets.token_hex(8)}"
        half.write_text(secrets.token_hex(4))
        try:
            os.link(half, mark)  # fails when another process, or thread, was faster, and is never half written
        except FileExistsError:
            pass
        finally:
            half.unlink()
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    home = state / f"{_short_hash(directory)}-{mark.read_text()}"
    if not home.exists():
        home.mkdir(mode=0o711, exist_ok=True)
        home.chmod(0o711)  # whatever the umask is
        (home / "belongs-to").write_text(f"{directory}\n")
    return home


def abandoned_homes(directory: Path, home: Path, *, state: Path) -> list[Path]:
    """Clusters of the same path whose project was deleted; only root has such."""
    if home.parent != state:
        return []
    return [other for other in state.glob(f"{_short_hash(directory.resolve())}-*") if other != home]


def make_private(path: Path, *, mode: int = 0o700) -> None:
    """A directory for us alone; one that is there already must be ours and no link."""
    try:
        path.mkdir(mode=mode, parents=True)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise Unavailable(
                "embedded PostgreSQL",
                f"{path} is not a directory of this user (uid {os.geteuid()}) but of uid {status.st_uid}: "
                "run as that user, remove it, or choose another place",
            ) from None
    else:
        path.chmod(mode)


def make_run(places: Places, owner: Owner) -> None:
    """The socket's directory, which only the server's user (and root) can enter."""
    run = places.run
    try:
        run.mkdir(mode=0o700)
    except FileExistsError:
        status = run.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), owner.uid}:
            raise Unavailable("embedded PostgreSQL", f"{run} belongs to another user: remove it") from None
    run.chmod(0o700)
    owner.give(run)


def temporary_home(owner: Owner) -> tuple[Places, FileLock]:
    """A fresh one in the temporary directory, or where the server's user can reach it, with its `users` shared.

    It gets its name only then: `temporary_homes` never sees one that is not in use yet.
    """
    for parent in _temporary_parents():
        unnamed = Path(tempfile.mkdtemp(prefix=f".{TEMPORARY}", dir=parent))
        unnamed.chmod(0o711 if owner.switch else 0o700)
        if owner.switch and not owner.can_pass(unnamed):
            unnamed.rmdir()
            continue
        users = FileLock(unnamed / "users")
        users.take(shared=True)
        home = unnamed.rename(unnamed.with_name(unnamed.name.removeprefix(".")))
        return Places(home), users
    raise Unavailable("embedded PostgreSQL", "its user can reach no temporary directory; set TMPDIR to one that it can")


def temporary_homes() -> list[Path]:
    """Every one that this user has made and that is still there."""
    found = [home for parent in _temporary_parents() for home in parent.glob(f"{TEMPORARY}*")]
    return [home for home in found if home.is_dir() and home.stat().st_uid == os.geteuid()]


def remove(places: Places) -> None:
    """Everything of a cluster that has ended."""
    shutil.rmtree(places.run, ignore_errors=True)
    shutil.rmtree(places.home, ignore_errors=True)


def _temporary_parents() -> list[Path]:
    parents = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp"))  # noqa: S108
    return list(dict.fromkeys(parent.resolve() for parent in parents if parent.is_dir()))


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
