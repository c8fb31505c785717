"""A real PostgreSQL 18 of our own, from a wheel: nothing to install, nothing to configure, nothing else to test."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from adapters.database.cluster import places as where
from adapters.database.cluster import server
from adapters.database.cluster.binaries import MAJOR, find_programs
from adapters.database.cluster.locks import Deadline, FileLock
from adapters.database.cluster.owner import find_owner
from adapters.database.cluster.places import Places
from contracts.errors import Unavailable
from contracts.ports.secrets import Secret

T = TypeVar("T")

LOCK_TIMEOUT_S = 180.0
"""Longer than a first start takes in another process."""


class EmbeddedServer:
    """One server for every process on this machine that names the same directory.

    The first to `start` makes the cluster and starts it; the others find it and only connect. It runs in a session of
    its own and outlives all of them, also when they are killed: the next command finds it up. `stop_when_idle` ends
    it with the last process that leaves. `ephemeral` keeps the cluster in a temporary directory, for this process
    alone, and removes it at its end (a killed process's is removed by the next start). `durable=False` leaves out
    every fsync: for tests.

    It listens on a unix socket only, in a directory that no other user can enter, and asks for a random password
    (scram, kept 0600). Started by root, it runs as the user `millrace`, with its data below `/var/lib/millrace`; no
    permission of any other directory is changed.
    """

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        ephemeral: bool = False,
        stop_when_idle: bool | None = None,
        durable: bool = True,
        state: Path | str | None = None,
    ) -> None:
        if (directory is None) != ephemeral:
            raise ValueError("EmbeddedServer takes a directory, or ephemeral=True and none")
        self._directory = None if directory is None else Path(directory)
        self._stop_when_idle = ephemeral if stop_when_idle is None else stop_when_idle
        self._durable = durable
        self._state = Path(state or where.state_directory())
        self._guard = threading.Lock()
        self._starts = 0
        self._places: Places | None = None
        self._users: FileLock | None = None

    async def start(self) -> dict[str, Any]:
        """Connection arguments (host, port, user, password as a `Secret`, database) of a server that answers.

        Idempotent; each start wants a `leave`. A running server costs a few file operations. Repairs what a killed
        process left: a half-made cluster, a stale `postmaster.pid`, a crashed server. Raises `Unavailable`.
        """
        return await _finish_in_thread(self._start, undo=self._leave)

    async def revive(self) -> bool:
        """Start again a server that crashed while this process uses it; True: it answers (again). False: it is
        coming down, or someone has stopped it on purpose. Raises `Unavailable`."""
        return await _finish_in_thread(self._revive)

    async def leave(self) -> None:
        """This process uses it no longer; ends the server when nobody else does and it stops when idle."""
        await _finish_in_thread(self._leave)

    async def stop(self, *, remove: bool = False) -> None:
        """End the server whoever uses it, and with `remove` delete its data as well. Idempotent."""
        await _finish_in_thread(lambda: self._stop(remove=remove))

    @property
    def address(self) -> str:
        place = "a temporary directory" if self._directory is None else str(self._directory)
        return f"embedded PostgreSQL {MAJOR} in {place}"

    def url(self, database: str | None = None) -> Secret:
        """For another process. Raises `Unavailable` before the start."""
        options = self._options()
        password, host = quote(options["password"].reveal(), safe=""), quote(options["host"], safe="")
        name = quote(database or options["database"], safe="")
        return Secret(f"postgresql://{options['user']}:{password}@/{name}?host={host}")

    def _start(self) -> dict[str, Any]:
        with self._guard, _told():
            if self._places is None:
                self._places, self._users = self._find_places()
            places, users = self._places, self._users
            with _locked(places):
                if not server.answers(places):
                    self._bring_up(places)
                if users is None:
                    users = FileLock(places.users)
                    users.take(shared=True)
            self._users = users
            options = self._options()
            self._starts += 1
            return options

    def _revive(self) -> bool:
        with self._guard, _told():
            places = self._places
            if places is None or self._users is None or not places.home.is_dir():
                return False
            with _locked(places):
                if server.answers(places):
                    return True
                if not server.crashed(places):
                    return False
                self._bring_up(places)
            return True

    def _find_places(self) -> tuple[Places, FileLock | None]:
        if self._directory is None:
            _clear_abandoned()
            # Last resort for a process that ends without closing; `leave` does it in an orderly one.
            atexit.register(self._leave_for_good, os.getpid())
            return where.temporary_home(find_owner())
        home = where.home_of(self._directory, state=self._state)
        for old in where.abandoned_homes(self._directory, home, state=self._state):
            _end_and_remove(Places(old))
        return Places(home), None

    def _bring_up(self, places: Places) -> None:
        owner = find_owner()
        programs = find_programs(owner, self._state)
        where.make_run(places, owner)
        if not (places.data / "PG_VERSION").exists():
            server.make(places, owner, programs, durable=self._durable)
        server.start(places, owner, programs, durable=self._durable)

    def _leave(self) -> None:
        with self._guard:
            if self._starts == 0:
                return
            self._starts -= 1
            if self._starts == 0:
                self._let_go()

    def _leave_for_good(self, pid: int) -> None:
        if os.getpid() != pid:
            return  # a fork of the process that uses it
        with self._guard:
            self._starts = 0
            self._let_go()

    def _let_go(self) -> None:
        places, users = self._places, self._users
        if places is None or users is None:
            return
        self._users = None
        if self._stop_when_idle and places.home.is_dir():
            with _locked(places):
                if users.take():  # nobody else shares it
                    server.stop(places)
        users.release()
        if self._directory is None:
            where.remove(places)
            self._places = None
            atexit.unregister(self._leave_for_good)

    def _stop(self, *, remove: bool) -> None:
        with self._guard, _told():
            places = self._places
            if places is None:
                if self._directory is None or not self._directory.is_dir():
                    return
                places = Places(where.home_of(self._directory, state=self._state))
            _end(places)
            if remove:
                where.remove(places)
                if self._directory is not None:
                    shutil.rmtree(self._directory, ignore_errors=True)

    def _options(self) -> dict[str, Any]:
        if self._places is None:
            raise Unavailable(self.address, "it was not started")
        return {
            "host": str(self._places.run),
            "port": 5432,
            "user": server.USER,
            "password": Secret(_password(self._places)),
            "database": server.DATABASE,
        }


def _clear_abandoned() -> None:
    """Temporary clusters that nobody uses any more: their processes were killed."""
    for home in where.temporary_homes():
        places = Places(home)
        with FileLock(places.users) as users:
            if users.take():
                _end_and_remove(places)


@contextmanager
def _told() -> Iterator[None]:
    """What the system refuses (a full disk, a read-only place, a lock that is not given back), as the port has it."""
    try:
        yield
    except OSError as error:
        raise Unavailable("embedded PostgreSQL", f"{error}; set DB_POSTGRES_URL to use another server") from error


@contextmanager
def _locked(places: Places) -> Iterator[None]:
    """One process at a time makes, starts or ends a server."""
    with FileLock(places.lock) as lock:
        lock.wait(deadline=Deadline(LOCK_TIMEOUT_S, waiting_for=f"another process at {places.home}"))
        yield


def _end(places: Places) -> None:
    with _locked(places):
        server.stop(places)


def _end_and_remove(places: Places) -> None:
    _end(places)
    where.remove(places)


def _password(places: Places) -> str:
    try:
        return places.password.read_text().strip()
    except FileNotFoundError:
        raise Unavailable(
            "embedded PostgreSQL", f"{places.password} is gone: bring it back, or reset the embedded database"
        ) from None


async def _finish_in_thread(work: Callable[[], T], *, undo: Callable[[], None] | None = None) -> T:
    """Run blocking `work` in a thread. A cancelled caller does not stop it: what it did is undone when it has ended."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if undo is not None:
            loop = asyncio.get_running_loop()
            running.add_done_callback(lambda done: done.exception() or loop.run_in_executor(None, undo))
        raise
